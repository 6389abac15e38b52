package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theTimeToLive is how a session ends when nobody uses it.
var theTimeToLive = []check{
	{promise: "every change slides all parts of a session together, and reading does not", run: slides}, // 34
	{promise: "a session expires whole", run: expiresWhole},                                             // 34
	{promise: "a session may have a time to live of its own, or for ever", run: ownTTL},                 // added
	{promise: "a session that expired and comes back is fresh", run: backAfterExpiry},                   // 35
	{promise: "a late write to an expired session is refused and creates nothing", run: lateWrite},      // 35
	{promise: "a session with an event waiting does not expire under it", run: waitingKeepsAlive},       // 36
	{promise: "a session with a turn running does not expire under it", run: runningKeepsAlive},         // 36, added
	{promise: "what has expired is removed from the index by those who serve", run: reaped},
	{promise: "a session whose hash is taken away by force comes back whole", run: hashTaken}, // 33, added
}

func slides(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{TTL: time.Hour, Initial: "s0"})
	sess := fill(s, bot, "1")
	ctx := s.limited()
	expires := s.load(sess).Expires
	if life := expires.Sub(s.load(sess).Active); life != time.Hour {
		s.Errorf("it expires %v after its last change, want an hour", life)
	}
	for i, change := range []struct {
		what string
		call func() error
	}{
		{"Set", func() error { return sess.Set(ctx, "k", "v") }},
		{"Delete", func() error { return second(sess.Delete(ctx, "k")) }},
		{"SetFlag", func() error { return sess.SetFlag(ctx, "vip", true) }},
		{"SetIntent", func() error { return sess.SetIntent(ctx, nil) }},
		{"SetFile", func() error { return sess.SetFile(ctx, session.File{Name: "b"}) }},
		{"Move", func() error { return sess.Move(ctx, session.Transition{From: "elsewhere", To: "s1"}) }},
		{"Record", func() error { return sess.Record(ctx, session.Message{From: session.FromBot, Content: "hi"}) }},
		{"Touch", func() error { return sess.Touch(ctx) }},
		{"Update", func() error { return second(bot.Update(ctx, "1", increment)) }},
		{"an event and its turn", func() error { // until its turn ends, the event itself keeps the session
			_, err := bot.Accept(ctx, "1", session.Event{ID: "a", Text: "hi"})
			return errors.Join(err, second(bot.Drain(ctx, echo, s.with(bot))))
		}},
		{"Reset", func() error { return sess.Reset(ctx, session.KeepChat) }},
	} {
		time.Sleep(3 * time.Millisecond) // so that later is later
		s.ok(change.call())
		after := s.load(sess).Expires
		if !after.After(expires) {
			s.Errorf("step %d, %s: it expires at %v, and before it at %v", i, change.what, after, expires)
		}
		expires = after
	}
	time.Sleep(3 * time.Millisecond)
	s.status(sess)
	s.chat(sess)
	for _, err := range []error{
		second(sess.File(ctx)), second(sess.DeadLetters(ctx)), second(gather(bot.Sessions(ctx, store.Filter{}))), second(bot.Counts(ctx)), whole(ctx, r.Store),
		second(bot.Receipt("1", "a").Wait(ctx)),
	} {
		s.ok(err)
	}
	_, _, err := sess.Get(ctx, "k")
	s.ok(err)
	equal(s, "expiry after reading", s.load(sess).Expires, expires)

	for kind, key := range s.keys(r.client, sess.Ref()) {
		ttl, err := r.client.PTTL(ctx, key).Result()
		s.ok(err)
		if kind != "p" && ttl < time.Hour-time.Minute { // p holds answers to calls, for seconds
			s.Errorf("key %q lives for %v, less than the session", key, ttl)
		}
	}
}

func expiresWhole(s *scene) {
	bot := s.bot()
	sess := fill(s, bot, "1")
	began := time.Now()
	s.ok(sess.SetTTL(s.Context(), 300*time.Millisecond))
	for limit := began.Add(patience); ; time.Sleep(glance) {
		chat, chatErr := sess.History(s.Context(), session.All())
		file, fileErr := sess.File(s.Context())
		all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
		s.ok(err)
		snap, err := sess.Load(s.Context())
		if errors.Is(err, session.ErrNotFound) {
			break
		}
		s.ok(err)
		// It lived after all the rest was read, so all the rest lived.
		s.ok(chatErr)
		s.ok(fileErr)
		if len(chat) != 2 || file == nil || len(file.Data) == 0 || len(snap.Data) != 1 || len(all) != 1 {
			s.Fatalf("of the living session there are %d messages, file %v, data %v, %d list entries", len(chat), file, snap.Data, len(all))
		}
		if time.Now().After(limit) {
			s.Fatalf("it does not expire")
		}
	}
	if took := time.Since(began); took < 290*time.Millisecond {
		s.Errorf("it expired after %v", took)
	}
	_, err := sess.History(s.Context(), session.All())
	s.is(err, session.ErrNotFound)
	_, err = sess.File(s.Context())
	s.is(err, session.ErrNotFound)
	_, err = sess.Status(s.Context())
	s.is(err, session.ErrNotFound)
	s.eventually("it is not listed any more", func() bool {
		all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
		s.ok(err)
		return len(all) == 0
	})
}

func ownTTL(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{TTL: time.Hour})
	forever := r.bot("forever", &options{TTL: -1})
	life := func(sess *store.Session) time.Duration {
		snap := s.load(sess)
		if snap.Expires.IsZero() {
			return -1
		}
		return snap.Expires.Sub(snap.Active)
	}
	sess := bot.Session("1")
	s.create(sess, store.Origin{TTL: time.Minute})
	equal(s, "life after Create with a minute", life(sess), time.Minute)
	s.ok(sess.Set(s.Context(), "k", "v"))
	equal(s, "life after a change", life(sess), time.Minute)
	s.ok(sess.SetTTL(s.Context(), -1))
	s.say(bot, "1", session.Event{Text: "hi", File: &session.File{Name: "f", Data: []byte("f")}}, echo)
	equal(s, "life for ever", life(sess), -1)
	for kind, key := range s.keys(r.client, sess.Ref()) {
		ttl, err := r.client.PTTL(s.Context(), key).Result()
		s.ok(err)
		if kind != "e" && kind != "p" && ttl >= 0 { // those have lives of their own
			s.Errorf("key %q of a session that lives for ever lives for %v", key, ttl)
		}
	}
	s.ok(sess.SetTTL(s.Context(), 2*time.Hour))
	equal(s, "life of two hours", life(sess), 2*time.Hour)
	s.ok(sess.SetTTL(s.Context(), 0))
	equal(s, "life after back to the bot's", life(sess), time.Hour)
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error { t.SetTTL(time.Minute); return nil })
	equal(s, "life set in a turn", life(sess), time.Minute)

	s.say(forever, "1", session.Event{Text: "hi"}, echo)
	equal(s, "life on a bot without an end", life(forever.Session("1")), -1)
}

// expire waits until a session has expired.
func (s *scene) expire(sess *store.Session) {
	s.Helper()
	s.ok(sess.SetTTL(s.Context(), time.Millisecond))
	s.eventually("the session has expired", func() bool {
		_, err := sess.Load(s.Context())
		return errors.Is(err, session.ErrNotFound)
	})
}

func backAfterExpiry(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	for _, how := range []string{"Create", "Accept"} {
		sess := fill(s, bot, how)
		before := s.load(sess)
		s.expire(sess)
		if how == "Create" {
			s.create(sess, store.Origin{User: "bob"})
			equal(s, "chat", s.chat(sess), nil)
		} else {
			r, err := bot.Accept(s.Context(), how, session.Event{ID: "back", User: "bob"})
			s.ok(err)
			equal(s, "the event made the session", r.Created, true)
			var first bool
			s.drain(bot, func(_ context.Context, t *store.Turn) error {
				first = t.First()
				empty(s, t.Snapshot())
				return nil
			})
			equal(s, "first turn of its life", first, true)
			equal(s, "chat", s.chat(sess), nil)
		}
		snap := s.load(sess)
		empty(s, snap)
		equal(s, "state", snap.State, "s0")
		equal(s, "user", snap.User, "bob")
		if snap.Life <= before.Life {
			s.Errorf("life %d after the expiry, %d before", snap.Life, before.Life)
		}
		if life := snap.Expires.Sub(snap.Active); life != 30*24*time.Hour {
			s.Errorf("the new life lasts %v: the old one's time to live was kept", life)
		}
		file, err := sess.File(s.Context())
		s.ok(err)
		if file != nil {
			s.Errorf("file %v of the old life", file)
		}
	}
}

func lateWrite(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := fill(s, bot, "1")
	s.expire(sess)
	before := s.dump(r.client)
	ctx := s.limited()
	_, applied := sess.Apply(ctx, session.Change{Set: map[string]any{"k": "v"}})
	_, deleted := sess.Delete(ctx, "k")
	_, destroyed := sess.Destroy(ctx)
	for what, err := range map[string]error{
		"Apply": applied, "Delete": deleted, "Destroy": destroyed, "Set": sess.Set(ctx, "k", "v"), "SetIntent": sess.SetIntent(ctx, nil),
		"SetFile": sess.SetFile(ctx, session.File{Name: "a"}), "SetFlag": sess.SetFlag(ctx, "f", true), "Touch": sess.Touch(ctx),
		"Move":  sess.Move(ctx, session.Transition{From: "elsewhere", To: "b"}),
		"Reply": sess.Reply(ctx, "hi"), "Record": sess.Record(ctx, session.Message{From: session.FromBot, Content: "hi"}),
		"SetTTL": sess.SetTTL(ctx, time.Hour), "Reset": sess.Reset(ctx, session.KeepChat),
		"Update": second(bot.Update(ctx, "1", func(context.Context, *store.Turn) error { s.Error("Update ran on an expired session"); return nil })),
	} {
		if !errors.Is(err, session.ErrNotFound) {
			s.Errorf("%s on an expired session: %v, want %v", what, err, session.ErrNotFound)
		}
	}
	after := s.dump(r.client)
	for key, value := range after {
		if _, was := before[key]; !was {
			s.Errorf("a late write made the key %q: %v", key, value)
		}
	}
	s.gone(sess)
}

func waitingKeepsAlive(s *scene) {
	const brief = 200 * time.Millisecond
	bot := s.bot()
	sess, twin := bot.Session("1"), bot.Session("2")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "k", "v"))
	r := s.accept(bot, "1", "hi")
	s.ok(sess.SetTTL(s.Context(), brief))
	s.create(twin, store.Origin{TTL: brief}) // the last change of all
	s.eventually("a session that began later has expired", func() bool {
		_, err := twin.Load(s.Context())
		return errors.Is(err, session.ErrNotFound)
	})
	time.Sleep(50 * time.Millisecond)
	equal(s, "data of the session that an event waits for", s.load(sess).Data, map[string]any{"k": "v"})
	all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), 1)
	var first bool
	var data map[string]any
	s.drain(bot, func(_ context.Context, t *store.Turn) error {
		first, data = t.First(), t.Snapshot().Data
		t.SetTTL(time.Hour)
		return nil
	})
	s.handled(r)
	equal(s, "first turn", first, true)
	equal(s, "data in its turn", data, map[string]any{"k": "v"})
	equal(s, "data after its turn", s.load(sess).Data, data)
}

func runningKeepsAlive(s *scene) {
	const brief = 200 * time.Millisecond
	opts := options{Lease: longLease}
	bot, other := s.replica().bot("bot", &opts), s.replica().bot("bot", &opts)
	g := s.gate()
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		g.pass()
		t.Set("turn", "1")
		t.SetTTL(time.Hour)
		return nil
	})
	s.create(other.Session("1"), store.Origin{})
	s.ok(other.Session("1").Set(s.Context(), "k", "v"))
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	twin := other.Session("2")
	s.ok(other.Session("1").SetTTL(s.Context(), brief))
	s.create(twin, store.Origin{TTL: brief})
	s.eventually("a session that began later has expired", func() bool {
		_, err := twin.Load(s.Context())
		return errors.Is(err, session.ErrNotFound)
	})
	g.open()
	s.handled(r)
	equal(s, "data after the turn", s.load(other.Session("1")).Data, map[string]any{"k": "v", "turn": "1"})
}

func reaped(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	for i := range 5 {
		s.create(bot.Session(fmt.Sprint(i)), store.Origin{TTL: 50 * time.Millisecond, User: "ann"})
	}
	s.create(bot.Session("stays"), store.Origin{})
	s.serve(bot, echo)
	s.eventually("those that expired are not counted", func() bool {
		counts, err := bot.Counts(s.Context())
		s.ok(err)
		return counts.Sessions == 1
	})
	for i := range 5 {
		for kind, key := range s.keys(r.client, bot.Session(fmt.Sprint(i)).Ref()) {
			if kind != "e" && kind != "p" { // those have lives of their own
				s.Errorf("key %q is left", key)
			}
		}
	}
	all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), 1)
}

// hashTaken deletes a session's hash, as an eviction would, or Redis' own
// expiry when nobody served for too long. Its events are still there.
func hashTaken(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{Initial: "s0"})
	take := func(id string) {
		s.Helper()
		n, err := r.client.Del(s.Context(), s.keys(r.client, bot.Session(id).Ref())["s"]).Result()
		s.ok(err)
		equal(s, "hashes deleted", n, 1)
	}
	for _, id := range []string{"created", "accepted", "waits"} {
		fill(s, bot, id) // in the state elsewhere
	}
	take("created")
	s.gone(bot.Session("created"))
	s.create(bot.Session("created"), store.Origin{})
	take("accepted")
	s.say(bot, "accepted", session.Event{Text: "hi"}, echo)
	waiting := s.accept(bot, "waits", "hi")
	take("waits")
	s.drain(bot, echo)
	s.handled(waiting)
	for _, id := range []string{"created", "accepted", "waits"} {
		equal(s, "state of the one that is "+id, s.load(bot.Session(id)).State, "s0")
	}
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	equal(s, "states counted", counts.States, map[string]int64{"s0": 3})
	s.ok(whole(s.Context(), r.Store))
}
