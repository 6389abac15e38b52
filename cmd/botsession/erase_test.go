package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
)

func TestErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	w.accept(t, bot, "group", session.Event{ID: "1", Text: "hi", User: "bob"})
	got := command(t, w.env, "erase", "pizza", "--user", "ann", "--id", "gr\x1b[2J", "--dry-run")
	got.check(t, transcript{0, `
user    "ann" began 1 session
session pizza/42, in state ordering, a chat of 5 messages
id      pizza/"gr\x1b[2J"
then    they are gone, with what waits in them and their dead letters, and so are dead letters of the user's events elsewhere. A new event begins a new session: stop the user's events first
`, "nothing was done (--dry-run)\n"})
	got = answered(t, w.env, strings.NewReader("n\n"), "erase", "pizza", "--user", "ann")
	if got.Code != 1 || !strings.HasSuffix(got.Err, "Erase it? [y/N] nothing was done\n") {
		t.Errorf("%+v", got)
	}
	if _, err := bot.Session("42").Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	got = answered(t, w.env, strings.NewReader("y\n"), "erase", "pizza", "--user", "ann")
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "erased  1 session, 0 dead letters, and what named the user in 0 acts of the audit\nstays   digests of the ids of events, until DATE\nbeyond  ") {
		t.Errorf("%+v", got)
	}
	if _, err := bot.Session("42").Status(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	raw := rawCommand(t, w.env, "erase", "pizza", "--id", "group", "--yes", "--json")
	var r receipt
	if err := json.Unmarshal([]byte(raw.Stdout), &r); err != nil || raw.Code != 0 || r.Sessions != 1 || len(r.Beyond) == 0 || strings.Contains(raw.Stdout, "group\"") {
		t.Errorf("%+v, %v", raw, err)
	}
	for line, want := range map[string]transcript{
		"erase":                        {2, "", "error: a bot is needed\nhint: botsession erase pizza\n"},
		"erase pizza":                  {2, "", "error: a user is needed\nhint: botsession erase pizza --user ann\n"},
		"erase pasta --user ann --yes": {3, "", "error: no bot pasta: no program has declared it\nhint: bots here: pizza\n"},
	} {
		command(t, w.env, strings.Fields(line)...).check(t, want)
	}
}
