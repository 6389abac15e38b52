package store

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// Simulate gives a new store a name of the simulation's, and has each command of
// a script sent by way: the simulation so decides in what order callers come to
// the sender, and go on when they share a flight.
func (s *Store) Simulate(name string, way func(cmd redis.Cmder, send func() error) error) {
	s.name, s.tag, s.caller.Name, s.caller.Around = name, ids.TagOf(name), name, way
}

// AskForSettings sets how old the store's copy of the settings may be: a test that
// counts requests wants none for them in between. Call it before the first Bot.
func (s *Store) AskForSettings(every time.Duration) {
	s.bots.age = every
}

// Remind sets how often a line of the log says that a function does not return. Call it
// before the first Serve.
func (s *Store) Remind(every time.Duration) { s.remind = every }

// Serves reports whether this process takes sessions of the bot. That others know of it
// takes a heartbeat, which a busy machine may hold up.
func (b *Bot) Serves() bool { return b.store.duty.of(b.name) != nil }

// Whole returns an error that says all that Check finds, or why it cannot; nil means
// that the data is whole.
func (s *Store) Whole(ctx context.Context) error {
	found, err := Gather(s.Check(ctx))
	for _, f := range found {
		err = causes.Join(err, errors.New(f.String()))
	}
	return err
}

// Key returns the key that scripts call name, of a session or of its bucket.
func (s *Store) Key(name string, ref session.Ref) string {
	return s.layout.key(name, s.layout.place(ref))
}

// KeyName returns what scripts call a key; empty if they do not touch it.
func KeyName(key string) string {
	_, rest, tagged := strings.Cut(key, "}:")
	if !tagged {
		_, rest, _ = strings.Cut(key, ":")
	}
	kind, _, _ := strings.Cut(rest, ":")
	for name, form := range forms {
		if form.kind == kind && tagged == (form.of != ofStore) {
			return name
		}
	}
	return ""
}

// Gather returns the items of a list, and its errors joined.
func Gather[T any](list iter.Seq2[T, error]) (items []T, err error) {
	for item, e := range list {
		if e != nil {
			err = causes.Join(err, e)
			continue
		}
		items = append(items, item)
	}
	return items, err
}

// Rest has the store behave as if it had not asked for settings for so long.
func (s *Store) Rest(d time.Duration) { s.bots.asked.Add(-int64(d)) }

// ForgetRecords has the store forget what it knows of sessions.
func (s *Store) ForgetRecords() {
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	for s.known.order.Len() > 0 {
		s.known.drop(s.known.order.Front())
	}
}

// LearnRecords has the store know, too, what another one knows of sessions.
func (s *Store) LearnRecords(from *Store) {
	for _, r := range from.known.all() {
		s.known.keep(s.identity().id, r)
	}
}

// SwapRecords has two stores each know what the other one knew of sessions.
func SwapRecords(one, other *Store) {
	of, those := one.known.all(), other.known.all()
	one.ForgetRecords()
	other.ForgetRecords()
	for _, r := range of {
		other.known.keep(other.identity().id, r)
	}
	for _, r := range those {
		one.known.keep(one.identity().id, r)
	}
}

func (k *known) all() (records []*stored.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for e := k.order.Front(); e != nil; e = e.Next() {
		records = append(records, e.Value.(*stored.Record))
	}
	return records
}
