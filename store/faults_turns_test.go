package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/faultnet"
)

// A story is what becomes of events, in one session: accepted and handled by a
// replica behind the faults, and by one without when that fails. first tells of
// the first time that the handler, or Send, is called.
type story struct {
	name   string
	begin  func(s *scene)
	events []string
	handle func(s *scene, first bool, t *store.Turn) error
	refuse func(first bool, reply string) error // instead of sending it
	fails  bool                                 // the event or its reply fails once, and only then is tried again
}

const counter store.Key[int] = "n"

// tick shows how often turns were committed.
func tick(t *store.Turn) {
	n, _ := counter.Get(t)
	counter.Set(t, n+1)
}

func echo(t *store.Turn) {
	tick(t)
	t.Reply("re " + t.Event().Text)
	t.Reply("more on " + t.Event().Text)
}

func stories() []story {
	type turn = *store.Turn
	one, two := []string{"hi"}, []string{"one", "two"}
	echoes := func(_ *scene, _ bool, t turn) error { echo(t); return nil }
	return []story{
		{name: "a turn without a reply", events: one, begin: quiet, handle: func(_ *scene, _ bool, t turn) error {
			tick(t)
			t.Move("s1")
			t.SetIntent(&session.Intent{Name: "new"})
			return nil
		}},
		{name: "a turn with replies", events: one, begin: none, handle: echoes},
		{name: "a turn with 101 replies", events: one, begin: none, handle: func(_ *scene, _ bool, t turn) error {
			for i := range 101 { // one more than are sent before they are noted
				t.Reply(fmt.Sprint(i))
			}
			return nil
		}},
		{name: "two turns", events: two, begin: quiet, handle: echoes},
		{name: "a turn that fails once", events: one, begin: none, fails: true, handle: func(_ *scene, first bool, t turn) error {
			if echo(t); first {
				return errNo
			}
			return nil
		}},
		{name: "an event that is given up", events: two, begin: none, handle: func(_ *scene, _ bool, t turn) error {
			if echo(t); t.Event().Text == "one" {
				return store.GiveUp(errNo)
			}
			return nil
		}},
		{name: "a reply that fails once", events: one, begin: none, fails: true, handle: echoes, refuse: func(first bool, _ string) error {
			if first {
				return errNo
			}
			return nil
		}},
		{name: "a reply that is given up", events: one, begin: none, handle: echoes, refuse: func(_ bool, reply string) error {
			if reply == "re hi" {
				return store.GiveUp(errNo)
			}
			return nil
		}},
		{name: "a turn that resets the session", events: one, begin: quiet, handle: func(_ *scene, _ bool, t turn) error {
			t.Reset(session.KeepChat)
			echo(t)
			return nil
		}},
		{name: "a turn that ends the session", events: one, begin: quiet, handle: func(_ *scene, _ bool, t turn) error {
			t.Destroy()
			echo(t)
			return nil
		}},
		{name: "a turn that a Move overtakes", events: one, begin: quiet, handle: func(s *scene, first bool, t turn) error {
			if echo(t); first {
				return s.session().Move(s.Context(), session.Transition{From: "s0", To: "s1"})
			}
			return nil
		}},
		{name: "a turn on an event in hand", events: one, begin: free, handle: func(_ *scene, _ bool, t turn) error {
			tick(t)
			t.Move("s1")
			return nil
		}},
		{name: "a turn with replies on an event in hand", events: one, begin: free, handle: echoes},
		{name: "two turns, the first on an event in hand", events: two, begin: free, handle: echoes},
		{name: "an event in hand that fails once", events: one, begin: free, fails: true, handle: func(_ *scene, first bool, t turn) error {
			if echo(t); first {
				return errNo
			}
			return nil
		}},
		{name: "an event in hand that is given up", events: one, begin: free, handle: func(_ *scene, _ bool, t turn) error {
			echo(t)
			return store.GiveUp(errNo)
		}},
		{name: "an event in hand that a Move overtakes", events: one, begin: free, handle: func(s *scene, first bool, t turn) error {
			if echo(t); first {
				return s.session().Move(s.Context(), session.Transition{From: t.State(), To: "s1"})
			}
			return nil
		}},
		{name: "a turn that renews its lease", events: one, begin: none, handle: func(_ *scene, _ bool, t turn) error {
			time.Sleep(lease / 2) // the work that it does
			echo(t)
			return nil
		}},
	}
}

// An ending is how a story ended.
type ending struct {
	View     view
	Outcomes []session.OutcomeStatus
}

// A cast says who plays a story's first part, behind the faults.
type cast string

const (
	drains  cast = "drained"        // a replica that drains the bot, once
	serves  cast = "served"         // one that serves it
	hurries cast = "served eagerly" // one that runs its turns eagerly
	loses   cast = "taken over"     // one that drains it, and gets through when another has the session in hand
)

// A plight is a story, who plays it, and what strikes.
type plight struct {
	story
	cast
	name  string
	rules []faultnet.Rule
	want  ending
}

func (p plight) String() string { return fmt.Sprintf("%s (%s), %s", p.story.name, p.cast, p.name) }

// play lets the story happen, and returns its end and what the proxy saw.
func (p plight) play(t *testing.T, l *lab) (end ending, seen faultnet.Counts) {
	t.Helper()
	var dead atomic.Int64
	opts := store.BotOptions{MaxAttempts: 1}
	if p.fails {
		opts.MaxAttempts = 2 // the network's failures must not count
	}
	s := l.sceneWith(t, opts, store.ServeOptions{Dead: func(context.Context, session.DeadLetter) { dead.Add(1) }})
	var ran, sent atomic.Bool
	if p.refuse != nil {
		s.refuse = func(reply string) error { return p.refuse(sent.CompareAndSwap(false, true), reply) }
	}
	handler := func(_ context.Context, t *store.Turn) error { return p.handle(s, ran.CompareAndSwap(false, true), t) }
	heir := handler
	p.begin(s)
	if p.cast == hurries {
		defer s.serve(s.bot, func(ctx context.Context, t *store.Turn) error {
			if strings.HasPrefix(t.Event().Text, "before ") {
				return nil
			}
			return handler(ctx, t)
		})()
		s.known()
	}
	before := s.look()
	first := func() {
		for _, text := range p.events {
			s.deliver(s.bot, text)
		}
		_, _ = s.bot.Drain(t.Context(), handler, with(s.bot)) // what it leaves, the other one finds
	}
	switch p.cast {
	case drains:
		l.net.Strike(p.rules...)
		first()
	case serves, hurries:
		if p.cast == serves {
			defer s.serve(s.bot, handler)()
		}
		for i := range p.rules {
			p.rules[i].Match = s.name + "/" + theID // beside what Serve sends by itself
		}
		l.net.Strike(p.rules...)
		for _, text := range p.events {
			s.deliver(s.bot, text)
		}
	case loses:
		for _, text := range p.events {
			s.deliver(s.eye, text)
		}
		s.inHand = sync.OnceFunc(func() {
			was, holder := s.look(), s.holder()
			s.changesNothing(was, "another replica had the session in hand")
			if now := s.holder(); now != holder {
				s.Errorf("it had the session in hand for %q, and has it for %q when late requests have arrived", holder, now)
			}
		})
		heir = func(ctx context.Context, t *store.Turn) error { s.inHand(); return handler(ctx, t) }
		l.net.Strike(p.rules...)
		ctx, cancel := context.WithCancel(t.Context())
		var loser sync.WaitGroup
		loser.Go(func() { _, _ = s.bot.Drain(ctx, handler, with(s.bot)); cancel() })
		defer bounded.Wait(t, "Drain of the loser returns", &loser)
		_ = l.net.Await(ctx, func(n faultnet.Counts) bool { return n.Held > 0 }) // or it has ended without
	}
	s.eventually("everything is handled and sent", func() bool {
		_, _ = s.eye.Drain(t.Context(), heir, with(s.eye))
		end.Outcomes = s.outcomes(p.events)
		return end.Outcomes != nil && s.over()
	})
	seen = l.net.Counts()
	end.View = s.look()
	s.changesNothing(end.View, "everything was done")
	end.View = end.View.since(before)
	if p.cast == hurries { // by its estimate of the server's clock, a turn may end in the millisecond of the one before
		end.View.Session.Active = time.Time{}
	}
	if n := dead.Load(); n > int64(len(end.View.Letters)) {
		t.Errorf("Dead is told %d times of %d dead letters", n, len(end.View.Letters))
	}
	return end, seen
}

// holder says who holds the session, and what for.
func (s *scene) holder() string {
	status, err := s.session().Status(s.Context())
	s.there(err) // a session that has ended is held until its replies are sent
	return fmt.Sprint(status.Lease.Work, " ", status.Lease.Token, ", ", status.Event.Failures, " failures")
}

// outcomes returns how the events ended, or nil if one has not.
func (s *scene) outcomes(events []string) []session.OutcomeStatus {
	var all []session.OutcomeStatus
	for _, text := range events {
		ctx, cancel := context.WithTimeout(s.Context(), 20*time.Millisecond)
		o, err := s.eye.Receipt(theID, text).Wait(ctx)
		if cancel(); err != nil {
			return nil
		}
		all = append(all, o.Status)
	}
	return all
}

// over tells whether nothing is left to do for the session.
func (s *scene) over() bool {
	status, err := s.session().Status(s.Context())
	if errors.Is(err, session.ErrNotFound) {
		// It may have ended, and its replies wait: then there are still keys of it.
		keys, err := s.client.Keys(s.Context(), "*:[soq]:"+s.name+"/*").Result()
		s.ok(err)
		return len(keys) == 0
	}
	s.ok(err)
	return status.Waiting+status.Unsent == 0 && status.Lease.Work == session.WorkNone
}

// known has turns made until the replica behind the proxy knows the session: whether it
// does, it shows by a turn in one trip.
func (s *scene) known() {
	s.Helper()
	for i := range 4 {
		event := session.Event{ID: fmt.Sprint("before ", i), Text: fmt.Sprint("before ", i)}
		r, err := s.bot.Accept(s.Context(), theID, event)
		if err != nil { // on a busy machine its request may be late
			r, err = s.eye.Accept(s.Context(), theID, event)
		}
		s.ok(err)
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		_, err = r.Wait(ctx)
		cancel()
		s.ok(err)
		s.eventually("the session is free", s.over)
	}
}

// deliver has an event accepted as a platform would: until somebody says so.
func (s *scene) deliver(bot *store.Bot, text string) {
	s.Helper()
	event := session.Event{ID: text, Text: text}
	_, refused := bot.Accept(s.Context(), theID, event)
	if refused == nil {
		return
	}
	r, err := s.eye.Accept(s.Context(), theID, event)
	s.ok(err)
	if r.Duplicate && !errors.Is(refused, session.ErrUnknownOutcome) {
		s.Errorf("Accept answered %v, and the event is accepted", refused)
	}
}

// serve has a replica serve the bot until stop is called.
func (s *scene) serve(bot *store.Bot, handler store.Handler) (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- bot.Serve(ctx, handler, with(bot)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := bounded.Receive(s, "Serve ends", done); err != nil {
			s.Errorf("Serve: %v", err)
		}
	})
	s.Cleanup(stop)
	s.eventually("it serves", bot.Serves)
	return stop
}

func TestAnEventIsHandledOnceWhateverTheNetworkDoes(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 32, "turns", callTimeout)
	var all []plight
	for _, st := range stories() {
		for _, by := range []cast{drains, serves, hurries} {
			want, requests := st.reference(t, calm, by)
			for at := 1; at <= requests; at++ {
				for _, f := range turnFaults {
					all = append(all, plight{st, by, fmt.Sprintf("request %d: %v", at, f), []faultnet.Rule{{At: at, Fault: f}}, want})
				}
				for _, f := range deathFaults {
					all = append(all, plight{st, by, fmt.Sprintf("request %d and all after it: %v", at, f), []faultnet.Rule{{At: at, Fault: f, Every: true}}, want})
				}
			}
		}
	}
	playAll(t, labs, all)
}

// The requests of a replica that lost the session arrive in time, when another
// has it in hand.
func TestWhoeverLostTheSessionWritesNothing(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 24, "lost", patience)
	var all []plight
	for _, st := range stories() {
		want, requests := st.reference(t, calm, drains)
		requests -= len(st.events) // which are accepted before
		for at := 1; at <= requests; at++ {
			rules := []faultnet.Rule{{At: at, Fault: faultnet.Hold, Every: true}}
			all = append(all, plight{st, loses, fmt.Sprintf("request %d and all after it are held back", at), rules, want})
		}
	}
	playAll(t, labs, all)
}

// reference plays the story without a fault, twice: the first time the server
// learns its scripts.
func (st story) reference(t *testing.T, calm *lab, by cast) (want ending, requests int) {
	t.Helper()
	for range 2 {
		end, seen := plight{story: st, cast: by, rules: []faultnet.Rule{{}}}.play(t, calm)
		want, requests = end, seen.Scripts
	}
	if by != drains {
		requests = min(requests, 6) // it also looks, and finds what is due again
	}
	return want, requests
}

func playAll(t *testing.T, labs []*lab, all []plight) {
	t.Helper()
	var struck atomic.Int64
	runEach(t, labs, all, plight.String, func(t *testing.T, l *lab, p plight) {
		end, seen := p.play(t, l)
		if seen.Struck > 0 || p.cast == loses {
			struck.Add(1)
		}
		if d := differ(p.want, end); d != "" {
			t.Errorf("it does not end as without a fault:\n%s", d)
		}
	})
	t.Logf("%d combinations, in %d of them the fault struck", len(all), struck.Load())
	if int(struck.Load()) < len(all)/2 { // how many requests there are depends on the time
		t.Error("too few faults struck")
	}
}
