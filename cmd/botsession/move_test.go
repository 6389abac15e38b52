package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// lost makes n sessions of a bot that are in the state broken: lost-0, lost-1 and so on.
func (w world) lost(t *testing.T, bot *store.Bot, n int) {
	t.Helper()
	for i := range n {
		w.accept(t, bot, fmt.Sprintf("lost-%d", i), session.Event{ID: "1", Text: "hi"})
	}
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error { t.Move("broken"); return nil })
}

// states returns how many sessions are in each state.
func states(t *testing.T, bot *store.Bot) string {
	t.Helper()
	counts, err := bot.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(counts.States)
}

func TestMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", &store.BotOptions{RecordOnly: true, Initial: "greeting"})
	w.lost(t, bot, 2)
	answered(t, w.env, strings.NewReader("y\n"), "move", "pizza/lost-0", "--to", "gre\x1b[2J", "--as", "ops").check(t, transcript{0, "moved. pizza/lost-0: nothing waits\n", `
state   broken → gre\x1b[2J
note    no session of pizza is in state gre\x1b[2J now: is it written as the bot writes it?
Move it? [y/N] `})
	command(t, w.env, "move", "pizza/lost-0", "pizza/lost-1", "pizza/lost-2", "--to", "gre\x1b[2J", "--yes").check(t, transcript{3, "moved. pizza/lost-1: nothing waits\n", `
error: nothing to do: pizza/lost-0 is in state "gre\x1b[2J" already
error: no session pizza/lost-2: it was never created, was destroyed, or has expired
hint: botsession ls pizza
state   broken → gre\x1b[2J
`})
	if got := states(t, bot); got != "map[gre\x1b[2J:2]" {
		t.Errorf("states %q", got)
	}
	for act, err := range bot.Audit(t.Context()) {
		if err != nil || act.Verb != "move" || act.Object != "gre\x1b[2J" {
			t.Errorf("the audit has %+v, %v", act, err)
		}
	}
}

func TestMoveByFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", &store.BotOptions{RecordOnly: true, Initial: "greeting"})
	w.lost(t, bot, 12)
	args := strings.Fields("move pizza --state broken --active-since 1h --to greeting")
	const plan = "state   broken → greeting\n"
	got := command(t, w.env, append(args, "--dry-run")...)
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "to      12 sessions: pizza/lost-") || !strings.HasSuffix(got.Stdout, ", and 2 more\n"+plan) || got.Err != "nothing was done (--dry-run): it would move 12 sessions\n" {
		t.Errorf("%+v", got)
	}
	if got := command(t, w.env, append(args, "--dry-run", "--json")...); got.Code != 0 || strings.Count(got.Stdout, `","would":"move","plan":{"state":"broken → greeting"}}`+"\n") != 12 || got.Err != "" {
		t.Errorf("%+v", got)
	}
	if got := states(t, bot); got != "map[broken:12]" {
		t.Fatalf("states after --dry-run %s", got)
	}
	// One moves by itself while somebody thinks about the question, and one goes.
	got = answered(t, w.env, answers(func() {
		if err := bot.Session("lost-3").Move(t.Context(), session.Transition{From: "broken", To: "paying"}); err != nil {
			t.Error(err)
		}
		if _, err := bot.Session("lost-4").Destroy(t.Context()); err != nil {
			t.Error(err)
		}
	}), args...)
	if got.Code != 1 || got.Stdout != "moved 10 of 12 sessions\n" || !strings.Contains(got.Err, "Move 12 sessions? [y/N] ") ||
		!strings.Contains(got.Err, "error: move pizza/lost-3: wrong state: session pizza/lost-3 is in \"paying\", not in \"broken\"") || !strings.Contains(got.Err, "error: no session pizza/lost-4: ") {
		t.Errorf("%+v", got)
	}
	if got := states(t, bot); got != "map[greeting:10 paying:1]" {
		t.Errorf("states %s", got)
	}
	command(t, w.env, append(args, "--yes")...).check(t, transcript{3, "", "error: no session of pizza is in state \"broken\" and changed since DATE\nhint: botsession flow pizza lists the states\n"})
}

func TestMoveOfWhatHasMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	got := answered(t, w.env, answers(func() {
		if err := bot.Session("42").Move(t.Context(), session.Transition{From: "ordering", To: "paying"}); err != nil {
			t.Error(err)
		}
	}), "move", "pizza/42", "--to", "start")
	if got.Code != 5 || !strings.Contains(got.Err, `is in "paying", not in "ordering"`) || !strings.HasSuffix(got.Err, "hint: how it is now: botsession show pizza/42\n") {
		t.Errorf("%+v", got)
	}
}

func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	const hint = "hint: botsession move pizza --state broken --to greeting\n"
	for line, want := range map[string]string{
		"move pizza/42":                                           "error: --to is needed: the state to move into\nhint: botsession move pizza/42 --to greeting\n",
		"move pizza --to x":                                       "error: invalid: session \"pizza\": want bot/id\nhint: botsession move pizza/42, as botsession ls prints it\n",
		"move pizza --to x --active-since 1h":                     "error: --active-since needs --state: the state to move out of\n" + hint,
		"move --to x --state y":                                   "error: --state needs one bot, not 0\n" + hint,
		"move pizza --to x --state x":                             "error: they are in state \"x\" already\n",
		"move pizza/42 --to x --state y":                          "error: invalid: bot name \"pizza/42\": '/' is not a letter, a digit, '.', '_', '-' or ':'\nhint: one session: botsession show pizza/42\n",
		"move pizza --to x --state y --active-since deploy --yes": "error: --active-since \"deploy\" is neither a duration nor a moment\nhint: as in --active-since DUR, or --active-since INSTANT\n",
	} {
		command(t, nil, strings.Fields(line)...).check(t, transcript{2, "", want})
	}
}

func TestMoveCompletesStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	for _, args := range [][]string{{"pizza/42", "--to", ""}, {"pizza", "--state", ""}} {
		if got := rawCommand(t, w.env, append([]string{"__complete", "move"}, args...)...); got.Stdout != "ordering\n:4\n" {
			t.Errorf("%q completes %q", args, got.Stdout)
		}
	}
	if got := rawCommand(t, w.env, "__complete", "move", "pizza/42", "--to", "x", "pizza/"); got.Stdout != "pizza/42\n:4\n" {
		t.Errorf("a second session is completed with %q", got.Stdout)
	}
}
