package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	w.poisoned(t, bot, "a", 1)
	answered(t, w.env, strings.NewReader("y\n"), "rm", "pizza/a", "pizza/none", "pizza/42", "--as", "ops").check(t, transcript{3, `
removed, and dropped 2 events. pizza/a: there is no session now
removed. pizza/42: there is no session now
`, `
error: no session pizza/none: it was never created, was destroyed, or has expired
hint: botsession ls pizza
pizza/a
remove  user ann, in state start, a chat of 0 messages, last changed DATE, DUR ago
drop    2 events
pizza/42
remove  user ann on telegram, in state ordering, a chat of 5 messages, last changed DATE, DUR ago
Remove 2 sessions? [y/N] `})
	for _, id := range []string{"a", "42"} {
		if _, err := bot.Session(id).Status(t.Context()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	n := 0
	for act, err := range bot.Audit(t.Context()) {
		if n++; err != nil || act.Verb != "destroy" || act.By != "ops" {
			t.Errorf("the audit has %+v, %v", act, err)
		}
	}
	if n != 2 {
		t.Errorf("the audit has %d acts", n)
	}
}

// What is idle goes, but for what waits, and what has changed since it was counted.
func TestRemoveOfWhatIsIdle(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	env := map[string]string{"REDIS_URL": "redis://" + server.Addr()}
	began := time.Now().Add(-100 * time.Hour)
	server.SetTime(began)
	st, err := store.Open(t.Context(), env["REDIS_URL"], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	bot, err := st.Bot(t.Context(), "pizza", &store.BotOptions{RecordOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	create := func(id string) {
		t.Helper()
		if _, err := bot.Session(id).Create(t.Context(), store.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		create(fmt.Sprint(i))
	}
	if _, err := bot.Accept(t.Context(), "waits", session.Event{ID: "1", Text: "hi"}); err != nil {
		t.Fatal(err)
	}
	server.SetTime(began.Add(99 * time.Hour))
	create("new")
	if got := command(t, env, "rm", "pizza", "--idle", "72h", "--dry-run"); got.Code != 0 || got.Err != "nothing was done (--dry-run): it would remove 13 sessions\n" {
		t.Errorf("%+v", got)
	}
	got := answered(t, env, answers(func() {
		if err := bot.Session("7").Touch(t.Context()); err != nil {
			t.Error(err)
		}
	}), "rm", "pizza", "--idle", "72h")
	if got.Code != 1 || got.Stdout != "removed 11 of 13 sessions\n" || !strings.Contains(got.Err, "error: changed meanwhile: pizza/7 is not idle any more\n") || !strings.Contains(got.Err, "error: nothing to do: in pizza/waits wait 1 event\n") {
		t.Errorf("%+v", got)
	}
	for _, id := range []string{"7", "new", "waits"} {
		if _, err := bot.Session(id).Status(t.Context()); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	command(t, env, "rm", "pizza", "--idle", "720h", "--yes").check(t, transcript{3, "", "error: no session of pizza is idle for DUR\n"})
}

func TestRemoveRefuses(t *testing.T) {
	t.Parallel()
	const hint = "hint: botsession rm pizza --idle DUR\n"
	for line, want := range map[string]string{
		"rm":                       "error: rm needs one session, not 0\nhint: botsession rm pizza/42, as botsession ls prints it\n",
		"rm pizza":                 "error: invalid: session \"pizza\": want bot/id\nhint: botsession rm pizza/42, as botsession ls prints it\n",
		"rm pizza --idle 0s":       "error: --idle DUR is not positive\n" + hint,
		"rm --idle 1h":             "error: --idle needs one bot, not 0\n" + hint,
		"rm pizza/42 --idle 1h -y": "error: invalid: bot name \"pizza/42\": '/' is not a letter, a digit, '.', '_', '-' or ':'\nhint: one session: botsession show pizza/42\n",
	} {
		command(t, nil, strings.Fields(line)...).check(t, transcript{2, "", want})
	}
}
