package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// given makes n sessions of a bot, dead-0, dead-1 and so on, each with a dead letter.
func (w world) given(t *testing.T, bot *store.Bot, n int) {
	t.Helper()
	for i := range n {
		w.accept(t, bot, fmt.Sprintf("dead-%d", i), session.Event{ID: "e\x1b[2J", Text: "/giveup", User: "ann"})
	}
	w.drain(t, bot, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("no such \x1b[2Jpizza")) })
}

func TestDeadRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.given(t, bot, 2)
	if _, err := bot.Session("dead-1").Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	const plan = `
pizza/dead-0
letter  event "e\x1b[2J", "/giveup", given up DATE
error   no such \x1b[2Jpizza
then    the event is handled again, behind what waits, with all its attempts. Nobody serves pizza: it waits for a replica
pizza/dead-1
letter  event "e\x1b[2J", "/giveup", given up DATE
error   no such \x1b[2Jpizza
then    the event is handled again, behind what waits, with all its attempts. Nobody serves pizza: it waits for a replica
`
	if got := command(t, w.env, "dead", "retry", "pizza", "--dry-run", "--json"); got.Code != 0 || got.Err != "" || strings.Count(got.Stdout, `","would":"retry","plan":{"error":"no such `) != 2 {
		t.Errorf("%+v", got)
	}
	command(t, w.env, "dead", "retry", "pizza/dead-0", "pizza/dead-1", "--dry-run").check(t, transcript{0, plan, "nothing was done (--dry-run): it would retry 2 dead letters\n"})
	answered(t, w.env, strings.NewReader("y\n"), "dead", "retry", "pizza/dead-0", "pizza/dead-1", "pizza/dead-2").check(t, transcript{3, `
retried. pizza/dead-0: 1 waits, and nobody serves pizza
retried in a new session. pizza/dead-1: 1 waits, and nobody serves pizza
`, "error: nothing to do: pizza/dead-2 has no dead letters" + plan + "Retry 2 dead letters? [y/N] "})
	command(t, w.env, "dead", "retry", "pizza", "--yes").check(t, transcript{3, "", "error: nothing to do: no such dead letters\nhint: botsession dead lists them\n"})
}

func TestDeadRetryOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.given(t, bot, 12)
	got := answered(t, w.env, answers(func() {
		letters, err := bot.Session("dead-3").DeadLetters(t.Context())
		if err == nil {
			err = bot.Session("dead-3").Discard(t.Context(), letters[0].Time)
		}
		if err != nil {
			t.Error(err)
		}
	}), "dead", "retry", "pizza", "--error", "PIZZA", "--rate", "1000/s")
	if got.Code != 5 || got.Stdout != "retried 11 of 12 dead letters\n" ||
		!strings.Contains(got.Err, ", and 2 more\nthen    events are handled again, behind what waits; replies are sent\nerror   12 × no such \\x1b[2Jpizza\nRetry 12 dead letters? [y/N] ") ||
		!strings.HasSuffix(got.Err, "hint: how it is now: botsession show pizza/dead-3\n") {
		t.Errorf("%+v", got)
	}
}

func TestDeadRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.given(t, bot, 2)
	command(t, w.env, "dead", "rm", "pizza", "--older", "1h", "--yes").check(t, transcript{3, "", "error: nothing to do: no such dead letters\nhint: botsession dead lists them\n"})
	command(t, w.env, "dead", "rm", "pizza/dead-0", "--yes").check(t, transcript{0, "removed. pizza/dead-0: nothing waits\n", `
letter  event "e\x1b[2J", "/giveup", given up DATE
error   no such \x1b[2Jpizza
`})
	n := 0
	for d, err := range bot.DeadLetters(t.Context()) {
		if n++; err != nil || d.Ref.ID != "dead-1" {
			t.Errorf("there is %+v, %v", d, err)
		}
	}
	if n != 1 {
		t.Errorf("%d letters", n)
	}
	for line, want := range map[string]transcript{
		"dead rm":                {2, "", "error: a bot or a session is needed\nhint: botsession dead rm pizza, or pizza/42\n"},
		"dead rm pizza":          {2, "", "error: botsession dead rm asks before it does anything, and there is no terminal to ask on\nhint: --yes does it, --dry-run says what would be done\n"},
		"dead rm pasta --yes":    {3, "", "error: no bot pasta: no program has declared it\nhint: bots here: pizza\n"},
		"dead rm pizza --rate 1": {2, "", "error: --rate \"1\" is not a number in a time\nhint: as in --rate 20/s, 100/m or 500/h\n"},
	} {
		command(t, w.env, strings.Fields(line)...).check(t, want)
	}
}
