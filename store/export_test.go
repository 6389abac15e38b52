package store

import "github.com/redis/go-redis/v9"

// Simulate gives a new store a name of the simulation's, and has each command of
// a script sent by way: the simulation so decides in what order callers come to
// the sender, and go on when they share a flight.
func (s *Store) Simulate(name string, way func(cmd redis.Cmder, send func() error) error) {
	s.name, s.caller.Name, s.caller.Around = name, name, way
}
