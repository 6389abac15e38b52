package store

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"
)

// dice draws what is left to chance: by this replica's name, by what it is drawn
// for, and by the moment. So replicas and sessions draw differently, and each
// time, but a simulation, in which a moment comes again, draws the same again.
func (s *Store) dice(what string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s.name+" "+what)
	return rand.New(rand.NewPCG(h.Sum64(), uint64(time.Now().UnixNano())))
}

// jitter is a time under most: by so much a pause is longer, so that those who
// began it together do not come back all at once.
func (s *Store) jitter(most time.Duration, what string) time.Duration {
	return time.Duration(s.dice(what).Int64N(int64(most)))
}
