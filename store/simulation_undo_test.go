package store_test

import (
	"maps"
	"slices"
	"time"

	"github.com/botsession/botsession/store"
)

// A fail-over to a replica that lags: the server goes back to what it was a moment ago.
// What it was told in between is lost, as doc.go says; replicas hold leases, tokens and
// records that it does not know. Of a session everything goes back together, so what is
// in it must fit together in the end, and all that was certain before and after.

// undone is from when on the server forgot, and when.
func (s *simulation) undoes() span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.undone
}

// failOver happens once in every third simulation.
func (s *simulation) failOver() {
	dice := s.dice("fail-over")
	if dice.IntN(3) > 0 {
		return
	}
	s.sleep(300*time.Millisecond + dur(dice.Int64N, 2500*time.Millisecond))
	s.tick()
	back := s.remember()
	from := time.Now()
	s.mu.Lock()
	s.undone = span{from: from, to: s.calm}
	s.mu.Unlock()
	s.sleep(dur(dice.Int64N, 600*time.Millisecond))
	s.tick()
	back()
	s.note("the server is as it was at %v", from.Sub(s.start))
	s.mu.Lock()
	s.undone.to = time.Now()
	s.stats.undone++
	s.mu.Unlock()
}

// remember returns what puts everything back. Nobody else does anything meanwhile: both
// happen at moments of their own.
func (s *simulation) remember() (back func()) {
	type stored struct {
		typ   string
		hash  []string
		list  []string
		set   map[string]float64
		text  string
		until time.Time // until is zero for ever
	}
	all := map[string]stored{}
	db := s.server.DB(0)
	for _, key := range s.server.Keys() {
		is := stored{typ: db.Type(key)}
		switch is.typ {
		case "hash":
			fields, _ := db.HKeys(key)
			for _, field := range fields {
				is.hash = append(is.hash, field, db.HGet(key, field))
			}
		case "list":
			list, _ := db.List(key)
			is.list = slices.Clone(list) // else it is the server's own, as is a set
		case "zset":
			set, _ := db.SortedSet(key)
			is.set = maps.Clone(set)
		case "string":
			is.text, _ = db.Get(key)
		default:
			s.find("the key %s is a %s", key, is.typ)
		}
		if life := db.TTL(key); life > 0 {
			is.until = time.Now().Add(life)
		}
		all[key] = is
	}
	return func() {
		s.server.FlushAll()
		for key, is := range all {
			left := time.Until(is.until)
			if !is.until.IsZero() && left <= 0 {
				continue
			}
			switch is.typ {
			case "hash":
				db.HSet(key, is.hash...)
			case "list":
				db.Push(key, is.list...)
			case "zset":
				for member, score := range is.set {
					db.ZAdd(key, score, member)
				}
			case "string":
				db.Set(key, is.text)
			}
			if !is.until.IsZero() {
				db.SetTTL(key, left)
			}
		}
	}
}

// shaken reports whether the server may have forgotten what happened in that time.
func (s *simulation) shaken(in span) bool {
	u := s.undoes()
	return !u.from.IsZero() && !in.to.Before(u.from) && !in.from.After(u.to)
}

// certain returns the events of a user that must be there, in order.
func (s *simulation) certain(u *customer) (ids []string) {
	for _, id := range u.events {
		if !s.shaken(u.when[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

// mixUp has processes forget the records that they know, tell them to others, and take
// those of others: whatever a process believes to know, it uses only what is stored.
func (s *simulation) mixUp() {
	dice := s.dice("mix-up")
	for range dice.IntN(8) {
		s.sleep(dur(dice.Int64N, 600*time.Millisecond))
		one, other := s.any(dice.IntN(100)).store, s.any(dice.IntN(100)).store
		switch dice.IntN(4) {
		case 0:
			one.ForgetRecords()
		case 1, 2:
			one.LearnRecords(other)
		case 3:
			store.SwapRecords(one, other)
		}
	}
}
