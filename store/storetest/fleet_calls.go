package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theCalls is what happens outside of turns, and beside them.
var theCalls = []check{
	{promise: "keys set at the same time by different clients are all there", run: differentKeys},                       // 28
	{promise: "no increment is lost, by Update or in a turn", run: increments, heavy: true},                             // 28
	{promise: "an Update waits behind a turn, or ends with ErrBusy when its context does", run: waits},                  // 28
	{promise: "a turn or an Update that changed nothing keeps the version", run: unchanged},                             // 28
	{promise: "an Update that fails writes nothing and returns its error", run: updateFails},                            // added
	{promise: "Updates and events of one session make way for each other", run: fairness, heavy: true},                  // added
	{promise: "an Update overtaken by a reset is refused", run: updateFenced},                                           // added
	{promise: "a change for another version is refused, and changes nothing", run: otherVersion},                        // added
	{promise: "an Update returns the version that it made, also when its reply is lost", run: updateVersion},            // added
	{promise: "of any number of changes under one id one is made, and the others return its version", run: changedOnce}, // added
	{promise: "ids of changes and of events are the same ids, for the same time", run: idsOfChanges},                    // added
}

func differentKeys(s *scene) {
	const clients, keys = 4, 15
	var bots []*store.Bot
	for range clients {
		bots = append(bots, s.bot())
	}
	s.create(bots[0].Session("1"), store.Origin{})
	var errs record[error]
	together(s, clients, func(c int) {
		for k := range keys {
			errs.add(bots[c].Session("1").Set(s.Context(), fmt.Sprintf("%d.%d", c, k), "v"))
			errs.add(bots[c].Session("1").SetFlag(s.Context(), fmt.Sprintf("%d.%d", c, k), true))
		}
	})
	s.ok(errors.Join(errs.list()...))
	snap := s.load(bots[0].Session("1"))
	equal(s, "keys", len(snap.Data), clients*keys)
	equal(s, "flags", len(snap.Flags), clients*keys)
}

const counter store.Key[int] = "counter"

func increment(_ context.Context, t *store.Turn) error {
	n, _ := counter.Get(t)
	counter.Set(t, n+1)
	return nil
}

func increments(s *scene) {
	const updates, events = 60, 40
	opts := &options{Lease: longLease}
	bots := []*store.Bot{s.replica().bot("bot", opts), s.replica().bot("bot", opts), s.replica().bot("bot", opts)}
	s.serve(bots[0], increment)
	s.serve(bots[1], increment)
	s.create(bots[0].Session("1"), store.Origin{})
	var errs record[error]
	together(s, 6, func(worker int) {
		bot := bots[worker%len(bots)]
		for i := range (updates + events) / 6 {
			if worker >= 4 || (worker == 3 && i%2 == 0) {
				errs.add(second(bot.Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(worker, "-", i), Kind: "tick"})))
				continue
			}
			errs.add(s.update(bot, "1", increment))
		}
	})
	s.ok(errors.Join(errs.list()...))
	s.eventually("all events are handled", func() bool { return s.status(bots[0].Session("1")).Waiting == 0 })
	n, _, err := counter.Load(s.Context(), bots[2].Session("1"))
	s.ok(err)
	equal(s, "increments", n, 6*((updates+events)/6))
}

func waits(s *scene) {
	bot, other := s.replica().bot("bot", &options{Lease: longLease}), s.bot()
	g := s.gate()
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		g.pass()
		return increment(ctx, t)
	})
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)

	var ran atomic.Int32
	count := func(ctx context.Context, t *store.Turn) error {
		ran.Add(1)
		return increment(ctx, t)
	}
	for _, b := range []*store.Bot{bot, other} {
		s.runsOut("Update during a turn", func(ctx context.Context) error { return second(b.Update(ctx, "1", count)) },
			func(err error) bool { return errors.Is(err, session.ErrBusy) })
	}
	equal(s, "Updates that ran during the turn", ran.Load(), 0)

	done := make(chan error, 1)
	go func() { done <- s.update(other, "1", count) }()
	time.Sleep(50 * time.Millisecond) // it may not have come yet: then it has nothing to wait for
	equal(s, "Updates that ran during the turn", ran.Load(), 0)
	g.open()
	s.handled(r)
	s.ok(receive(s, "the Update that waited is done", done))
	n, _, err := counter.Load(s.Context(), other.Session("1"))
	s.ok(err)
	equal(s, "increments", n, 2)
}

func unchanged(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "k", "v"))
	before := s.load(sess)
	look := func(_ context.Context, t *store.Turn) error {
		t.Get("k")
		t.Match("hi")
		t.Snapshot()
		return nil
	}
	s.ok(s.update(bot, "1", look))
	equal(s, "session after an Update that only looked", s.load(sess), before)
	o := s.say(bot, "1", session.Event{Kind: "timer"}, look)
	equal(s, "outcome", o.Status, session.Handled)
	snap := s.load(sess)
	equal(s, "version after a turn that only looked", snap.Version, before.Version)
	equal(s, "data", snap.Data, before.Data)
	equal(s, "messages", len(s.chat(sess)), 0)

	s.ok(s.update(bot, "1", func(_ context.Context, t *store.Turn) error { t.Set("k", "w"); return nil }))
	equal(s, "version after an Update that wrote", s.load(sess).Version, before.Version+1)
}

func updateFails(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	before := s.load(sess)
	reason := errors.New("not today")
	s.is(s.update(bot, "1", func(_ context.Context, t *store.Turn) error {
		t.Set("k", "v")
		t.Move("elsewhere")
		t.Reply("hello")
		return reason
	}), reason)
	equal(s, "session after a failed Update", s.load(sess), before)
	equal(s, "messages after a failed Update", len(s.chat(sess)), 0)
	s.is(s.update(bot, "1", func(_ context.Context, t *store.Turn) error {
		t.Set("", "a key without a name")
		return nil
	}), session.ErrInvalid)
	s.ok(s.update(bot, "1", echo)) // it holds nothing any more
}

func fairness(s *scene) {
	bot, other := s.replica().bot("bot", &options{Lease: longLease}), s.bot()
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		time.Sleep(2 * time.Millisecond)
		return increment(ctx, t)
	})
	s.create(bot.Session("1"), store.Origin{})
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	flooded := make(chan error, 1)
	go func() { // always something waiting
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := bot.Accept(ctx, "1", session.Event{ID: fmt.Sprint("flood ", i), Kind: "tick"}); err != nil && !errors.Is(err, session.ErrInboxFull) {
				flooded <- err
				return
			}
		}
		flooded <- nil
	}()
	s.eventually("events wait", func() bool { return s.status(other.Session("1")).Waiting > 3 })
	for i := range 3 {
		if err := s.update(other, "1", increment); err != nil {
			s.Fatalf("Update %d among the events: %v", i, err)
		}
	}
	before := s.status(other.Session("1"))
	s.eventually("events are handled among the Updates", func() bool {
		s.ok(s.update(other, "1", increment))
		return s.status(other.Session("1")).Version > before.Version+5
	})
	stop()
	if err := receive(s, "the flood has ended", flooded); err != nil && !errors.Is(err, context.Canceled) {
		s.Errorf("accepting: %v", err)
	}
}

func updateFenced(s *scene) {
	bot, other := s.bot(), s.bot()
	sess := other.Session("1")
	for _, c := range []struct {
		what string
		end  func() error
	}{
		{"a reset", func() error { return sess.Reset(s.Context(), session.KeepChat) }},
		{"a destroy", func() error { return second(sess.Destroy(s.Context())) }},
	} {
		if _, err := sess.Create(s.Context(), store.Origin{}); err != nil {
			s.Fatal(err)
		}
		err := s.update(bot, "1", func(_ context.Context, t *store.Turn) error {
			t.Set("k", "v")
			return c.end()
		})
		s.is(err, session.ErrFenced)
		if snap, err := sess.Load(s.Context()); err == nil && len(snap.Data) > 0 {
			s.Errorf("data %v after %s during an Update", snap.Data, c.what)
		}
	}
	s.gone(sess)
}

func otherVersion(s *scene) {
	sess := s.bot().Session("1")
	s.create(sess, store.Origin{})
	seen := s.load(sess).Version
	change := session.Change{
		IfVersion: seen, Moves: []string{"s1"}, Set: map[string]any{"k": "v"},
		Chat: []session.Entry{{Message: session.Message{From: session.FromBot, Content: "hi"}}},
	}
	made, err := sess.Apply(s.Context(), change)
	s.ok(err)
	equal(s, "version after the change", s.load(sess).Version, made)
	before, chat := s.load(sess), s.chat(sess)
	s.is(second(sess.Apply(s.Context(), change)), session.ErrChanged)
	s.is(second(sess.Apply(s.Context(), session.Change{IfVersion: made + 1})), session.ErrChanged)
	s.is(second(sess.Apply(s.Context(), session.Change{IfVersion: -1})), session.ErrInvalid)
	equal(s, "session after refused changes", s.load(sess), before)
	equal(s, "chat after refused changes", s.chat(sess), chat)
	same, err := sess.Apply(s.Context(), session.Change{IfVersion: made})
	s.ok(err)
	equal(s, "version after a change that changes nothing", same, made)

	errs := make([]error, 10)
	together(s, len(errs), func(i int) {
		_, errs[i] = sess.Apply(s.Context(), session.Change{IfVersion: made, Set: map[string]any{"k": i}})
	})
	applied := 0
	for _, err := range errs {
		if err == nil {
			applied++
		} else {
			s.is(err, session.ErrChanged)
		}
	}
	equal(s, "racing changes of one version that were applied", applied, 1)
}

func updateVersion(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	for _, lost := range []int{0, 1} {
		r.loseReplies(lua.Commit, lost)
		version, err := bot.Update(s.Context(), "1", increment)
		s.ok(err)
		equal(s, "version that an Update made", version, s.load(sess).Version)
		same, err := bot.Update(s.Context(), "1", func(context.Context, *store.Turn) error { return nil })
		s.ok(err)
		equal(s, "version of an Update that changed nothing", same, version)
		_, err = sess.Apply(s.Context(), session.Change{IfVersion: version, Set: map[string]any{"k": "v"}})
		s.ok(err)
	}
	failed, err := bot.Update(s.Context(), "1", func(context.Context, *store.Turn) error { return errors.New("no") })
	equal(s, "version of an Update that failed", failed, 0)
	if err == nil {
		s.Error("an Update whose function failed returns no error")
	}
}

func changedOnce(s *scene) {
	r := s.replica()
	bots := []*store.Bot{r.bot("bot", nil), s.bot(), s.bot()}
	sess := bots[0].Session("1")
	s.create(sess, store.Origin{State: "s0"})
	change := session.Change{From: "s0", Moves: []string{"s1"}, Chat: []session.Entry{{Message: session.Message{From: session.FromBot, Content: "hi"}}}}

	calls := map[string]func(bot *store.Bot, eventID string) (int64, bool, error){
		"ApplyOnce": func(bot *store.Bot, eventID string) (int64, bool, error) {
			return bot.Session("1").ApplyOnce(s.Context(), eventID, change)
		},
		"UpdateOnce": func(bot *store.Bot, eventID string) (int64, bool, error) {
			return bot.UpdateOnce(s.Context(), "1", eventID, func(_ context.Context, t *store.Turn) error {
				if t.State() != "s0" {
					return session.ErrWrongState
				}
				t.Move("s1")
				t.Record(session.Message{Content: "hi"})
				return nil
			})
		},
	}
	for name, call := range calls {
		s.ok(second(sess.Apply(s.Context(), session.Change{Moves: []string{"s1"}})))
		_, duplicate, err := call(bots[0], name) // refused, and so not remembered
		s.is(err, session.ErrWrongState)
		equal(s, name+" that was refused is a duplicate", duplicate, false)
		s.ok(second(sess.Apply(s.Context(), session.Change{Moves: []string{"s0"}})))
		before := s.status(sess)
		var made atomic.Int32
		var versions record[int64]
		together(s, 12, func(i int) {
			version, duplicate, err := call(bots[i%len(bots)], name)
			if err != nil {
				s.Errorf("%s: %v", name, err)
			}
			if !duplicate {
				made.Add(1)
			}
			versions.add(version)
		})
		after := s.status(sess)
		equal(s, name+" that were made", made.Load(), 1)
		equal(s, "messages that they wrote", after.Messages-before.Messages, 1)
		equal(s, "version that they made", after.Version, before.Version+1)
		for _, version := range versions.list() {
			equal(s, "version that each returns", version, after.Version)
		}

		s.ok(second(sess.Apply(s.Context(), session.Change{Moves: []string{"s0"}})))
		r.loseReplies(lua.Change, 1)
		r.loseReplies(lua.Commit, 1)
		version, duplicate, err := call(bots[0], name+" again")
		s.ok(err)
		r.loseReplies(lua.Change, 0)
		r.loseReplies(lua.Commit, 0)
		equal(s, name+" whose reply was lost is a duplicate", duplicate, false)
		equal(s, "its version", version, s.load(sess).Version)
		_, _, err = call(bots[0], "")
		s.is(err, session.ErrInvalid)
	}

	runs := 0
	for range 2 {
		_, _, err := bots[0].UpdateOnce(s.Context(), "1", "changes nothing", func(context.Context, *store.Turn) error { runs++; return nil })
		s.ok(err)
	}
	equal(s, "runs of an Update that changes nothing", runs, 1)
	s.ok(second(sess.Destroy(s.Context())))
	for name, call := range calls {
		version, duplicate, err := call(bots[1], name)
		s.ok(err)
		if !duplicate || version == 0 {
			s.Errorf("%s after the session's end: version %d, duplicate %v", name, version, duplicate)
		}
	}
}

func idsOfChanges(s *scene) {
	bot := s.replica().bot("bot", nil)
	sess := bot.Session("1")
	s.accept(bot, "1", "event")
	set := session.Change{Set: map[string]any{"k": "v"}}
	for _, what := range []string{"waits", "was handled"} {
		version, duplicate, err := sess.ApplyOnce(s.Context(), "event", set)
		s.ok(err)
		if !duplicate || version != 0 {
			s.Errorf("a change under the id of an event that %s: version %d, duplicate %v", what, version, duplicate)
		}
		s.drain(bot, echo)
	}
	_, duplicate, err := sess.ApplyOnce(s.Context(), "change", set)
	s.ok(err)
	equal(s, "a change under an id of its own is a duplicate", duplicate, false)
	r := s.accept(bot, "1", "change")
	equal(s, "an event under the id of a change is a duplicate", r.Duplicate, true)
	equal(s, "replies that it waits for", len(s.handled(r)), 0)
	equal(s, "turns", s.drain(bot, echo), 0)

	short := s.replicaWith(store.Options{Timeout: time.Second}).bot("bot", nil) // no window is shorter than that
	s.configure(short, func(o *store.BotOptions) { o.DedupeWindow = 50 * time.Millisecond })
	_, duplicate, err = short.Session("1").ApplyOnce(s.Context(), "short", set)
	s.ok(err)
	equal(s, "a change under a new id is a duplicate", duplicate, false)
	s.eventually("the id is forgotten", func() bool {
		_, duplicate, err := short.Session("1").ApplyOnce(s.Context(), "short", set)
		s.ok(err)
		return !duplicate
	})
	_, duplicate, err = sess.ApplyOnce(s.Context(), "change", set)
	s.ok(err)
	equal(s, "a change within its window is a duplicate", duplicate, true)
}
