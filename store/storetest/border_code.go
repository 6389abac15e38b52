package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theCode is about what users' code does to the store: errors, panics, functions that
// do not return, calls that cross its own turn.
var theCode = []check{
	{promise: "whatever text an error has, its event is a dead letter at once", run: oddErrors},
	{promise: "nothing that a handler, Send or Dead does ends the process", run: hostileCode},
	{promise: "a handler that does not return costs its event an attempt, and nobody a slot", run: hungHandler},
	{promise: "a Send that does not return costs its reply an attempt, and nobody a slot", run: hungSend},
	{promise: "a call that would wait for its own turn, or end it, is refused at once", run: callsInTurn},
	{promise: "a handler that resets its own session without its context ends all the same", run: resetsItself},
	{promise: "Dead may take its time", run: slowDead},
	{promise: "verbs of a turn that is over change nothing, and say so", run: verbsTooLate},
	{promise: "a failing handler is in the log, with session, event, attempt and replica", run: failuresAreLogged},
}

func oddErrors(s *scene) {
	for _, c := range []codec.Codec{codec.Msgpack, codec.JSON} {
		for i, text := range []string{"caf\xe9", strings.Repeat("x", 1999) + "\u00e9", strings.Repeat("\xff", 3000), strings.Repeat("\u00e9", 1001), "\x00", ""} {
			bot := s.replicaWith(store.Options{Codec: c}).bot("bot", nil)
			runs := 0
			o := s.say(bot, fmt.Sprint(c, i), session.Event{Text: "hi"}, func(context.Context, *store.Turn) error {
				runs++
				return store.GiveUp(errors.New(text))
			})
			if o.Status != session.Dead || runs != 1 {
				s.Errorf("error %d, codec %s: %v after %d runs, want a dead letter after one", i, c, o.Status, runs)
			}
		}
	}
}

type typedNil struct{ text string }

func (e *typedNil) Error() string { return e.text }

type panicker struct{}

func (panicker) Error() string                { panic("Error panics") }
func (panicker) Unwrap() error                { panic("Unwrap panics") }
func (panicker) String() string               { panic("String panics") }
func (panicker) MarshalJSON() ([]byte, error) { panic("MarshalJSON panics") }

// turncoat is a value that can be encoded once.
type turncoat struct{ times *atomic.Int64 }

func (v turncoat) MarshalJSON() ([]byte, error) {
	if v.times.Add(1) > 1 {
		panic("the second time")
	}
	return []byte(`"once"`), nil
}

func hostileCode(s *scene) {
	hostile := map[string]func(t *store.Turn) error{
		"a typed nil":             func(*store.Turn) error { var e *typedNil; return e },
		"an error that panics":    func(*store.Turn) error { return panicker{} },
		"a wrapped one":           func(*store.Turn) error { return fmt.Errorf("x: %w", panicker{}) },
		"a verdict over a nil":    func(*store.Turn) error { var e *typedNil; return store.GiveUp(e) },
		"a panic":                 func(*store.Turn) error { panic("no") },
		"a panic with a panicker": func(*store.Turn) error { panic(panicker{}) },
		"a panic with nil":        func(*store.Turn) error { panic(nil) },
		"an end of its goroutine": func(*store.Turn) error { runtime.Goexit(); return nil },
		"a value that panics":     func(t *store.Turn) error { t.Set("k", panicker{}); return nil },
		"a reply that panics":     func(t *store.Turn) error { t.ReplyWith(session.Message{Content: panicker{}}); return nil },
		"an intent that panics": func(t *store.Turn) error {
			t.SetIntent(&session.Intent{Params: []session.Param{{Value: panicker{}}}})
			return nil
		},
		"a value that changes mind": func(t *store.Turn) error {
			t.ReplyWith(session.Message{Content: turncoat{new(atomic.Int64)}})
			return errors.New("no")
		},
	}
	var told atomic.Int64
	opts := &options{Lease: longLease, MaxAttempts: 2, Backoff: time.Millisecond,
		Dead: func(context.Context, session.DeadLetter) {
			if told.Add(1)%2 == 0 {
				runtime.Goexit()
			}
			panic(panicker{})
		},
		Send: func(_ context.Context, d store.Delivery) error {
			return hostile[d.Message.String()](nil)
		},
	}
	logger := slog.New(panicHandler{})
	bot := s.replicaWith(store.Options{Logger: logger}).bot("bot", opts)
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		if name, reply := strings.CutPrefix(t.Event().Text, "reply "); reply {
			t.Reply(name)
			return nil
		}
		return hostile[t.Event().Text](t)
	})
	replies := 0
	for name := range hostile {
		o := s.outcome(s.accept(bot, "e "+name, name))
		if o.Status != session.Dead || o.Reason == "" {
			s.Errorf("%s: %+v, want a dead letter that says why", name, o)
		}
		if strings.Contains(name, "value") || strings.Contains(name, "reply") || strings.Contains(name, "intent") {
			continue // needs a turn
		}
		replies++
		s.handled(s.accept(bot, "r "+name, "reply "+name))
		s.eventually("the reply of "+name+" is a dead letter", func() bool {
			letters, err := bot.Session("r " + name).DeadLetters(s.Context())
			return err == nil && len(letters) == 1
		})
	}
	s.eventually("Dead is told of each", func() bool { return told.Load() == int64(len(hostile)+replies) })
	if err := bot.Session("live").Set(s.Context(), "k", panicker{}); !errors.Is(err, session.ErrInvalid) {
		s.Errorf("a live Set of a value that panics: %v", err)
	}
	if _, err := bot.Accept(s.Context(), "live", session.Event{ID: "1", Payload: panicker{}}); !errors.Is(err, session.ErrInvalid) {
		s.Errorf("a payload that panics: %v", err)
	}
}

// panicHandler is a slog.Handler that panics.
type panicHandler struct{}

func (panicHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panicHandler) Handle(context.Context, slog.Record) error { panic("log") }
func (panicHandler) WithAttrs([]slog.Attr) slog.Handler        { return panicHandler{} }
func (panicHandler) WithGroup(string) slog.Handler             { return panicHandler{} }

func hungHandler(s *scene) {
	hung := s.gate()
	opts := &options{Lease: 2 * time.Second, MaxTurn: 100 * time.Millisecond, MaxAttempts: 2, Backoff: time.Millisecond, Concurrency: 2}
	bot := s.replica().bot("bot", opts)
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		if t.Event().Text == "hang" {
			hung.pass()
			t.Reply("too late")
		}
		return nil
	})
	var receipts []*store.Receipt
	for i := range 3 {
		r, err := bot.Accept(s.Context(), fmt.Sprint("hung ", i), session.Event{ID: "h", Text: "hang"})
		s.ok(err)
		receipts = append(receipts, r)
	}
	for i := range 8 {
		s.handled(s.accept(bot, fmt.Sprint("other ", i), "hi"))
	}
	for _, r := range receipts {
		o := s.outcome(r)
		if o.Status != session.Dead || !strings.Contains(o.Reason, session.ErrMaxTurn.Error()) {
			s.Errorf("the hung event: %+v, want it dead for MaxTurn", o)
		}
		letters, err := bot.Session(r.Ref.ID).DeadLetters(s.Context())
		s.ok(err)
		if len(letters) != 1 || letters[0].Failures != 2 || letters[0].Crashes != 0 {
			s.Errorf("letters %+v, want two failures and no crash", letters)
		}
	}
	hung.open()
}

func hungSend(s *scene) {
	hung := s.gate()
	var sent record[string]
	opts := &options{Lease: 2 * time.Second, MaxTurn: 100 * time.Millisecond, MaxAttempts: 2, Backoff: time.Millisecond, Concurrency: 1,
		Send: func(_ context.Context, d store.Delivery) error {
			if d.Message.String() == "hang.1" {
				hung.pass()
				return nil
			}
			sent.add(d.Message.String())
			return nil
		}}
	bot := s.replica().bot("bot", opts)
	s.serve(bot, three)
	s.handled(s.accept(bot, "1", "hang"))
	s.handled(s.accept(bot, "2", "other"))
	s.eventually("all others are sent", func() bool { return len(sent.list()) == 5 })
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 1 || letters[0].Reply == nil || letters[0].Reply.String() != "hang.1" || letters[0].Failures != 2 {
		s.Errorf("letters %+v, want the hung reply after two failures", letters)
	}
	hung.open()
}

func callsInTurn(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1})
	earlier := s.accept(bot, "1", "earlier")
	s.drain(bot, echo)
	s.create(bot.Session("2"), store.Origin{})
	s.create(bot.Session("3"), store.Origin{})
	try := func(ctx context.Context, where string) {
		sess := bot.Session("1")
		for what, err := range map[string]error{
			"Update":        second(bot.Update(ctx, "1", increment)),
			"Wait":          second(earlier.Wait(ctx)),
			"Reset":         sess.Reset(ctx, session.KeepChat),
			"Move":          sess.Move(ctx, session.Transition{From: "start", To: "start"}),
			"Destroy":       second(sess.Destroy(ctx)),
			"Apply, guard":  second(sess.Apply(ctx, session.Change{From: "start"})),
			"Apply, moves":  second(sess.Apply(ctx, session.Change{Moves: []string{"x"}})),
			"Apply, resets": second(sess.Apply(ctx, session.Change{Reset: session.DropChat})),
		} {
			if !errors.Is(err, session.ErrInTurn) {
				s.Errorf("%s in %s: %v, want %v", what, where, err, session.ErrInTurn)
			}
		}
		s.ok(sess.Set(ctx, "k", "v"))
		s.ok(bot.Session("3").Reset(ctx, session.KeepChat)) // another session
		s.ok(second(sess.Load(ctx)))
	}
	o := s.say(bot, "1", session.Event{Text: "hi"}, func(ctx context.Context, t *store.Turn) error {
		try(ctx, "a turn")
		return second(bot.Update(ctx, "2", func(ctx context.Context, _ *store.Turn) error {
			try(ctx, "an Update within a turn")
			return nil
		}))
	})
	equal(s, "the turn's outcome", o.Status, session.Handled)
	var kept context.Context
	s.ok(second(bot.Update(s.Context(), "1", func(ctx context.Context, _ *store.Turn) error {
		kept = context.WithoutCancel(ctx)
		try(ctx, "an Update")
		return nil
	})))
	s.ok(bot.Session("1").Reset(kept, session.KeepChat)) // the turn is over
}

func resetsItself(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1})
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		return bot.Session(t.Ref().ID).Reset(context.Background(), session.KeepChat) // an error's text must not matter
	})
	o := s.outcome(s.accept(bot, "1", "hi"))
	equal(s, "outcome", o.Status, session.Dead)
}

func slowDead(s *scene) {
	slow := s.gate()
	var crashes record[int]
	opts := &options{Lease: shortLease, MaxAttempts: 1, Dead: func(context.Context, session.DeadLetter) { slow.pass() }}
	bot := s.replica().bot("bot", opts)
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		if t.Event().Text == "bad" {
			return errors.New("no")
		}
		crashes.add(t.Attempt())
		return nil
	})
	equal(s, "outcome", s.outcome(s.accept(bot, "1", "bad")).Status, session.Dead)
	s.happens("Dead is told", slow.arrived)
	s.handled(s.accept(bot, "1", "next")) // while Dead is busy
	equal(s, "attempts on the next event", crashes.list(), []int{1})
	slow.open()
}

func verbsTooLate(s *scene) {
	var log record[string]
	bot := s.replicaWith(store.Options{Logger: slog.New(slog.NewTextHandler(writer(log.add), nil))}).bot("bot", nil)
	var turn *store.Turn
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		turn = t
		t.Set("k", "in time")
		return nil
	})
	turn.Set("k", "too late")
	turn.Reply("too late")
	turn.Move("late")
	turn.Reset(session.DropChat)
	if turn.Err() == nil {
		s.Errorf("verbs of a turn that is over leave no error")
	}
	if all := strings.Join(log.list(), ""); !strings.Contains(all, "over") || !strings.Contains(all, "bot=bot session=1 ") {
		s.Errorf("the log does not tell of the late verbs: %s", all)
	}
	equal(s, "the value", s.load(bot.Session("1")).Data["k"], any("in time"))
}

// writer is a function as an io.Writer.
type writer func(string)

func (w writer) Write(b []byte) (int, error) { w(string(b)); return len(b), nil }

func failuresAreLogged(s *scene) {
	var log record[string]
	st := s.replicaWith(store.Options{Name: "replica-x", Logger: slog.New(slog.NewTextHandler(writer(log.add), nil))})
	bot := st.bot("bot", &options{MaxAttempts: 2, Backoff: time.Millisecond})
	s.accept(bot, "ann", "evt-1")
	s.eventually("the event is dead", func() bool {
		s.drain(bot, func(context.Context, *store.Turn) error { panic("broken") })
		letters, err := bot.Session("ann").DeadLetters(s.Context())
		return err == nil && len(letters) == 1
	})
	for what, level := range map[string]string{"attempt failed": "WARN", "dead letter": "ERROR", "panic": "ERROR"} {
		found := false
		for _, line := range log.list() {
			ok := strings.Contains(line, what) && strings.Contains(line, "level="+level)
			for _, field := range []string{"bot=bot session=ann", "event=evt-1", "attempt=", "replica=replica-x"} {
				ok = ok && strings.Contains(line, field)
			}
			found = found || ok
		}
		if !found {
			s.Errorf("no line %q of level %s with bot, session, event, attempt and replica in\n%s", what, level, strings.Join(log.list(), ""))
		}
	}
}
