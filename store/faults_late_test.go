package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/faultnet"
)

// Of requests that arrive when their caller no longer waits for them: it has
// given up, or got its answer from a retry.

// turns are the stages of a turn, as calls: what a Drain does.
func turns() []call {
	var all []call
	for name, verdict := range map[string]error{"a turn": nil, "a turn that fails": errNo, "a turn that gives up": store.GiveUp(errNo)} {
		all = append(all, call{
			name:  name,
			begin: func(s *scene) { quiet(s); s.events("one") },
			do: func(ctx context.Context, b *store.Bot) (any, error) {
				_, err := b.Drain(ctx, func(_ context.Context, t *store.Turn) error { echo(t); return verdict }, with(b))
				return nil, err
			},
		})
	}
	return all
}

// meanwhile is what happens to a session before the late request arrives.
var meanwhile = map[string]func(s *scene){
	"nothing":   none,
	"a reset":   func(s *scene) { s.there(s.session().Reset(s.Context(), session.DropChat)) },
	"a destroy": destroy,
	"a skip": func(s *scene) {
		if err := s.session().Skip(s.Context(), store.Head{Event: "one"}); !errors.Is(err, session.ErrChanged) {
			s.there(err)
		}
	},
	"a new life": func(s *scene) { destroy(s); full(s) },
	"its expiry": expire,
	"its expiry and removal": func(s *scene) {
		expire(s)
		_, err := s.eye.Drain(s.Context(), func(context.Context, *store.Turn) error { return nil }, with(s.eye))
		s.ok(err)
	},
}

// there takes it that the session may not be there.
func (s *scene) there(err error) {
	s.Helper()
	if !errors.Is(err, session.ErrNotFound) {
		s.ok(err)
	}
}

func destroy(s *scene) {
	s.Helper()
	_, err := s.session().Destroy(s.Context())
	s.there(err)
}

func expire(s *scene) {
	s.Helper()
	s.rest() // with work waiting it would not expire
	s.there(s.session().SetTTL(s.Context(), time.Millisecond))
	s.eventually("it has expired", s.gone)
}

// A lateness is a call, the request of it that is held back, and what happens
// before that arrives.
type lateness struct {
	reference
	at   int
	what string
}

func latenesses(refs []reference) []lateness {
	var all []lateness
	for _, r := range refs {
		for at := 1; at <= r.scripts; at++ {
			for what := range meanwhile {
				all = append(all, lateness{r, at, what})
			}
		}
	}
	return all
}

func (c lateness) String() string {
	return fmt.Sprintf("%s, request %d is held back, meanwhile: %s", c.name, c.at, c.what)
}

// late makes the call with requests held back, which then arrive after what
// happens meanwhile, and must change nothing.
func (c lateness) late(t *testing.T, l *lab, limit time.Duration, every bool, ends *tally) {
	s, _ := l.begun(t, c.call, faultnet.Rule{At: c.at, Fault: faultnet.Hold, Every: every})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := c.do(ctx, s.bot)
	ends.count(err, l.net.Counts())
	meanwhile[c.what](s)
	s.changesNothing(s.look(), ended(err))
}

// changesNothing lets arrive what is late: the session stays as it was when
// something had happened already.
func (s *scene) changesNothing(was view, when string) {
	s.Helper()
	s.settle()
	if d := differ(was, s.look()); d != "" {
		s.Errorf("%s, and what arrived then changed the session:\n%s", when, d)
	}
}

func ended(err error) string { return fmt.Sprintf("the call had ended with the error %v", err) }

func TestWhatArrivesAfterItsCallerGaveUpChangesNothing(t *testing.T) {
	t.Parallel()
	everyLateness(t, "late", callTimeout/2, true)
}

func TestWhatItsRetryOvertookChangesNothing(t *testing.T) {
	t.Parallel()
	everyLateness(t, "overtaken", patience, false)
}

// everyLateness makes every call, and every turn, with each of its requests held back:
// see late.
func everyLateness(t *testing.T, space string, limit time.Duration, every bool) {
	labs, calm := newLabs(t, 24, space, callTimeout)
	all := latenesses(calm.references(t, append(calls(), turns()...)))
	var ends tally
	runEach(t, labs, all, lateness.String, func(t *testing.T, l *lab, c lateness) {
		c.late(t, l, limit, every, &ends)
	})
	t.Logf("%d combinations: %d struck, %d unknown outcomes, %d calls succeeded", len(all), ends.struck.Load(), ends.unknown.Load(), ends.fine.Load())
}

// What comes first may still be on its way when the server refuses the retry.
func TestAnUnknownOutcomeIsFinal(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 24, "final", callTimeout)
	var all []combination
	for _, r := range calm.references(t, calls()) {
		for at := 1; at <= r.scripts; at++ {
			all = append(all, r.struck(fmt.Sprintf("request %d", at), faultnet.Rule{At: at, Fault: faultnet.Hold}, faultnet.Rule{At: at + 1, Fault: noMemory}))
		}
	}
	runEach(t, labs, all, combination.String, func(t *testing.T, l *lab, c combination) {
		s, _ := l.begun(t, c.call, c.rules...)
		_, err := c.do(t.Context(), s.bot)
		if errors.Is(err, session.ErrUnknownOutcome) {
			s.changesNothing(s.look(), ended(err))
		}
	})
}

// The first attempt may still be on its way when the retry is refused for what
// the session is; and then that changes.
func TestARefusalIsFinal(t *testing.T) {
	t.Parallel()
	labs, _ := newLabs(t, 1, "refusals", time.Second)
	for _, c := range []struct {
		name     string
		begin    func(s *scene)
		do       func(ctx context.Context, b *store.Bot) error
		refusal  error // nil: it answers that it did nothing
		meantime func(s *scene)
	}{
		{"Set in no session, then it is created", none, func(ctx context.Context, b *store.Bot) error {
			return b.Session(theID).Set(ctx, "k", "new")
		}, session.ErrNotFound, quiet},
		{"Reset of no session, then it is created", none, func(ctx context.Context, b *store.Bot) error {
			return b.Session(theID).Reset(ctx, session.DropChat)
		}, session.ErrNotFound, quiet},
		{"Destroy of no session, then it is created", none, func(ctx context.Context, b *store.Bot) error {
			_, err := b.Session(theID).Destroy(ctx)
			return err
		}, session.ErrNotFound, quiet},
		{"Create of one that is there, then it is destroyed", quiet, func(ctx context.Context, b *store.Bot) error {
			created, err := b.Session(theID).Create(ctx, store.Origin{})
			if created {
				return errors.New("it says that it created the session")
			}
			return err
		}, nil, destroy},
		{"Move from another state, then it is in that", quiet, func(ctx context.Context, b *store.Bot) error {
			return b.Session(theID).Move(ctx, session.Transition{From: "s9", To: "s1"})
		}, session.ErrWrongState, func(s *scene) {
			s.ok(s.session().Move(s.Context(), session.Transition{From: "s0", To: "s9"}))
		}},
		{"Accept into a full inbox, then it is empty", func(s *scene) { quiet(s); s.events("one") }, func(ctx context.Context, b *store.Bot) error {
			_, err := b.Accept(ctx, theID, session.Event{ID: "new", Text: "new"})
			return err
		}, session.ErrInboxFull, (*scene).rest},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := labs[0]
			s := l.scene(t, store.BotOptions{InboxLimit: 1})
			c.begin(s)
			_ = c.do(t.Context(), s.bot) // the server learns the script
			l.net.Strike(faultnet.Rule{Fault: faultnet.Hold})
			err := c.do(t.Context(), s.bot)
			if !errors.Is(err, c.refusal) && !errors.Is(err, session.ErrUnknownOutcome) {
				t.Fatalf("%v, want %v", err, c.refusal)
			}
			c.meantime(s)
			s.changesNothing(s.look(), ended(err))
		})
	}
}

// A call that finds an expired session in its way removes that and begins
// again; the attempt before may still be on its way.
func TestACallThatMustBuryFirstIsOneCall(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 1, "buried", time.Second)
	l := labs[0]
	for _, c := range calls() {
		if !c.buries {
			continue
		}
		r := calm.reference(t, c)
		t.Run(c.name+", the first request arrives after the burial", func(t *testing.T) {
			// Request 1 is overtaken by 2, which finds the session expired; 3 removes it; 4 waits until 1 has arrived.
			s, before := l.begun(t, c, faultnet.Rule{Fault: faultnet.Hold}, faultnet.Rule{At: 4, Fault: faultnet.Delay(readTimeout / 2)})
			go func() {
				if l.net.Await(t.Context(), func(n faultnet.Counts) bool { return n.Scripts == 4 }) == nil {
					l.net.Release()
				}
			}()
			answer, err := c.do(t.Context(), s.bot)
			after := s.look()
			r.judge(s, before, after, answer, err)
			s.changesNothing(after, ended(err))
		})
		t.Run(c.name+", the first request arrives when the session was destroyed", func(t *testing.T) {
			s, _ := l.begun(t, c, faultnet.Rule{Fault: faultnet.Hold})
			_, err := c.do(t.Context(), s.bot)
			destroy(s)
			s.changesNothing(s.look(), ended(err))
		})
	}
}

// A request for a lease that its own retry overtook may be granted when the
// retry's lease was given back: to nobody, for as long as a lease lasts.
func TestALateRequestForALeaseCostsALease(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 1, "leases", time.Second)
	l := labs[0]
	for _, c := range calls() {
		if c.name != "Update" {
			continue
		}
		r := calm.reference(t, c) // the server learns the scripts
		var s *scene
		var before view
		var answer any
		var err error
		for range 20 { // on a slow machine the retry, too, may lose its lease
			s, before = l.begun(t, c, faultnet.Rule{Fault: faultnet.Hold})
			if answer, err = c.do(t.Context(), s.bot); !errors.Is(err, session.ErrFenced) {
				break
			}
			s.settle()
		}
		s.ok(err)
		after := s.look()
		s.settle()
		s.eventually("the session is free", func() bool {
			status, err := s.session().Status(t.Context())
			s.ok(err)
			return !status.Lease.Held(status.Now)
		})
		r.judge(s, before, after, answer, err)
		_, err = s.eye.Update(t.Context(), theID, func(context.Context, *store.Turn) error { return nil })
		s.ok(err)
	}
}

func TestACallWhoseContextIsCancelledIsSeenThrough(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 8, "cancelled", callTimeout)
	runEach(t, labs, calm.references(t, calls()), func(r reference) string { return r.name }, func(t *testing.T, l *lab, c reference) {
		s, before := l.begun(t, c.call, faultnet.Rule{Fault: faultnet.Hold})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			_ = l.net.Await(t.Context(), func(n faultnet.Counts) bool { return n.Held == 1 })
		}()
		answer, err := c.do(ctx, s.bot)
		after := s.look()
		c.judge(s, before, after, answer, err)
		s.changesNothing(after, ended(err))
	})
}
