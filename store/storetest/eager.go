package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// What is promised of a replica that runs its turns eagerly: see store.ServeOptions.
var theEager = []check{
	{promise: "an eager turn is accepted and committed in one trip, and is known like any other", run: eagerTrip},
	{promise: "an eager turn whose calls lose their replies is made once, and what it says is sent once", run: eagerLostReplies},
	{promise: "a handler that calls for its own session, or takes long, has its event accepted first", run: eagerLands},
	{promise: "an eager run on a session that has changed leaves nothing behind, and the event is handled on the new state", run: eagerChanged},
	{promise: "an eager run that fails is an attempt at an accepted event", run: eagerFails},
	{promise: "a caller who gives up before an eager run has ended has had nothing accepted", run: eagerGivesUp},
	{promise: "eager replicas that take turns on a session lose no change and handle each event once", run: eagerTurnsTaken},
	{promise: "a watcher is told of an eager turn what it is told of any", run: eagerWatched},
}

// An eagerScene has a session that an eager replica knows.
type eagerScene struct {
	*scene
	r    *replica
	bot  *store.Bot
	sess *store.Session
	away *store.Bot   // away is the bot in a process that does not serve it.
	runs atomic.Int32 // runs counts the runs of the handler.
}

// eager makes one. The handler does what does says, and echoes.
func (s *scene) eager(opts *options, does func(e *eagerScene, ctx context.Context, t *store.Turn) error) *eagerScene {
	s.Helper()
	opts.Eager, opts.Lease = true, longLease
	e := &eagerScene{scene: s, r: s.replica()}
	e.bot = e.r.bot("bot", opts)
	e.away = s.replica().bot("bot", nil)
	e.sess = e.away.Session("1")
	s.serve(e.bot, func(ctx context.Context, t *store.Turn) error {
		e.runs.Add(1)
		if t.Event().Text == "event" {
			if err := does(e, ctx, t); err != nil {
				return err
			}
		}
		return echo(ctx, t)
	})
	e.known()
	return e
}

// known has turns made until one was made in one trip.
func (e *eagerScene) known() {
	e.Helper()
	for i := 0; ; i++ {
		before := len(e.turnScripts())
		e.handled(e.accept(e.bot, "1", fmt.Sprint("before ", i)))
		e.free(e.sess)
		if slices.Equal(e.turnScripts()[before:], []string{"commit"}) {
			break
		}
		if i > 100 {
			e.Fatalf("no turn was made in one trip: %v", e.turnScripts())
		}
	}
	e.runs.Store(0)
}

func (e *eagerScene) turnScripts() []string {
	return e.r.scripts(lua.Accept, lua.Commit, lua.Settle, lua.Release)
}

// of returns what the chat has of an event's turn.
func (e *eagerScene) of(text string) (lines []string) {
	e.Helper()
	for _, line := range e.chat(e.sess) {
		if line == "u "+text || line == "b re "+text || line == "b live" {
			lines = append(lines, line)
		}
	}
	return lines
}

func nothing(*eagerScene, context.Context, *store.Turn) error { return nil }

func eagerTrip(s *scene) {
	e := s.eager(&options{}, nothing)
	before := s.load(e.sess)
	r := s.accept(e.bot, "1", "event")
	if r.Created || r.Duplicate {
		s.Errorf("the receipt is %+v", r)
	}
	s.handled(r)
	after := s.load(e.sess)
	equal(s, "version", after.Version, before.Version+1)
	equal(s, "number of the last message", after.Seq, before.Seq+2)
	equal(s, "last message", after.Message, "event")
	equal(s, "the chat", e.of("event"), []string{"u event", "b re event"})
	again, err := e.away.Accept(s.Context(), "1", session.Event{ID: r.EventID, Text: "event"})
	s.ok(err)
	equal(s, "a duplicate elsewhere", again.Duplicate, true)
	again, err = e.bot.Accept(s.Context(), "1", session.Event{ID: r.EventID, Text: "event"})
	s.ok(err)
	equal(s, "a duplicate here", again.Duplicate, true)
	equal(s, "replies, elsewhere", said(s.outcome(e.away.Receipt("1", r.EventID)).Replies), []string{"re event"})
	equal(s, "the chat after duplicates", e.of("event"), []string{"u event", "b re event"})
}

func said(messages []session.Message) (texts []string) {
	for _, m := range messages {
		texts = append(texts, m.String())
	}
	return texts
}

func eagerLostReplies(s *scene) {
	for _, script := range []*lua.Script{lua.Commit, lua.Sent} {
		for _, n := range []int{1, 2} {
			s := &scene{T: s.T, connect: s.connect, space: s.space + script.Name + fmt.Sprint(n)}
			var sent record[store.Delivery]
			e := s.eager(sender(longLease, &sent), nothing)
			e.r.loseReplies(script, n)
			s.handled(s.accept(e.bot, "1", "event"))
			s.free(e.sess)
			e.r.fail(script, nil)
			equal(s, "the chat with lost replies of "+script.Name, e.of("event"), []string{"u event", "b re event"})
			equal(s, "runs", e.runs.Load(), 1)
			last := texts(sent.list())
			equal(s, "sent last with lost replies of "+script.Name, last[len(last)-1], "re event")
		}
	}
}

func eagerLands(s *scene) {
	gate := s.gate()
	for what, does := range map[string]func(e *eagerScene, ctx context.Context, t *store.Turn) error{
		"chat": func(_ *eagerScene, ctx context.Context, t *store.Turn) error {
			return second(t.History(ctx, session.Last(3)))
		},
		"session": func(e *eagerScene, ctx context.Context, _ *store.Turn) error {
			return second(e.bot.Session("1").Load(ctx))
		},
		"live": func(e *eagerScene, ctx context.Context, _ *store.Turn) error {
			return e.bot.Session("1").Reply(ctx, "live")
		},
		"long": func(*eagerScene, context.Context, *store.Turn) error { gate.pass(); return nil },
	} {
		s := &scene{T: s.T, connect: s.connect, space: s.space + what}
		e := s.eager(&options{}, does)
		before := len(e.turnScripts())
		r := s.accept(e.bot, "1", "event")
		if what == "long" {
			s.happens("the handler runs", gate.arrived)
			status := s.status(e.sess)
			equal(s, "what it is held for while the handler runs", status.Lease.Work, session.WorkEvent)
			equal(s, "waiting meanwhile", status.Waiting, 1)
			gate.open()
		}
		s.handled(r)
		s.free(e.sess)
		equal(s, "how it began: with "+what, e.turnScripts()[before], "accept")
		equal(s, "runs: with "+what, e.runs.Load(), 1)
		want := []string{"u event", "b re event"}
		if what == "live" {
			want = append([]string{"b live"}, want...)
		}
		equal(s, "the chat: with "+what, e.of("event"), want)
	}
}

func eagerChanged(s *scene) {
	for what, change := range map[string]func(e *eagerScene) error{
		"set": func(e *eagerScene) error { return e.sess.Set(s.Context(), "live", true) },
		"update": func(e *eagerScene) error {
			return second(e.away.Update(s.Context(), "1", func(_ context.Context, t *store.Turn) error { t.Set("live", true); return nil }))
		},
		"move": func(e *eagerScene) error {
			return e.sess.Move(s.Context(), session.Transition{From: e.state(), To: "live"})
		},
	} {
		s := &scene{T: s.T, connect: s.connect, space: s.space + what}
		var once sync.Once
		var seen record[bool]
		e := s.eager(&options{}, func(e *eagerScene, _ context.Context, t *store.Turn) error {
			once.Do(func() { s.ok(change(e)) })
			live, _ := t.Get("live")
			seen.add(live == true || t.State() == "live")
			return nil
		})
		s.handled(s.accept(e.bot, "1", "event"))
		s.free(e.sess)
		equal(s, "what the runs see of a "+what, seen.list(), []bool{false, true})
		equal(s, "the chat after a "+what, e.of("event"), []string{"u event", "b re event"})
		snap := s.load(e.sess)
		equal(s, "what a "+what+" did is there", snap.Data["live"] == true || snap.State == "live", true)
	}
}

func (e *eagerScene) state() string { return e.load(e.sess).State }

func eagerFails(s *scene) {
	for what, fail := range map[string]func() error{
		"error": func() error { return errors.New("not yet") },
		"panic": func() error { panic("not yet") },
	} {
		s := &scene{T: s.T, connect: s.connect, space: s.space + what}
		var attempts record[int]
		e := s.eager(&options{Backoff: time.Millisecond}, func(_ *eagerScene, _ context.Context, t *store.Turn) error {
			if attempts.add(t.Attempt()); t.Attempt() < 3 {
				return fail()
			}
			return nil
		})
		s.handled(s.accept(e.bot, "1", "event"))
		s.free(e.sess)
		equal(s, "attempts after a failure by "+what, attempts.list(), []int{1, 2, 3})
		equal(s, "the chat", e.of("event"), []string{"u event", "b re event"})
	}
}

func eagerGivesUp(s *scene) {
	ctx, cancel := context.WithCancelCause(s.Context())
	enough := errors.New("enough")
	var once sync.Once
	e := s.eager(&options{}, func(_ *eagerScene, run context.Context, _ *store.Turn) error {
		once.Do(func() { cancel(enough); <-run.Done() })
		return nil
	})
	_, err := e.bot.Accept(ctx, "1", session.Event{ID: "an id", Text: "event"})
	s.is(err, enough)
	s.is(second(e.away.Receipt("1", "an id").Wait(s.limited())), session.ErrNotFound)
	equal(s, "the chat", e.of("event"), nil)
	r, err := e.bot.Accept(s.Context(), "1", session.Event{ID: "an id", Text: "event"})
	s.ok(err)
	equal(s, "the second try is a duplicate", r.Duplicate, false)
	s.handled(r)
	equal(s, "the chat after the second try", e.of("event"), []string{"u event", "b re event"})
}

func eagerTurnsTaken(s *scene) {
	const replicas, events = 3, 60
	var bots []*store.Bot
	for range replicas {
		bot := s.replica().bot("bot", &options{Lease: longLease, Eager: true})
		s.serve(bot, func(_ context.Context, t *store.Turn) error {
			n, _ := t.Get("n")
			count, _ := n.(int64)
			t.Set("n", count+1)
			t.Reply(fmt.Sprint(count + 1))
			return nil
		})
		bots = append(bots, bot)
	}
	var all sync.WaitGroup
	for i, bot := range bots {
		all.Go(func() {
			for n := range events / replicas {
				r, err := bot.Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(i, "-", n), Text: "one"})
				s.ok(err)
				s.handled(r)
			}
		})
	}
	all.Wait()
	sess := bots[0].Session("1")
	s.free(sess)
	equal(s, "count", s.load(sess).Data["n"], any(int64(events)))
	var want []string
	for i := range events {
		want = append(want, "u one", fmt.Sprint("b ", i+1))
	}
	equal(s, "chat", s.chat(sess), want)
}

func eagerWatched(s *scene) {
	e := s.eager(&options{}, func(_ *eagerScene, _ context.Context, t *store.Turn) error { t.Move("told"); return nil })
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	touched, kinds := make(chan struct{}, 1), make(chan string, 2)
	go func() {
		for n, err := range e.away.Watch(ctx) {
			switch {
			case err != nil:
			case n.State == "told":
				kinds <- n.Kind
			default:
				select {
				case touched <- struct{}{}:
				default:
				}
			}
		}
	}()
	s.eventually("the watcher hears", func() bool { s.ok(e.sess.Touch(s.Context())); return len(touched) > 0 })
	e.known()
	s.handled(s.accept(e.bot, "1", "event"))
	var heard []string
	for range 2 {
		heard = append(heard, receive(s, "a notice", kinds))
	}
	equal(s, "notices", heard, []string{"accepted", "committed"})
}
