package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theStoredForm is what happens when the server holds what it should not.
var theStoredForm = []check{
	{promise: "a key of another type under a session's name is an error that names it, and nothing changes", run: wrongTypes}, // added
	{promise: "a session of a newer layout is neither read nor changed", run: newerLayout},                                    // added
	{promise: "a store of a newer layout is not opened", run: newerStore},                                                     // added
	{promise: "a session whose hash is broken is an error, and holds up no other", run: brokenHash},                           // added
}

// everyCall are the calls that read or write a session whose state is s0.
func everyCall(bot *store.Bot) map[string]func(ctx context.Context, id string) error {
	live := func(f func(ctx context.Context, sess *store.Session) error) func(context.Context, string) error {
		return func(ctx context.Context, id string) error { return f(ctx, bot.Session(id)) }
	}
	type sess = *store.Session
	hello := session.Message{From: session.FromBot, Content: "hi"}
	return map[string]func(ctx context.Context, id string) error{
		"Load":        live(func(ctx context.Context, s sess) error { return second(s.Load(ctx)) }),
		"Status":      live(func(ctx context.Context, s sess) error { return second(s.Status(ctx)) }),
		"History":     live(func(ctx context.Context, s sess) error { return second(s.History(ctx, session.All().WithWaiting())) }),
		"File":        live(func(ctx context.Context, s sess) error { return second(s.File(ctx)) }),
		"DeadLetters": live(func(ctx context.Context, s sess) error { return second(s.DeadLetters(ctx)) }),
		"Set":         live(func(ctx context.Context, s sess) error { return s.Set(ctx, "k", "v") }),
		"Move":        live(func(ctx context.Context, s sess) error { return s.Move(ctx, session.Transition{From: "s0", To: "s1"}) }),
		"Record":      live(func(ctx context.Context, s sess) error { return s.Record(ctx, hello) }),
		"Reply":       live(func(ctx context.Context, s sess) error { return s.ReplyWith(ctx, hello) }),
		"SetFile": live(func(ctx context.Context, s sess) error {
			return s.SetFile(ctx, session.File{Name: "f", Data: []byte("f")})
		}),
		"Reset":   live(func(ctx context.Context, s sess) error { return s.Reset(ctx, session.DropChat) }),
		"Destroy": live(func(ctx context.Context, s sess) error { return second(s.Destroy(ctx)) }),
		"Create":  live(func(ctx context.Context, s sess) error { return second(s.Create(ctx, store.Origin{})) }),
		"Apply": live(func(ctx context.Context, s sess) error { // all at once: what is checked too late shows as a part of it
			return second(s.Apply(ctx, session.Change{Moves: []string{"s1"}, Set: map[string]any{"k": "v"}, Delete: []string{"gone"},
				Flags: map[string]bool{"f": true}, Chat: []session.Entry{{Message: hello, Send: true}}, File: &session.File{Name: "f", Data: []byte("f")}}))
		}),
		"Update": func(ctx context.Context, id string) error { return second(bot.Update(ctx, id, increment)) },
		"Accept": func(ctx context.Context, id string) error {
			return second(bot.Accept(ctx, id, session.Event{ID: "new", Text: "new"}))
		},
	}
}

// spoil makes the session 1 with something of everything, in the state s0.
func spoil(s *scene, bot *store.Bot) {
	s.Helper()
	sess := bot.Session("1")
	s.create(sess, store.Origin{State: "s0"})
	s.ok(sess.SetFile(s.Context(), session.File{Name: "a", Data: []byte("a")}))
	r := s.accept(bot, "1", "fails")
	s.drain(bot, func(context.Context, *store.Turn) error { return errors.New("no") })
	equal(s, "outcome", s.outcome(r).Status, session.Dead)
}

// hashOf finds the key of a session's hash.
func (s *scene) hashOf(client redis.UniversalClient, sess *store.Session) string {
	s.Helper()
	s.create(sess, store.Origin{})
	key := s.keys(client, sess.Ref())["s"]
	s.ok(second(sess.Destroy(s.Context())))
	return key
}

func wrongTypes(s *scene) {
	r := s.replica()
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	opts.MaxAttempts = 1
	bot := r.bot("bot", opts)
	hash := s.hashOf(r.client, bot.Session("1"))
	around := bucketKeys(hash, bot.Session("1").Ref())
	spoil(s, bot)
	whole := s.dumpOf(r.client, around)
	failed := map[string]int{}
	for _, kind := range []string{"s", "h", "q", "o", "e", "p", "x", "f"} {
		for what, call := range everyCall(bot) {
			s.restore(r.client, around, whole)
			key := strings.Replace(hash, "}:s:", "}:"+kind+":", 1)
			s.ok(r.client.Del(s.Context(), key).Err())
			s.ok(r.client.ZAdd(s.Context(), key, redis.Z{Score: 1, Member: "not what it should be"}).Err())
			before := s.dumpOf(r.client, around)
			if err := call(s.limited(), "1"); err != nil {
				failed[kind]++
				var corrupt *session.CorruptError
				if !errors.As(err, &corrupt) || !errors.Is(err, session.ErrCorrupt) {
					s.Errorf("%s with a wrong key of kind %s: %v, want a CorruptError", what, kind, err)
				}
				after := s.dumpOf(r.client, around)
				if what == "Update" { // it may have leased the session, and given it back
					for _, lease := range []string{":s:bot/1", ":due:bot", ":bells", ":p:bot/1"} {
						without(before, lease)
						without(after, lease)
					}
				}
				equal(s, fmt.Sprintf("what is stored after %s with a wrong key of kind %s", what, kind), after, before)
			}
		}
		if failed[kind] == 0 {
			s.Errorf("no call noticed a wrong key of kind %s", kind)
		}
	}
	s.ok(wipe(s.Context(), r.client, around)) // the sweep must not find it
}

// without forgets the keys that end so.
func without(dump map[string]any, end string) {
	maps.DeleteFunc(dump, func(key string, _ any) bool { return strings.HasSuffix(key, end) })
}

func newerLayout(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{MaxAttempts: 1})
	key := s.hashOf(r.client, bot.Session("1"))
	spoil(s, bot)
	s.ok(r.client.HSet(s.Context(), key, "rec", "free | 99 a layout of later days").Err())
	before := s.dump(r.client)
	defer func() { s.ok(wipe(s.Context(), r.client, bucketKeys(key, bot.Session("1").Ref()))) }() // the sweep must not find it
	for what, call := range everyCall(bot) {
		if what == "DeadLetters" {
			continue // they outlive the session, and its layout
		}
		if err := call(s.limited(), "1"); !errors.Is(err, session.ErrNewerLayout) {
			s.Errorf("%s on a session of a newer layout: %v, want %v", what, err, session.ErrNewerLayout)
		}
	}
	equal(s, "what is stored", s.dump(r.client), before)
}

func newerStore(s *scene) {
	r := s.replica()
	meta := s.space + "x:meta"
	s.ok(r.client.HSet(s.Context(), meta, "layout", "99", "buckets", "8").Err())
	defer r.client.Del(context.Background(), meta)
	for _, readOnly := range []bool{false, true} {
		_, err := store.New(s.Context(), r.client, &store.Options{Namespace: s.space + "x", ReadOnly: readOnly})
		s.is(err, session.ErrNewerLayout)
	}
	equal(s, "layout after the attempts", r.client.HGet(s.Context(), meta, "layout").Val(), "99")
}

// brokenHead is the record of a session whose version is no number.
const brokenHead = "free 0 0 - 0 0 0 0 0 many 0 0 0 0 0 | 2 1758000000000123 0 0 - 0 1 0 0 0 0 0 0 0"

func brokenHash(s *scene) {
	r := s.replicaWith(store.Options{Buckets: 1})
	bot := r.bot("bot", &options{MaxAttempts: 1})
	key := s.hashOf(r.client, bot.Session("1"))
	spoil(s, bot)
	s.accept(bot, "1", "waits")
	head := r.client.HGet(s.Context(), key, "rec").Val()
	s.ok(r.client.HSet(s.Context(), key, "rec", brokenHead).Err())
	defer func() { // so that the sweep finds a whole session again
		s.ok(r.client.HSet(s.Context(), key, "rec", head).Err())
	}()
	for what, call := range everyCall(bot) {
		if what == "DeadLetters" {
			continue // they outlive the session, and need nothing of it
		}
		if err := call(s.limited(), "1"); !errors.Is(err, session.ErrCorrupt) {
			s.Errorf("%s on a session whose version is no number: %v, want %v", what, err, session.ErrCorrupt)
		}
	}
	stop := s.serve(bot, echo)
	for i := range 5 {
		s.handled(s.accept(bot, fmt.Sprint("other ", i), "hi"))
	}
	stop()
}
