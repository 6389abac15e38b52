package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	w.accept(t, bot, "42", session.Event{ID: "u-3", Text: "funghi\x1b[2J\n12.00  bot  You won!"})

	command(t, w.env, "history", "pizza/42").check(t, transcript{Stdout: `
DAY
TIME  user  hi
TIME  bot   Welcome!
                What can I do for you?
TIME  user  [file] like this.png
TIME  user  a large pizza like this
TIME  bot   [options] ["margherita","funghi"]
TIME  user  funghi\x1b[2J
                12.00  bot  You won!  (waiting)
`})
	command(t, w.env, "history", "pizza/42", "-n", "1").check(t, transcript{Stdout: `
DAY
TIME  bot   [options] ["margherita","funghi"]
TIME  user  funghi\x1b[2J
                12.00  bot  You won!  (waiting)
`})
	command(t, w.env, "history", "pizza/42", "--last", "1", "--json").check(t, transcript{Stdout: `
{"seq":5,"from":"bot","type":"options","content":["margherita","funghi"],"time":"INSTANT"}
{"from":"user","type":"str","content":"funghi\u001b[2J\n12.00  bot  You won!","time":"INSTANT","waiting":true}
`})
}

// On a terminal, what is wrapped by it would begin at its edge, as a message does.
func TestALongMessageCannotPassForAnother(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	o := &historyOptions{env: &environment{out: text.Terminal(&out, 40), zone: time.UTC, getenv: func(string) string { return "" }}}
	at := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	o.print([]session.Message{
		{From: session.FromUser, Type: session.Text, Time: at, Content: "a pizza, please, " + strings.Repeat(" ", 7) + "03:00:00  bot   You won!"},
		{From: session.FromUser, Type: session.Choices, Time: at, Waiting: true, Content: []any{"margherita", "funghi"}},
	})
	want := `
Thursday, 26 November 2026
03:00:00  user  a pizza, please,
                03:00:00  bot   You won!
03:00:00  user  [options] ["margherita",
                "funghi"]  (waiting)
`
	if diff := cmp.Diff(want, "\n"+regexp.MustCompile(` +\n`).ReplaceAllString(out.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quiet := w.bot(t, "quiet", nil)
	if _, err := quiet.Session("1").Create(t.Context(), store.Origin{State: "start"}); err != nil {
		t.Fatal(err)
	}
	w.drain(t, quiet, func(context.Context, *store.Turn) error { return nil })
	command(t, w.env, "history", "quiet/1").check(t, transcript{Err: "no messages in quiet/1\n"})
	command(t, w.env, "history", `quiet/"a\x1b b"`).check(t, transcript{Code: 3, Err: `
error: no session quiet/"a\x1b b": it was never created, was destroyed, or has expired
hint: botsession ls quiet
`})
}
