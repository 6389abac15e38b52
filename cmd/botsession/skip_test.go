package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", nil)
	w.holdsUp(t, bot, "flood-eve", session.Event{ID: "551920", Text: "/hang"})
	for _, id := range []string{"b", "c"} {
		w.accept(t, bot, "flood-eve", session.Event{ID: id, Text: "hello?"})
	}
	got := answered(t, w.env, strings.NewReader("y\n"), "skip", "hotel/flood-eve", "--as", "ops")
	got.Stdout, _, _ = strings.Cut(got.Stdout, ", the next is ") // due, or in hand already
	got.check(t, transcript{0, "skipped. hotel/flood-eve: 2 wait", `
head    event "551920", "/hang", accepted TIME, 1st attempt
holder  replica-a since TIME: it will be fenced; what its handler does outside goes on
then    the event is a dead letter; 2 events behind it are handled. The user is not told: botsession reply
Skip it? [y/N] `})
	letters, err := bot.Session("flood-eve").DeadLetters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].Event.ID != "551920" || letters[0].Error != "skipped by ops" {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
}

func TestSkipAReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", &store.BotOptions{Backoff: time.Hour})
	w.brings = &store.ServeOptions{Send: func(context.Context, store.Delivery) error { return errors.New("403 Forbidden") }}
	w.accept(t, bot, "ann", session.Event{ID: "1", Text: "hi"})
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error { t.Reply("hello \x1b[2J"); return nil })
	command(t, w.env, "skip", "hotel/ann", "--yes").check(t, transcript{3, "", "error: nothing to do: no event waits in hotel/ann, but a reply is to be sent\nhint: --reply is about that\n"})
	command(t, w.env, "skip", "hotel/ann", "--reply", "--yes", "--redact").check(t, transcript{0, "skipped. hotel/ann: nothing waits\n", `
head    reply 2, (10 bytes), made TIME, 2nd attempt, 1 failure
again   in DUR
error   403 Forbidden
then    the reply is a dead letter and is not sent
`})
	command(t, w.env, "skip", "hotel/ann", "--reply", "--yes").check(t, transcript{3, "", "error: nothing to do: no reply is to be sent in hotel/ann\n"})
	command(t, w.env, "skip", "hotel/ann", "--reply", "--all", "--yes").check(t, transcript{2, "", "error: --reply and --all: one of them\nhint: botsession skip --help\n"})
}

func TestSkipAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", nil)
	w.holdsUp(t, bot, "eve", session.Event{ID: "a", Text: "/hang"})
	command(t, w.env, "skip", "hotel/eve", "--all", "--yes").check(t, transcript{3, "", "error: nothing to do: no event waits in hotel/eve but the one in hand at replica-a\nhint: without --all it is skipped\n"})
	for _, id := range []string{"b", "c"} {
		w.accept(t, bot, "eve", session.Event{ID: id, Text: "hello?"})
	}
	command(t, w.env, "skip", "hotel/eve", "--all", "--yes").check(t, transcript{0, "dropped 2 events. hotel/eve: 1 waits, the next is in hand at replica-a\n", `
drop    2 events that wait: their outcome is dropped, and no dead letters are made of them
stays   the one in hand at replica-a since TIME
then    the session takes new events. The user is not told: botsession reply
`})
}

// Who agrees to what is there no more has done nothing, and is told so.
func TestSkipOfWhatHasChanged(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"skip hotel/ann":       "error: skip hotel/ann: changed meanwhile: at the head is event \"later-\"\nhint: how it is now: botsession show hotel/ann\n",
		"skip hotel/ann --all": "error: drop events of hotel/ann: changed meanwhile: 2 events wait by now\nhint: how it is now: botsession show hotel/ann\n",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			bot := w.bot(t, "hotel", nil)
			w.poisoned(t, bot, "ann", 2)
			got := answered(t, w.env, answers(func() {
				if err := bot.Session("ann").Skip(t.Context(), store.Head{Event: "e-0"}); err != nil {
					t.Error(err)
				}
			}), strings.Fields(args)...)
			if got.Code != 5 || got.Stdout != "" || !strings.HasSuffix(got.Err, "? [y/N] "+want) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// answers is somebody who says yes, after something has happened.
type answers func()

func (a answers) Read(b []byte) (int, error) { a(); return copy(b, "y\n"), nil }

func TestSkipOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	for line, want := range map[string]transcript{
		"skip pizza/42 --yes":     {3, "", "error: nothing to do: no event waits in pizza/42\nhint: botsession show pizza/42\n"},
		"skip pizza/43 --yes":     {3, "", "error: no session pizza/43: it was never created, was destroyed, or has expired\nhint: botsession ls pizza\n"},
		"skip pasta/43 --dry-run": {3, "", "error: no bot pasta: no program has declared it\nhint: bots here: pizza\n"},
		"skip pizza":              {2, "", "error: invalid: session \"pizza\": want bot/id\nhint: botsession skip pizza/42, as botsession ls prints it\n"},
	} {
		command(t, w.env, strings.Fields(line)...).check(t, want)
	}
}
