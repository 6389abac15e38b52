package storetest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theFailures is what happens when a handler fails.
var theFailures = []check{
	{promise: "a failed turn shows nothing and is retried at the head, after its back-off and not earlier", run: retried}, // 21
	{promise: "after the last attempt an event is a dead letter with its error, and the next is served", run: deadLetter}, // 21
	{promise: "GiveUp makes a dead letter at once, and RetryAfter chooses the back-off", run: verdicts},                   // 21
	{promise: "Later puts an event off without a failure, and what comes behind it waits", run: laterEvent},               // added
	{promise: "Later in Send puts a reply off without a failure, and turns go on meanwhile", run: laterReply},             // added
	{promise: "the pauses of Later end at a minute, and the status says since when they are", run: laterStatus},           // added
	{promise: "a handler that panics fails its turn, and no other", run: panics},                                          // added
	{promise: "a handler that hangs is cancelled, and its event is retried", run: hangs},                                  // added
	{promise: "a live move during a turn has the event handled again, uncounted, in the new state", run: movedMeanwhile},  // added
}

// An attempt is one run of a handler on an event.
type attempt struct {
	text   string
	number int
	began  time.Time
	ended  time.Time
}

func retried(s *scene) {
	const backoff = 500 * time.Millisecond
	opts := &options{Lease: longLease, Backoff: backoff}
	var attempts record[attempt]
	handler := func(_ context.Context, t *store.Turn) error {
		a := attempt{text: t.Event().Text, number: t.Attempt(), began: time.Now()}
		defer func() { a.ended = time.Now(); attempts.add(a) }()
		t.Set("k", a.text)
		t.Move("moved")
		t.SetIntent(&session.Intent{Name: "hi"})
		t.Reply("re " + a.text)
		if a.text == "first" && a.number < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	bot, other := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	before := s.load(sess)
	s.serve(bot, handler)
	s.serve(other, handler)
	first := s.accept(bot, "1", "first")
	s.eventually("the first attempt has failed", func() bool { return s.status(sess).Event.Failures == 1 })
	// New events come meanwhile, at every replica, and must not hurry it.
	later := []*store.Receipt{s.accept(bot, "1", "second"), s.accept(other, "1", "third")}
	if len(attempts.list()) == 1 {
		snap := s.load(sess)
		status := s.status(sess)
		if len(attempts.list()) == 1 { // still: what was read is from before the second attempt
			equal(s, "state after a failed turn", snap.State, before.State)
			equal(s, "data after a failed turn", len(snap.Data), 0)
			equal(s, "flags after a failed turn", len(snap.Flags), 0)
			equal(s, "messages after a failed turn", status.Messages, 0)
			equal(s, "events waiting after a failed turn", status.Waiting, 3)
			if wait := status.Event.At.Sub(status.Now); wait <= 0 || wait > backoff {
				s.Errorf("the next attempt is in %v, want within %v", wait, backoff)
			}
		}
	}
	s.handled(first)
	s.handled(later[0])
	s.handled(later[1])
	all := attempts.list()
	var order []string
	for _, a := range all {
		order = append(order, a.text)
	}
	equal(s, "attempts", order, []string{"first", "first", "first", "second", "third"})
	for i, least := range []time.Duration{backoff, 2 * backoff} {
		if pause := all[i+1].began.Sub(all[i].ended); pause < least-10*time.Millisecond {
			s.Errorf("attempt %d came %v after the one before, want %v or more", i+2, pause, least)
		}
		equal(s, "number of the attempt", all[i].number, i+1)
	}
	equal(s, "number of the first attempt on the next event", all[3].number, 1)
	equal(s, "chat", s.chat(sess), []string{"u first", "b re first", "u second", "b re second", "u third", "b re third"})
}

func deadLetter(s *scene) {
	var attempts, told atomic.Int32
	handler := func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text != "bad" {
			return echo(ctx, t)
		}
		attempts.Add(1)
		t.Set("k", "v")
		t.Move("moved")
		t.Reply("never")
		return errors.New("the boiler is out")
	}
	var letters record[session.DeadLetter]
	opts := &options{Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 3, Dead: func(_ context.Context, d session.DeadLetter) {
		letters.add(d)
		told.Add(1)
	}}
	bot, other := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	s.serve(bot, handler)
	s.serve(other, handler)
	sess := bot.Session("1")
	bad := s.accept(bot, "1", "bad")
	good := s.accept(other, "1", "good")
	o := s.outcome(bad)
	equal(s, "outcome", o.Status, session.Dead)
	if !strings.Contains(o.Reason, "the boiler is out") || len(o.Replies) > 0 {
		s.Errorf("outcome %+v, want the handler's error and no replies", o)
	}
	s.is(o.Err(), session.ErrDead)
	equal(s, "error of the event that was handled", s.outcome(good).Err(), nil)
	equal(s, "attempts", attempts.Load(), 3)
	s.eventually("Dead was called", func() bool { return told.Load() > 0 })
	equal(s, "calls of Dead", told.Load(), 1)
	stored, err := other.Session("1").DeadLetters(s.Context())
	s.ok(err)
	for what, list := range map[string][]session.DeadLetter{"stored": stored, "told": letters.list()} {
		if len(list) != 1 {
			s.Fatalf("dead letters %s: %+v, want one", what, list)
		}
		d := list[0]
		if d.Ref != sess.Ref() || d.Event == nil || d.Reply != nil || d.Event.ID != "bad" || d.Event.Text != "bad" ||
			!strings.Contains(d.Error, "the boiler is out") || d.Failures != 3 || d.Crashes != 0 || d.Time.IsZero() {
			s.Errorf("dead letter %s: %+v with event %+v", what, d, d.Event)
		}
	}
	equal(s, "chat", s.chat(sess), []string{"u bad", "u good", "b re good"})
	snap := s.load(sess)
	equal(s, "state", snap.State, "start")
	equal(s, "data", len(snap.Data), 0)
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	equal(s, "sessions with dead letters", counts.Dead, 1)
	again := s.accept(other, "1", "bad")
	equal(s, "duplicate of a dead letter", again.Duplicate, true)
	equal(s, "outcome that it waits for", s.outcome(again).Status, session.Dead)
}

func verdicts(s *scene) {
	const pause = 300 * time.Millisecond
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Hour, MaxAttempts: 10})
	reason := errors.New("no such dish")
	var gaveUp atomic.Int32
	var attempts record[attempt]
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		switch t.Event().Text {
		case "give up":
			gaveUp.Add(1)
			err := store.GiveUp(reason)
			if !errors.Is(err, reason) {
				s.Errorf("GiveUp(err) is not err: %v", err)
			}
			return err
		case "retry":
			a := attempt{began: time.Now()}
			defer func() { a.ended = time.Now(); attempts.add(a) }()
			if t.Attempt() == 1 {
				return store.RetryAfter(pause, reason)
			}
		}
		return nil
	})
	o := s.outcome(s.accept(bot, "1", "give up"))
	equal(s, "outcome", o.Status, session.Dead)
	equal(s, "attempts", gaveUp.Load(), 1)
	if !strings.Contains(o.Reason, reason.Error()) {
		s.Errorf("error %q, want %q", o.Reason, reason)
	}
	s.handled(s.accept(bot, "1", "retry")) // long before an hour is over
	all := attempts.list()
	if len(all) != 2 || all[1].began.Sub(all[0].ended) < pause-10*time.Millisecond {
		s.Errorf("attempts %+v, want two, %v or more apart", all, pause)
	}
}

func laterEvent(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 2})
	reason := errors.New("the provider is down")
	var attempts record[attempt]
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		attempts.add(attempt{text: t.Event().Text, number: t.Attempt()})
		if t.Event().Text == "a" && len(attempts.list()) < 5 {
			t.Set("k", "v")
			t.Reply("never")
			err := store.Later(reason)
			if !errors.Is(err, reason) {
				s.Errorf("Later(err) is not err: %v", err)
			}
			return err
		}
		return echo(ctx, t)
	})
	first := s.accept(bot, "1", "a")
	s.handled(s.accept(bot, "1", "b"))
	s.handled(first)
	equal(s, "attempts", attempts.list(), []attempt{{text: "a", number: 1}, {text: "a", number: 1}, {text: "a", number: 1}, {text: "a", number: 1}, {text: "a", number: 1}, {text: "b", number: 1}})
	sess := bot.Session("1")
	equal(s, "chat", s.chat(sess), []string{"u a", "b re a", "u b", "b re b"})
	equal(s, "data", len(s.load(sess).Data), 0)
	equal(s, "what is said of the next event", s.status(sess).Event, session.Retry{})
	err := s.update(bot, "1", func(context.Context, *store.Turn) error { return store.Later(reason) })
	s.is(err, reason) // an Update is its caller's to try again
}

func laterReply(s *scene) {
	down := errors.New("the platform is down")
	var tries, sent record[string]
	var attempts record[int]
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 2, Send: func(_ context.Context, d store.Delivery) error {
		tries.add(d.Message.String())
		attempts.add(d.Attempt)
		if len(tries.list()) < 5 {
			return store.Later(down)
		}
		sent.add(d.Message.String())
		return nil
	}})
	s.serve(bot, echo)
	s.handled(s.accept(bot, "1", "a"))
	s.handled(s.accept(bot, "1", "b")) // while the first reply is put off, or after it
	s.eventually("both replies are sent", func() bool { return len(sent.list()) == 2 })
	equal(s, "replies sent", sent.list(), []string{"re a", "re b"})
	equal(s, "tries", tries.list(), []string{"re a", "re a", "re a", "re a", "re a", "re b"})
	equal(s, "numbers of the attempts", attempts.list(), []int{1, 1, 1, 1, 1, 1})
}

func laterStatus(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Hour, Send: func(context.Context, store.Delivery) error {
		return store.Later(errors.New("the platform is down"))
	}})
	sess := bot.Session("1")
	s.say(bot, "1", session.Event{Text: "a"}, echo)
	s.accept(bot, "1", "b")
	s.drain(bot, func(context.Context, *store.Turn) error { return store.Later(errors.New("the provider is down")) })
	st := s.status(sess)
	for what, r := range map[string]session.Retry{"the platform is down": st.Reply, "the provider is down": st.Event} {
		if r.Since.IsZero() || r.Since.After(st.Now) || r.Since.Before(st.Created) {
			s.Errorf("%s since %v, want a moment from %v to %v", what, r.Since, st.Created, st.Now)
		}
		equal(s, "the pause, though the back-off is an hour: "+what, r.At.Sub(r.Since), time.Minute)
		equal(s, "the rest", r, session.Retry{At: r.At, Since: r.Since, Error: what})
	}
	s.ok(sess.Reset(s.Context(), session.KeepChat))
	equal(s, "what is said of the event after a reset", s.status(sess).Event, session.Retry{})
}

func panics(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 2, Concurrency: 2})
	var runs atomic.Int32
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text == "bad" {
			runs.Add(1)
			t.Set("k", "v")
			panic("nil map")
		}
		return echo(ctx, t)
	})
	ids := []string{"1", "2", "3"} // more than the replica has room for
	for _, id := range ids {
		s.accept(bot, id, "bad")
		s.accept(bot, id, "good")
	}
	for _, id := range ids {
		o := s.outcome(bot.Receipt(id, "bad"))
		equal(s, "outcome", o.Status, session.Dead)
		if !strings.Contains(o.Reason, "nil map") {
			s.Errorf("error %q, want what the handler panicked with", o.Reason)
		}
		s.handled(bot.Receipt(id, "good"))
		equal(s, "data", len(s.load(bot.Session(id)).Data), 0)
	}
	equal(s, "runs", runs.Load(), 6)
	err := s.update(bot, "1", func(context.Context, *store.Turn) error { panic("in an Update") })
	if err == nil || !strings.Contains(err.Error(), "in an Update") {
		s.Errorf("an Update that panics: %v, want what it panicked with", err)
	}
	s.ok(s.update(bot, "1", echo)) // and it holds nothing any more
}

func hangs(s *scene) {
	bot := s.replica().bot("bot", &options{MaxTurn: 200 * time.Millisecond, Lease: 2 * time.Second, Backoff: time.Millisecond})
	var cause atomic.Value
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text == "hang" && t.Attempt() == 1 {
			t.Reply("never")
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return ctx.Err()
		}
		return echo(ctx, t)
	})
	s.handled(s.accept(bot, "1", "hang"))
	if err, _ := cause.Load().(error); !errors.Is(err, session.ErrMaxTurn) {
		s.Errorf("the handler's context ended with %v, want %v", err, session.ErrMaxTurn)
	}
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u hang", "b re hang"})
}

func movedMeanwhile(s *scene) {
	bot, other := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1}), s.bot()
	sess := other.Session("1")
	s.create(sess, store.Origin{State: "a"})
	g := s.gate()
	var states record[string]
	var attempts record[int]
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		states.add(t.State())
		attempts.add(t.Attempt())
		g.pass()
		t.Set("seen in", t.State())
		t.Set("blind", "turn")
		return nil
	})
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	s.ok(sess.Set(s.Context(), "blind", "live"))
	s.ok(sess.Set(s.Context(), "other", "live"))
	s.ok(sess.Move(s.Context(), session.Transition{From: "a", To: "b"}))
	g.open()
	s.handled(r)
	equal(s, "states that the handler saw", states.list(), []string{"a", "b"})
	equal(s, "attempts", attempts.list(), []int{1, 1})
	snap := s.load(sess)
	equal(s, "state", snap.State, "b")
	equal(s, "data", snap.Data, map[string]any{"seen in": "b", "blind": "turn", "other": "live"})
	equal(s, "chat", s.chat(sess), []string{"u hi"})
}
