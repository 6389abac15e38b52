package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

func recordOf(t *testing.T, id string, data int) *stored.Record {
	t.Helper()
	rec, err := stored.ReadRecord(session.Ref{Bot: "bot", ID: id}, []string{
		"rec", "free 1 0 - 0 0 0 0 0 0 0 0 0 0 0 | 2 1 0 0 - 0 1 0 0 0 0 0 0 0", "state", "s", "d:a", strings.Repeat("x", data),
	})
	noError(t, err)
	return rec
}

func TestKnownRecordsAreBoundedAndOfOneStore(t *testing.T) {
	t.Parallel()
	ref := func(i int) session.Ref { return session.Ref{Bot: "bot", ID: fmt.Sprint(i)} }
	var k known
	if k.take("a", ref(1)) != nil {
		t.Error("an empty one knows a session")
	}
	k.keep("a", recordOf(t, "1", 1))
	if k.take("b", ref(1)) != nil {
		t.Error("a record of other data is known")
	}
	k.keep("a", recordOf(t, "1", 2))
	if r := k.take("a", ref(1)); r == nil || k.take("a", ref(1)) != nil {
		t.Error("a record is there once, until it is taken")
	}
	if k.bytes != 0 || k.order.Len() != 0 {
		t.Errorf("empty again, it counts %d bytes and %d records", k.bytes, k.order.Len())
	}
	k.keep("a", recordOf(t, "1", 1))
	k.keep("b", recordOf(t, "2", 1))
	if k.take("b", ref(1)) != nil || k.take("b", ref(2)) == nil {
		t.Error("with other data it keeps what it knew")
	}

	for i := range mostKnown + 10 {
		k.keep("b", recordOf(t, fmt.Sprint(i), 1))
	}
	if k.order.Len() != mostKnown || len(k.at) != mostKnown || k.take("b", ref(9)) != nil || k.take("b", ref(10)) == nil {
		t.Errorf("it knows %d records, and %d by name", k.order.Len(), len(k.at))
	}
	for i := range 40 {
		k.keep("b", recordOf(t, fmt.Sprint("large ", i), 1<<20))
	}
	if k.bytes > mostKnownBytes || k.order.Len() > 32 {
		t.Errorf("it has %d bytes in %d records", k.bytes, k.order.Len())
	}
}

// What a process knows of a session is what is stored, or nothing: it is forgotten
// after a turn that settle ended, and kept after one that commit did.
func TestARecordIsKnownOnlyAfterAUsualTurn(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st := opened(t, url, nil)
	bot := botOf(t, st, "bot", nil)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- bot.Serve(ctx, func(_ context.Context, turn *Turn) error {
			switch text := turn.Event().Text; text {
			case "delete":
				turn.Delete("key")
			case "set":
				turn.Set("key", text)
			}
			return nil
		}, nil)
	}()
	t.Cleanup(func() { stop(); <-done })
	for bot.serving.Load() == nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	at := st.layout.place(session.Ref{Bot: "bot", ID: "1"})
	for i, c := range []struct {
		text  string
		known bool
	}{{"hi", false}, {"hi", true}, {"set", true}, {"hi", true}, {"delete", false}, {"hi", true}} {
		r, err := bot.Accept(ctx, "1", session.Event{ID: fmt.Sprint(i), Text: c.text})
		noError(t, err)
		_, err = r.Wait(ctx)
		noError(t, err)
		for { // the receipt is told a moment before the record is kept
			status, err := bot.Session("1").Status(ctx)
			noError(t, err)
			if status.Lease.Work == session.WorkNone && len(bot.serving.Load().slots) == 0 {
				break
			}
		}
		rec := st.known.take(st.identity().id, at.ref)
		if (rec != nil) != c.known {
			t.Errorf("after turn %d, %s, its record is known: %t", i, c.text, rec != nil)
		}
		if rec == nil {
			continue
		}
		is, err := stored.ReadRecord(at.ref, pairsOf(client(t, url).HGetAll(ctx, st.layout.key("session", at)).Val()))
		noError(t, err)
		if is.Text() != rec.Text() || !slices.Equal(is.Keys(), rec.Keys()) || is.State() != rec.State() {
			t.Errorf("after turn %d, %s, it knows %s, and stored is %s", i, c.text, rec.Text(), is.Text())
		}
		st.known.keep(st.identity().id, rec)
	}
}

func pairsOf(fields map[string]string) (pairs []string) {
	for field, value := range fields {
		pairs = append(pairs, field, value)
	}
	return pairs
}

// The call that accepted an event in hand is known as its own when the event has left
// the hand: its retry is no duplicate, another's is.
func TestAnEventThatLeavesTheHandKeepsItsCall(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url).(*redis.Client)
	st := opened(t, url, nil)
	bot := botOf(t, st, "bot", nil)
	at := st.layout.place(session.Ref{Bot: "bot", ID: "1"})
	run := func(op string, q request) reply {
		t.Helper()
		argv := []any{op, "9999999999999"}
		for _, arg := range q.args {
			argv = append(argv, arg)
		}
		v, err := c.Eval(t.Context(), q.script.Text(), st.layout.keys(q.script, at), argv...).Slice()
		noError(t, err)
		return call.NewReply(q.script, v)
	}
	for i := range 2 {
		_, err := bot.Accept(t.Context(), "1", session.Event{ID: fmt.Sprint(i), Text: "hi"})
		noError(t, err)
		_, err = bot.Drain(t.Context(), func(context.Context, *Turn) error { return nil }, nil)
		noError(t, err)
	}
	e, err := bot.encodeEvent(session.Event{ID: "held", Text: "held"}, bot.options())
	noError(t, err)
	e.window = 3_600_000
	accept := bot.askAccept(bot.options(), at, e, bot.options().room(), true, "")
	own, other := string(st.caller.Name+"#zz1"), string(st.caller.Name+"#zz2")
	handed := run(own, accept).Next()
	if handed.Status() != "hand" {
		t.Fatalf("the event is not in hand: %v", handed)
	}
	run(string(st.caller.Name+"#zz3"), ask(lua.Release, []string{
		"id", "1", "bot", "bot", "token", string(stored.TokenOf(handed.Text("rec"))), "work", "event", "verdict", "retry", "wait", "60000", "err", "no",
	}))
	if status := run(other, accept).Status(); status != "DUPLICATE" {
		t.Errorf("another call is told %s", status)
	}
	if status := run(own, accept).Status(); status != "OK" {
		t.Errorf("its own call, sent again, is told %s", status)
	}
}

// Whatever a script does to what a turn relies on, the record is another then.
func TestWhateverChangesASessionChangesItsRecord(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url).(*redis.Client)
	st := opened(t, url, nil)
	bot, other := botOf(t, st, "bot", &BotOptions{}), opened(t, url, nil)
	elsewhere := botOf(t, other, "bot", nil)
	live := func(change session.Change) func(*Session) error {
		return func(s *Session) error { _, err := s.Apply(t.Context(), change); return err }
	}
	intent := &session.Intent{Name: "intent"}
	message := "text"
	calls := map[string]func(*Session) error{
		"accept": func(s *Session) error {
			_, err := elsewhere.Accept(t.Context(), s.Ref().ID, session.Event{ID: "another", Text: "another"})
			return err
		},
		"create":  func(s *Session) error { _, err := s.Create(t.Context(), Origin{}); return err },
		"destroy": func(s *Session) error { _, err := s.Destroy(t.Context()); return err },
		"reset":   func(s *Session) error { return s.Reset(t.Context(), session.KeepChat) },
		"drop":    func(s *Session) error { return s.Reset(t.Context(), session.DropChat) },
		"retry":   func(s *Session) error { return s.Retry(t.Context(), Head{Event: "2"}, Retrial{Take: true}) },
		"skip":    func(s *Session) error { return s.Skip(t.Context(), Head{Event: "2"}) },
		"unlock": func(s *Session) error {
			st, err := s.Status(t.Context())
			noError(t, err)
			return s.Unlock(t.Context(), st.Lease.Token)
		},
		"drop of what waits": func(s *Session) error {
			_, err := elsewhere.Accept(t.Context(), s.Ref().ID, session.Event{ID: "another", Text: "another"})
			noError(t, err)
			return s.Drop(t.Context(), 1)
		},
		"move":    func(s *Session) error { return s.Move(t.Context(), session.Transition{From: "start", To: "other"}) },
		"set":     live(session.Change{Set: map[string]any{"key": "other"}}),
		"delete":  live(session.Change{Delete: []string{"key"}}),
		"flag":    live(session.Change{Flags: map[string]bool{"flag": true}}),
		"intent":  live(session.Change{SetIntent: true, Intent: intent}),
		"message": live(session.Change{Message: &message}),
		"file":    live(session.Change{File: &session.File{Name: "a", Data: []byte("a")}}),
		"reply":   func(s *Session) error { return s.Reply(t.Context(), "live") },
		"load":    func(s *Session) error { _, err := s.Load(t.Context()); return err },
		"drain": func(s *Session) error {
			_, err := elsewhere.Drain(t.Context(), func(_ context.Context, turn *Turn) error { turn.Set("drained", true); return nil },
				&ServeOptions{Send: func(context.Context, Delivery) error { return nil }})
			return err
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	turns := make(chan chan struct{}, 100)
	hold := func(ctx context.Context) {
		on := make(chan struct{})
		turns <- on
		select {
		case <-on:
		case <-ctx.Done():
		}
	}
	go func() {
		done <- bot.Serve(ctx, func(ctx context.Context, turn *Turn) error {
			turn.Set("key", "value")
			if turn.Event().Text == "held" {
				hold(ctx)
			}
			if turn.Event().Text == "sent" {
				turn.Reply("reply")
			}
			return nil
		}, &ServeOptions{Send: func(ctx context.Context, _ Delivery) error { hold(ctx); return nil }, Concurrency: 1000})
	}()
	t.Cleanup(func() { stop(); <-done })
	for bot.serving.Load() == nil {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	looked := 0
	for name, does := range calls {
		for _, point := range []string{"free", "held", "sent"} {
			id := name + " " + point
			at := st.layout.place(session.Ref{Bot: "bot", ID: id})
			for i := range 3 {
				text := "hi"
				if i == 2 {
					text = point
				}
				r, err := bot.Accept(ctx, id, session.Event{ID: fmt.Sprint(i), Text: text})
				noError(t, err)
				if text == "held" || text == "sent" {
					on := <-turns
					defer close(on)
					continue
				}
				_, err = r.Wait(ctx)
				noError(t, err)
				for {
					status, err := bot.Session(id).Status(ctx)
					noError(t, err)
					if status.Lease.Work == session.WorkNone {
						break
					}
				}
			}
			before := whatATurnReliesOn(t, c, st, at)
			err := does(bot.Session(id))
			after := whatATurnReliesOn(t, c, st, at)
			if err == nil && before.rest != after.rest {
				looked++
				if before.rec == after.rec {
					t.Errorf("%s of a session that is %s: the record is still %s, and it was\n%s\nand is\n%s", name, point, after.rec, before.rest, after.rest)
				}
			}
		}
	}
	if looked < 30 {
		t.Errorf("only %d calls changed anything", looked)
	}
}

type relied struct{ rec, rest string }

// whatATurnReliesOn is a session's record, and all else of it that a turn reads or adds to.
func whatATurnReliesOn(t *testing.T, c *redis.Client, st *Store, at place) (r relied) {
	t.Helper()
	fields := c.HGetAll(t.Context(), st.layout.key("session", at)).Val()
	r.rec = fields["rec"]
	delete(fields, "rec")
	r.rest = fmt.Sprintf("%q", fields)
	for _, list := range []string{"history", "inbox", "outbox"} {
		r.rest += fmt.Sprintf("\n%s %q", list, c.LRange(t.Context(), st.layout.key(list, at), 0, -1).Val())
	}
	return r
}
