package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	answered(t, w.env, strings.NewReader("y\n"), "send", "pizza/42", "a \x1b[2Jpizza", "--id", "e\x1b[2J").check(t, transcript{0,
		"sent. pizza/42: event \"e\\x1b[2J\"\n", `
say     "a \x1b[2Jpizza", event "e\x1b[2J"
from    user ann on telegram, in state ordering
then    the bot handles it, and what it replies is sent. Nobody serves pizza: it waits for a replica
Say it? [y/N] `})
	h, err := bot.Session("42").Heads(t.Context())
	if err != nil || h.Event == nil || h.Event.ID != "e\x1b[2J" || h.Event.Text != "a \x1b[2Jpizza" || h.Event.User != "ann" || h.Event.Platform != "telegram" {
		t.Fatalf("there waits %+v, %v", h.Event, err)
	}
	got := command(t, w.env, "send", "pizza/42", "a pizza", "--id", "e\x1b[2J", "--yes")
	if got.Code != 0 || got.Stdout != "sent before, and not again. pizza/42: event \"e\\x1b[2J\"\n" || !strings.Contains(got.Err, "\nthen    it waits behind 1 event. Nobody serves") {
		t.Errorf("%+v", got)
	}
	got = command(t, w.env, "send", "pizza/new", "hi", "--yes", "--json")
	var r sent
	if err := json.Unmarshal([]byte(got.Stdout), &r); err != nil || got.Code != 0 || !r.Created || r.Duplicate || !strings.HasPrefix(r.Event, "by-hand-") {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(got.Err, "\nfrom    a new user: there is no session pizza/new, and it is made\n") {
		t.Errorf("it says %s", got.Err)
	}
	if got := command(t, w.env, "send", "pizza/other", "hi", "--dry-run"); got.Code != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := bot.Session("other").Status(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("--dry-run made a session: %v", err)
	}
}

func TestSendWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	got := command(t, w.env, "send", "pizza/1", "hi", "--yes", "--wait", "--timeout", "1ms")
	if got.Code != 1 || !strings.HasPrefix(got.Err[strings.Index(got.Err, "error: "):], "error: it is not handled after 1ms; it stays, and will be: ") || !strings.HasSuffix(got.Err, "\nhint: why it waits: botsession show pizza/1\n") {
		t.Errorf("%+v", got)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- bot.Serve(ctx, func(_ context.Context, turn *store.Turn) error {
			if turn.Event().Text == "bad" {
				return store.GiveUp(errors.New("no such \x1b[2Jpizza"))
			}
			turn.Reply("Welcome!\n\x1b[2JWhat?")
			return nil
		}, nil)
	}()
	t.Cleanup(func() { stop(); receive(t, "Serve ends", served) })
	got = command(t, w.env, "send", "pizza/2", "hi", "--yes", "--wait", "--id", "a")
	if want := "sent. pizza/2: event \"a\"\nbot     Welcome!\n        \\x1b[2JWhat?\n"; got.Code != 0 || got.Stdout != want {
		t.Errorf("%+v, want %q", got, want)
	}
	got = command(t, w.env, "send", "pizza/2", "bad", "--yes", "--wait", "--id", "b")
	if got.Code != 1 || !strings.HasSuffix(got.Err, "\nerror: the event is a dead letter: no such \\x1b[2Jpizza\n") {
		t.Errorf("%+v", got)
	}
	got = rawCommand(t, w.env, "send", "pizza/2", "hi", "--yes", "--wait", "--id", "c", "--json", "--redact")
	var r sent
	if err := json.Unmarshal([]byte(got.Stdout), &r); err != nil || got.Code != 0 || r.Outcome != session.Handled || len(r.Replies) != 1 || r.Replies[0].Content != "(18 bytes)" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bot(t, "pizza", &store.BotOptions{RecordOnly: true, InboxLimit: 1})
	if got := command(t, w.env, "send", "pizza/1", "hi", "--yes"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	for line, want := range map[string]transcript{
		"send pizza/1 hi --yes":                                  {1, "", "error: accept for pizza/1: inbox full: 1 events, 56 bytes wait\n"},
		"send pasta/1 hi --yes":                                  {3, "", "error: no bot pasta: no program has declared it\nhint: bots here: pizza\n"},
		"send pizza/1 hi --wait --timeout 0s --yes":              {2, "", "error: --timeout DUR is not positive\nhint: botsession send --help\n"},
		"send pizza/1 hi --yes --id " + strings.Repeat("x", 513): {2, "", ""},
	} {
		got := command(t, w.env, strings.Fields(line)...)
		if want.Err == "" {
			if got.Code != want.Code || !strings.Contains(got.Err, "512") {
				t.Errorf("%+v", got)
			}
			continue
		}
		got.Err = got.Err[strings.Index(got.Err, "error: "):]
		got.check(t, want)
	}
}
