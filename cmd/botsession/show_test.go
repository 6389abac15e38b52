package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	command(t, w.env, "show", "pizza/42").check(t, transcript{Stdout: `
pizza/42
  state         ordering
  user          ann
  platform      telegram
  created       DATE, DUR ago
  last change   DATE, DUR ago
  expires       DATE, in DUR
  version       3 of life N
  chat          5 messages
  size          57 B of data, 0 B in the inbox, 0 B to send
work
  waiting       0 events
  held          by nobody
heard
  message       "a large pizza like this"
  intent        order, score 0.93, matched "a large pizza"
                size = "large", {"from":2,"to":7}
                topping = nil
  file          "like this.png", image/png, 2.0 KiB
  flags         vip
data
  address       {"floors":[1,2],"street":"14 Mill Lane"}
  count         1
  size          "large"
`})
}

func TestShowSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "bank", &store.BotOptions{TTL: -1})
	w.brings = &store.ServeOptions{
		Send: func(context.Context, store.Delivery) error { return errors.New("the platform is down") },
	}
	w.accept(t, bot, "7", session.Event{ID: "e-1", Kind: "transfer", Text: "send 50\x1b[2J"})
	w.drain(t, bot, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("no such payee\nat all\x07")) })
	w.accept(t, bot, "7", session.Event{ID: "e-2", Text: "and now?"})
	w.accept(t, bot, "7", session.Event{ID: "e-3", Text: "hello?"})
	w.drain(t, bot, func(context.Context, *store.Turn) error {
		return store.RetryAfter(time.Hour, errors.New("no money today"))
	})
	command(t, w.env, "show", "bank/7").check(t, transcript{Stdout: `
bank/7
  state         start
  user          -
  platform      -
  created       DATE, DUR ago
  last change   DATE, DUR ago
  expires       never
  version       2 of life N
  chat          1 message
  size          0 B of data, 92 B in the inbox, 0 B to send
work
  waiting       2 events
  first event   "e-2": "and now?"
                accepted DATE, DUR ago; attempt 2 of 5
  held          by nobody
  failed        the first event: 1 failure; again at TIME, in DUR
  error         no money today
heard
  message       "send 50\x1b[2J"
  intent        -
  file          -
  flags         -
data
  -
dead letters
  event "e-1" of kind "transfer": "send 50\x1b[2J"
    error       no such payee
                at all\a
    given up    DATE, DUR ago, after 1 failure
`})
}

func TestShowAndListSayWhatIsPutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.brings = &store.ServeOptions{Send: func(context.Context, store.Delivery) error { return store.Later(errors.New("the platform is down")) }}
	bot := w.bot(t, "bank", &store.BotOptions{Backoff: time.Minute})
	w.accept(t, bot, "7", session.Event{ID: "e-1", Text: "hi"})
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error { t.Reply("hello"); return nil })
	w.accept(t, bot, "7", session.Event{ID: "e-2", Text: "and now?"})
	w.drain(t, bot, func(context.Context, *store.Turn) error { return store.Later(errors.New("the provider is down")) })
	shown := command(t, w.env, "show", "bank/7").Stdout
	for _, want := range []string{
		"  put off       the first event, since TIME, for DUR; again at TIME, in DUR\n  error         the provider is down\n",
		"  put off       the first reply, since TIME, for DUR; again at TIME, in DUR\n  error         the platform is down\n",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("show does not have %q:\n%s", want, shown)
		}
	}
	if listed := command(t, w.env, "ls", "bank").Stdout; !strings.Contains(listed, "(put off for DUR, again in DUR)") {
		t.Errorf("ls says\n%s", listed)
	}
}

func TestShowSaysWhoHoldsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	ctx, stop := context.WithCancel(t.Context())
	entered, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- bot.Serve(ctx, func(ctx context.Context, _ *store.Turn) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}, &store.ServeOptions{Grace: time.Millisecond})
	}()
	t.Cleanup(func() { stop(); receive(t, "Serve ends", served) })
	w.accept(t, bot, "held", session.Event{ID: "1", Text: "hello"})
	receive(t, "the handler runs", entered)
	command(t, w.env, "show", "pizza/held").check(t, transcript{Stdout: `
pizza/held
  state         start
  user          -
  platform      -
  created       DATE, DUR ago
  last change   DATE, DUR ago
  expires       DATE, in DUR; not while something waits
  version       1 of life N
  chat          0 messages
  size          0 B of data, 42 B in the inbox, 0 B to send
work
  waiting       1 event
  first event   "1": "hello"
                accepted DATE, DUR ago; attempt 1 of 5
  held          by replica-a to handle an event, for DUR, until TIME, in DUR, token N
heard
  message       ""
  intent        -
  file          -
  flags         -
data
  -
`})
}

func TestShowFitsTheTerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	o := &showOptions{env: &environment{out: text.Terminal(&out, 60), zone: time.UTC, getenv: func(string) string { return "" }}}
	long := strings.Repeat("long-name ", 10)
	at := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	o.print(shown{
		Session:     "pizza/42",
		Snapshot:    session.Snapshot{Message: long, Data: map[string]any{long: "x", "size": long}},
		Status:      session.Status{State: long, Now: at, Created: at, Active: at, Event: session.Retry{Failures: 2, Crashes: 1, HandedBack: 1, Error: long}},
		DeadLetters: []session.DeadLetter{{Event: &session.Event{ID: "1", Text: long}, Error: long, Time: at}},
		Corrupt:     []string{long},
	}, fleet{})
	for line := range strings.Lines(out.String()) {
		if text.Width(strings.TrimSuffix(line, "\n")) > 60 {
			t.Errorf("too wide: %q", line)
		}
	}
	for _, want := range []string{
		"  failed        the first event: 2 failures, 1 crash, 1\n                hand-back\n",
		"long-name \n                \"x\"\n  size          \"long-name",
		"    given up    2026-11-26 03:00:00 UTC, 0s ago\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("stdout lacks %q:\n%s", want, out.String())
		}
	}
}

func TestShowJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	if err := bot.Session("42").Set(t.Context(), "odd", math.Inf(1)); err != nil {
		t.Fatal(err)
	}
	got := rawCommand(t, w.env, "show", "pizza/42", "--json")
	var all map[string]any
	if err := json.Unmarshal([]byte(got.Stdout), &all); err != nil || got.Code != 0 || got.Err != "" {
		t.Fatalf("exit %d, %v, stdout %q, stderr %q", got.Code, err, got.Stdout, got.Err)
	}
	snap := all["snapshot"].(map[string]any)
	want := map[string]any{"size": "large", "count": 1.0, "odd": "+Inf", "address": map[string]any{"street": "14 Mill Lane", "floors": []any{1.0, 2.0}}}
	if diff := cmp.Diff(want, snap["data"]); diff != "" {
		t.Error(diff)
	}
	if all["session"] != "pizza/42" || snap["state"] != "ordering" || len(all["dead_letters"].([]any)) != 0 {
		t.Errorf("printed %s", got.Stdout)
	}
}

func TestShowOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bot(t, "pizza", nil)
	for _, args := range [][]string{{"show", "pizza/42"}, {"show", "pizza/42", "--json"}} {
		command(t, w.env, args...).check(t, transcript{Code: 3, Err: `
error: no session pizza/42: it was never created, was destroyed, or has expired
hint: botsession ls pizza
`})
	}
}

func TestShowOfACorruptSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	client, err := store.ParseURL(w.st.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	keys, err := client.Keys(t.Context(), "bs:*:s:pizza/42").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q, %v", keys, err)
	}
	if err := client.HSet(t.Context(), keys[0], "d:size", "\xffrubbish").Err(); err != nil {
		t.Fatal(err)
	}
	got := command(t, w.env, "show", "pizza/42")
	for _, want := range []string{"  state         ordering\n", "  count         1\n", "\ncorrupt\n  load pizza/42: corrupt: session pizza/42: field \"d:size\": "} {
		if got.Code != 0 || !strings.Contains(got.Stdout, want) {
			t.Errorf("exit %d, stdout lacks %q:\n%s%s", got.Code, want, got.Stdout, got.Err)
		}
	}
	var all struct{ Corrupt []string }
	if err := json.Unmarshal([]byte(rawCommand(t, w.env, "show", "pizza/42", "--json").Stdout), &all); err != nil || len(all.Corrupt) != 1 {
		t.Errorf("--json tells %q, %v", all.Corrupt, err)
	}
}
