package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

// theHeads is about events and replies whose end something stands in the way of.
var theHeads = []check{
	{promise: "an event is ended by a process of another codec and smaller limits than the one that accepted it", run: otherLimits},
	{promise: "at most one Update runs between two turns while events wait", run: updatesBetween},
	{promise: "a session keeps its newest hundred dead letters, and the outcome of each", run: manyLetters},
	{promise: "Wait says when nobody serves", run: nobodyServes},
	{promise: "Wait goes on over an outage that is longer than a call may take", run: waitsOverAnOutage},
	{promise: "a late release of a replica that lost its session changes nothing", run: lateRelease},
	{promise: "a lease is not taken before it is over", run: leaseNotTakenEarly},
	{promise: "an event that live Moves come between again and again is a dead letter in the end", run: movesAgainAndAgain},
}

func otherLimits(s *scene) {
	events := map[string]session.Event{
		"bytes that are no UTF-8": {Text: "caf\xe9", Payload: []string{"\xff"}},
		"a long text":             {Text: strings.Repeat("x", 5000)},
		"a file":                  {File: &session.File{Name: "f\xff", Data: make([]byte, 5000)}},
	}
	for what, e := range events {
		for _, dies := range []bool{false, true} {
			id := fmt.Sprint(what, dies)
			e.ID = id
			from := s.replicaWith(store.Options{Codec: codec.Msgpack}).bot("bot", nil)
			to := s.replicaWith(store.Options{Codec: codec.JSON, MaxValue: 1000, MaxChange: 1000}).bot("bot", nil)
			r, err := from.Accept(s.Context(), id, e)
			s.ok(err)
			behind := s.accept(from, id, "behind")
			s.drain(to, func(_ context.Context, t *store.Turn) error {
				if dies && t.Event().ID == id {
					return store.GiveUp(errors.New("no"))
				}
				return nil
			})
			want := session.Handled
			if dies {
				want = session.Dead
			}
			equal(s, what+": the outcome", s.outcome(r).Status, want)
			s.handled(behind)
			letters, err := to.Session(id).DeadLetters(s.Context())
			s.ok(err)
			if dies && (len(letters) != 1 || letters[0].Event == nil || letters[0].Event.Text != e.Text || letters[0].Event.ID != id) {
				s.Errorf("%s: letters %+v, want the event as it was accepted", what, letters)
			}
		}
	}
}

func updatesBetween(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease})
	other := s.replica().bot("bot", &options{Lease: longLease})
	s.create(bot.Session("1"), store.Origin{})
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	var loops sync.WaitGroup
	defer bounded.Wait(s, "all Updates end", &loops)
	defer stop()
	for _, b := range []*store.Bot{bot, other} {
		loops.Go(func() {
			for ctx.Err() == nil {
				_, _ = b.Update(ctx, "1", func(context.Context, *store.Turn) error {
					note("update")
					time.Sleep(5 * time.Millisecond)
					return nil
				})
			}
		})
	}
	s.eventually("Updates run", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) > 3 })
	var receipts []*store.Receipt
	for i := range 8 {
		receipts = append(receipts, s.accept(bot, "1", fmt.Sprint(i)))
	}
	note("all wait")
	s.serve(bot, func(context.Context, *store.Turn) error { note("turn"); return nil })
	for _, r := range receipts {
		s.handled(r)
	}
	mu.Lock()
	defer mu.Unlock()
	began, turns, updates := false, 0, 0
	for _, what := range order {
		switch {
		case what == "all wait":
			began = true
		case !began || turns == len(receipts):
		case what == "turn":
			turns, updates = turns+1, 0
		default:
			if updates++; updates > 1 && turns > 0 {
				s.Errorf("%d Updates behind turn %d: %v", updates, turns, order)
			}
		}
	}
}

func manyLetters(s *scene) {
	bot := s.replica().bot("bot", &options{MaxAttempts: 1})
	var receipts []*store.Receipt
	for i := range 103 {
		receipts = append(receipts, s.accept(bot, "1", fmt.Sprint(i)))
	}
	s.drain(bot, func(_ context.Context, t *store.Turn) error { return errors.New("why " + t.Event().ID) })
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 100 || letters[0].Event.ID != "3" || letters[99].Event.ID != "102" {
		s.Fatalf("%d letters, want the newest 100", len(letters))
	}
	for i, r := range receipts {
		want := fmt.Sprint("why ", i)
		if i < 3 {
			want = "" // its letter is gone
		}
		o := s.outcome(r)
		if o.Status != session.Dead || o.Reason != want {
			s.Errorf("outcome %d: %+v, want it dead with %q", i, o, want)
		}
	}
}

func nobodyServes(s *scene) {
	bot := s.bot()
	r := s.accept(bot, "1", "hi")
	s.runsOut("Wait where nobody serves", func(ctx context.Context) error { return second(r.Wait(ctx)) },
		func(err error) bool { return strings.Contains(err.Error(), "no replica serves") })
}

func waitsOverAnOutage(s *scene) {
	bot, cut := s.bot(), s.replicaWith(store.Options{Timeout: 2 * time.Second})
	r := s.accept(bot, "1", "hi")
	var failed atomic.Int64
	cut.fail(lua.Outcome, func(_ context.Context, q request) error {
		if failed.Add(1) <= 25 { // for longer than a call, which tries it some fourteen times
			return io.EOF
		}
		return q.deliver()
	})
	waited := make(chan error, 1)
	go func() {
		_, err := cut.bot("bot", nil).Receipt(r.Ref.ID, r.EventID).Wait(s.Context())
		waited <- err
	}()
	s.drain(bot, echo)
	s.ok(receive(s, "Wait returns", waited))
}

func lateRelease(s *scene) {
	slow := s.replica()
	held, resume := slow.hold(lua.Release)
	first := slow.bot("bot", &options{Lease: shortLease})
	s.accept(first, "1", "hi")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = first.Drain(s.Context(), func(context.Context, *store.Turn) error { return errors.New("no") }, s.with(first))
	}()
	s.happens("the failed event is being given back", held)
	busy := s.gate()
	second := s.replica().bot("bot", &options{Lease: longLease})
	s.serve(second, func(context.Context, *store.Turn) error { busy.pass(); return nil })
	s.happens("another replica has it", busy.arrived)
	before := s.status(second.Session("1"))
	resume()
	s.happens("that release has returned", drained)
	after := s.status(second.Session("1"))
	equal(s, "the lease", after.Lease, before.Lease)
	equal(s, "the event's counters", after.Event, before.Event)
	busy.open()
}

func leaseNotTakenEarly(s *scene) {
	dead := s.replica()
	first := dead.bot("bot", &options{Lease: time.Second})
	busy := s.gate()
	s.serve(first, func(context.Context, *store.Turn) error { busy.pass(); return nil })
	s.accept(first, "1", "hi")
	s.happens("the event is in hand", busy.arrived)
	dead.die()
	second := s.bot()
	until := s.status(second.Session("1")).Lease.Until
	s.ok(s.update(second, "1", func(context.Context, *store.Turn) error {
		if now := s.status(second.Session("1")).Now; now.Before(until) {
			s.Errorf("the lease until %v is taken by %v", until, now)
		}
		return nil
	}))
}

func movesAgainAndAgain(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1})
	var runs atomic.Int64
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		runs.Add(1)
		return bot.Session("1").Move(context.Background(), session.Transition{From: t.State(), To: t.State() + "x"})
	})
	o := s.outcome(s.accept(bot, "1", "hi"))
	if o.Status != session.Dead || runs.Load() != 5 {
		s.Errorf("%+v after %d runs, want a dead letter after 5", o, runs.Load())
	}
}
