package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// events are the kinds that are about an event.
var events = []store.StageKind{store.StageAccept, store.StageTurn, store.StageSend}

// outline is what ended, each as its kind, event, attempt and outcome.
func outline(stages []storetest.Recorded) string {
	var lines []string
	for _, s := range stages {
		lines = append(lines, fmt.Sprintf("%s %s %d %s", s.Kind, s.EventID, s.Attempt, s.Outcome))
	}
	return strings.Join(lines, "; ")
}

// An observedBot is served by a replica that a Recorder observes, and is accepted for by
// another process, with one of its own.
type observedBot struct {
	*testing.T
	url        string
	here, away *store.Bot
	replica    storetest.Recorder
	web        storetest.Recorder
	fails      func(text string) error // fails says how the handler fails, of a text
	sends      func(d store.Delivery) error
	inHandler  [][25]byte // inHandler are the spans in which the handler and Send ran, as they ran
	inSend     [][25]byte
	serve      store.ServeOptions
}

func newObservedBot(t *testing.T) *observedBot {
	o := &observedBot{T: t, url: redistest.Single(t)}
	o.serve.Send = func(ctx context.Context, d store.Delivery) error {
		o.inSend = append(o.inSend, o.replica.Trace(ctx))
		if o.sends != nil {
			return o.sends(d)
		}
		return nil
	}
	opts := store.BotOptions{Backoff: time.Millisecond, MaxAttempts: 2}
	o.here = botWith(t, open(t, o.url, &store.Options{Observer: &o.replica}), "bot", opts, o.serve)
	o.away = botWith(t, open(t, o.url, &store.Options{Observer: &o.web}), "bot", opts, o.serve)
	return o
}

func (o *observedBot) handle(ctx context.Context, t *store.Turn) error {
	o.inHandler = append(o.inHandler, o.replica.Trace(ctx))
	if o.fails != nil {
		if err := o.fails(t.Event().Text); err != nil {
			return err
		}
	}
	if t.Event().Text == "reset" { // a turn that the script settle ends
		t.Reset(session.DropChat)
	}
	t.Reply("hi")
	return nil
}

func (o *observedBot) drain() {
	o.Helper()
	if _, err := o.here.Drain(o.Context(), o.handle, &o.serve); err != nil {
		o.Fatal(err)
	}
}

func (o *observedBot) accept(by *store.Bot, id, text string) {
	o.Helper()
	if _, err := by.Accept(o.Context(), "ann", session.Event{ID: id, Text: text}); err != nil {
		o.Fatal(err)
	}
}

// traced checks that each of the stages has brought along that span.
func traced(t *testing.T, what string, stages []storetest.Recorded, span [25]byte) {
	t.Helper()
	for _, s := range stages {
		if s.Trace != span || span == [25]byte{} {
			t.Errorf("%s: %s of event %q, attempt %d, goes on with %x, want %x", what, s.Kind, s.EventID, s.Attempt, s.Trace, span)
		}
	}
}

func TestAnObserverIsToldOfEachStage(t *testing.T) {
	t.Parallel()
	o := newObservedBot(t)
	n := 0
	o.fails = func(text string) error {
		if n++; n == 1 {
			return errors.New("the first attempt fails")
		}
		return nil
	}
	o.accept(o.away, "1", "hello")
	o.accept(o.away, "1", "hello")
	if _, err := o.away.Accept(t.Context(), "ann", session.Event{}); err == nil {
		t.Error("an event without an id was accepted")
	}
	until(t, "the reply is sent", func() bool { o.drain(); return len(o.inSend) == 1 })

	web, replica := o.web.Ended(events...), o.replica.Ended(events...)
	if got, want := outline(web), "accept 1 1 accepted; accept 1 1 duplicate; accept  1 invalid"; got != want {
		t.Errorf("where it was accepted: %s, want %s", got, want)
	}
	if got, want := outline(replica), "turn 1 1 failed; turn 1 2 handled; send 1 1 sent"; got != want {
		t.Fatalf("where it was handled: %s, want %s", got, want)
	}
	turns := o.replica.Ended(store.StageTurn)
	traced(t, "from the inbox", turns, web[0].Span)
	traced(t, "of the second attempt's reply", replica[2:], turns[1].Span)
	for i, turn := range turns {
		if o.inHandler[i] != turn.Span {
			t.Errorf("the handler of attempt %d ran in the span %x, not in %x", i+1, o.inHandler[i], turn.Span)
		}
		if turn.Ref.String() != "bot/ann" || turn.Since <= 0 || turn.Took <= 0 || turn.TakenOver || turn.Redelivered {
			t.Errorf("attempt %d: %+v", i+1, turn)
		}
	}
	if o.inSend[0] != replica[2].Span {
		t.Errorf("Send ran in the span %x, of %+v", o.inSend[0], replica[2])
	}
	if turns[0].Error != "the first attempt fails" || turns[1].Error != "" {
		t.Errorf("the attempts failed with %q and %q", turns[0].Error, turns[1].Error)
	}
	calls := map[string]string{}
	for _, call := range o.replica.Ended(store.StageCall) {
		calls[call.Name] = call.Outcome
	}
	for _, script := range []string{"lease", "release", "settle", "sent"} {
		if calls[script] != "done" {
			t.Errorf("of the calls it was told %v, and not of %s", calls, script)
		}
	}
}

// What waits in the session's hash, in the inbox, behind another event or nowhere keeps
// its trace, however its turn is written, and so do its replies.
func TestEachWayOfAnEventKeepsItsTrace(t *testing.T) {
	t.Parallel()
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprintf("eager=%t", eager), func(t *testing.T) {
			t.Parallel()
			o := newObservedBot(t)
			o.serve.Eager = eager
			o.sends = func(d store.Delivery) error {
				if d.Attempt == 1 { // what is sent then comes from the outbox
					return errors.New("once")
				}
				return nil
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- o.here.Serve(ctx, o.handle, &o.serve) }()
			until(t, "it is served", o.here.Serves)
			sent := 0
			for i, text := range []string{"a new session", "in hand", "known", "reset", "known again"} {
				for _, by := range []*store.Bot{o.here, o.away} {
					id := fmt.Sprint(text, i, by == o.here)
					o.accept(by, id, text)
					sent += 2
					until(t, "the reply to "+id+" is sent, the second time", func() bool { return len(o.replica.Ended(store.StageSend)) == sent })
				}
			}
			stop()
			if err := bounded.Receive(t, "Serve ends", ended); err != nil {
				t.Error(err)
			}
			spans := map[string][25]byte{}
			for _, accept := range append(o.web.Ended(store.StageAccept), o.replica.Ended(store.StageAccept)...) {
				spans[accept.EventID] = accept.Span
			}
			turns, sends := o.replica.Ended(store.StageTurn), o.replica.Ended(store.StageSend)
			last := map[string][25]byte{}
			for _, turn := range turns {
				traced(t, "a turn", []storetest.Recorded{turn}, spans[turn.EventID])
				if turn.Outcome == "handled" {
					last[turn.EventID] = turn.Span
				}
			}
			for _, send := range sends {
				traced(t, "a send", []storetest.Recorded{send}, last[send.EventID])
			}
			if len(last) != 10 || len(sends) != 20 {
				t.Errorf("%d events were handled, and %d replies sent: %s", len(last), len(sends), outline(append(turns, sends...)))
			}
		})
	}
}

func TestAnObserverIsToldOfEachEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fails func(string) error
		sends func(store.Delivery) error
		want  string
	}{
		"given up":       {fails: func(string) error { return store.GiveUp(errors.New("no")) }, want: "turn 1 1 dead"},
		"panics":         {fails: func(string) error { panic("no") }, want: "turn 1 1 failed; turn 1 2 dead"},
		"a dead reply":   {sends: func(store.Delivery) error { return errors.New("no") }, want: "turn 1 1 handled; send 1 1 failed; send 1 2 dead"},
		"a reply waits":  {sends: func(store.Delivery) error { return store.RetryAfter(time.Hour, errors.New("later")) }, want: "turn 1 1 handled; send 1 1 waits"},
		"a lost session": {want: "turn 1 1 lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newObservedBot(t)
			o.fails, o.sends = c.fails, c.sends
			if name == "a lost session" {
				o.fails = func(string) error {
					_, err := o.away.Session("ann").Destroy(t.Context())
					return err
				}
			}
			o.accept(o.away, "1", "hello")
			until(t, c.want, func() bool {
				o.drain()
				return outline(o.replica.Ended(store.StageTurn, store.StageSend)) == c.want
			})
			if name == "a lost session" {
				acts := o.web.Ended(store.StageAct)
				if len(acts) != 1 || acts[0].Name != "destroy" || acts[0].Outcome != "done" || acts[0].Ref.ID != "ann" {
					t.Errorf("of the act it was told %+v", acts)
				}
			}
		})
	}
}

func TestAnObserverIsToldOfATakeover(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	var first, second storetest.Recorder
	opts := func(r *storetest.Recorder) *store.Options {
		return &store.Options{Observer: r, Lease: 100 * time.Millisecond}
	}
	dying := open(t, url, opts(&first))
	bot := botOf(t, dying, "bot", nil)
	if _, err := bot.Accept(t.Context(), "ann", session.Event{ID: "1", Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	_, err := bot.Drain(t.Context(), func(ctx context.Context, _ *store.Turn) error {
		return dying.Close() // as if the process had ended
	}, nil)
	if err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
	heir := botOf(t, open(t, url, opts(&second)), "bot", nil)
	until(t, "the event is handled", func() bool {
		if _, err := heir.Drain(t.Context(), func(context.Context, *store.Turn) error { return nil }, nil); err != nil {
			t.Fatal(err)
		}
		return len(second.Ended(store.StageTurn)) == 1
	})
	if got := second.Ended(store.StageTurn)[0]; !got.TakenOver || got.Attempt != 2 || got.Trace != first.Ended(store.StageAccept)[0].Span {
		t.Errorf("the turn of the heir: %+v", got)
	}
	if got := first.Ended(store.StageTurn); len(got) != 1 || got[0].TakenOver || got[0].Outcome != "lost" {
		t.Errorf("the turn that was taken over: %+v", got)
	}
}

// A bad observer panics, and returns no context.
type badObserver struct{}

func (badObserver) Begin(_ context.Context, s store.Stage) context.Context {
	if s.Kind == store.StageTurn {
		return nil
	}
	panic("Begin")
}
func (badObserver) End(context.Context, store.Stage, store.Result) { panic("End") }
func (badObserver) Trace(context.Context) [25]byte                 { panic("Trace") }

func TestAnObserverThatPanicsChangesNothing(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	st := open(t, redistest.Single(t), &store.Options{Observer: badObserver{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	bot := botOf(t, st, "bot", nil)
	r, err := bot.Accept(t.Context(), "ann", session.Event{ID: "1", Text: "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bot.Drain(t.Context(), func(ctx context.Context, turn *store.Turn) error { turn.Reply("hi"); return ctx.Err() }, nil); err != nil {
		t.Fatal(err)
	}
	if out, err := r.Wait(t.Context()); err != nil || out.Status != session.Handled || len(out.Replies) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	for _, method := range []string{"Begin", "End", "Trace"} {
		if !strings.Contains(log.String(), "Observer."+method+" panicked: "+method) {
			t.Errorf("the panic of %s is not logged: %s", method, log.String())
		}
	}
}
