package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestListOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}} {
		command(t, w.env, args...).check(t, transcript{Err: "no live sessions\n"})
	}
	w.bot(t, "pizza", nil)
	command(t, w.env, "ls", "pizza").check(t, transcript{Err: "no live sessions of bot pizza\n"})
	w.pizza(t)
	command(t, w.env, "ls", "--namespace", "other").check(t, transcript{Err: "no live sessions\n"})
	command(t, w.env, "ls", "pizza", "--state", "paying", "--user", "ben").
		check(t, transcript{Err: "no live sessions of bot pizza in state \"paying\" of user \"ben\"\n"})
}

func TestABotThatNobodyHasDeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commands := [][]string{{"ls", "piza"}, {"ls", "piza", "--json", "--state", "x"}, {"show", "piza/1"}, {"history", "piza/1"}, {"settings", "piza"}, {"settings", "piza", "ttl=1h"}}
	for _, args := range commands {
		command(t, w.env, args...).check(t, transcript{Code: 3, Err: `
error: no bot piza: no program has declared it
hint: there is no bot here; is it the right server, and the right --namespace?
`})
	}
	for i := range 12 {
		bot := w.bot(t, fmt.Sprintf("bot-%02d", i), nil)
		if _, err := bot.Session("1").Create(t.Context(), store.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range commands {
		command(t, w.env, args...).check(t, transcript{Code: 3, Err: `
error: no bot piza: no program has declared it
hint: bots here: bot-00, bot-01, bot-02, bot-03, bot-04, bot-05, bot-06, bot-07, bot-08, bot-09, and 2 more
`})
	}
}

func TestSessionsOfABotWhoseSettingsAreGoneAreNotHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	if _, err := w.bot(t, "bank", nil).Session("1").Create(t.Context(), store.Origin{}); err != nil {
		t.Fatal(err)
	}
	client, err := store.ParseURL(w.st.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.HDel(t.Context(), "bs:bots", "pizza").Err(); err != nil {
		t.Fatal(err)
	}
	const lost = "error: bot pizza has sessions, but its settings are gone from the server\n"
	if got := rawCommand(t, w.env, "ls", "pizza"); got.Code != 1 || got.Err != lost+"hint: a process that serves the bot puts them back within ten seconds\n" {
		t.Errorf("ls pizza: exit %d, stderr %q", got.Code, got.Err)
	}
	if got := rawCommand(t, w.env, "ls"); got.Code != 1 || got.Err != lost || !strings.Contains(got.Stdout, "bank/1 ") {
		t.Errorf("ls: exit %d, stdout %q, stderr %q", got.Code, got.Stdout, got.Err)
	}
}

func TestTheListOfAUserGoesInTheOrderOfIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, ref := range []string{"b/3", "a/2", "b/1", "a/9", "b/2"} { // active in this order
		ref, err := session.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bot(t, ref.Bot, nil).Session(ref.ID).Create(t.Context(), store.Origin{State: "s", User: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // by the server's clock
	}
	for _, test := range []struct{ args, refs, message string }{
		{"ls", "b/2 a/9 b/1 a/2 b/3", ""},
		{"ls --limit 2", "b/2 a/9", "2 of 5 sessions: these are the last active; --limit 0 lists all\n"},
		{"ls --limit 1", "b/2", "1 of 5 sessions: these are the last active; --limit 0 lists all\n"},
		{"ls --limit 5", "b/2 a/9 b/1 a/2 b/3", ""},
		{"ls --state s", "b/2 a/9 b/1 a/2 b/3", ""},
		{"ls --user ann", "a/2 a/9 b/1 b/2 b/3", ""},
		{"ls --user ann --limit 3", "a/2 a/9 b/1", "more than 3 sessions: these are the first by bot and id; --limit 0 lists all\n"},
		{"ls b --user ann --limit 2", "b/1 b/2", "more than 2 sessions: these are the first by id; --limit 0 lists all\n"},
		{"ls b --user ann --limit 3", "b/1 b/2 b/3", ""},
		{"ls b --state s --limit 2", "b/2 b/1", "2 of 3 sessions: these are the last active; --limit 0 lists all\n"},
		{"ls --state s --user ann --limit 0", "a/2 a/9 b/1 b/2 b/3", ""},
	} {
		got := rawCommand(t, w.env, strings.Fields(test.args)...)
		refs := strings.Join(regexp.MustCompile(`(?m)^[ab]/\d`).FindAllString(got.Stdout, -1), " ")
		if got.Code != 0 || refs != test.refs || got.Err != test.message {
			t.Errorf("%s: exit %d, %s, stderr %q; want %s, stderr %q", test.args, got.Code, refs, got.Err, test.refs, test.message)
		}
	}
}

func TestAListByEachFlag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pizza, bank := w.bot(t, "pizza", nil), w.bot(t, "bank", nil)
	text := func(id string) session.Event { return session.Event{ID: id, Text: id} }
	w.accept(t, bank, "1", text("dies"))
	w.drain(t, bank, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("as it was told")) })
	for _, of := range []struct {
		bot *store.Bot
		id  string
	}{{pizza, "1"}, {bank, "2"}, {pizza, "2"}} {
		time.Sleep(2 * time.Millisecond) // by the server's clock
		w.accept(t, of.bot, of.id, text("waits"))
	}
	cursor := ""
	for st, err := range pizza.Sessions(t.Context(), store.Filter{Waiting: true}) {
		if err != nil {
			t.Fatal(err)
		}
		cursor = st.Cursor
		break
	}
	for _, test := range []struct{ args, refs, message string }{
		{"ls --waiting", "pizza/1 bank/2 pizza/2", ""},
		{"ls --waiting --limit 2", "pizza/1 bank/2", "2 of 3 sessions: these are those that wait for longest; --limit 0 lists all\n"},
		{"ls pizza --waiting --after " + cursor, "pizza/2", ""},
		{"ls --dead", "bank/1", ""},
		{"ls --dead --waiting", "", "no live sessions that fit all flags\n"},
		{"ls --idle 1h", "", "no live sessions that fit all flags\n"},
		{"ls --idle 1ns", "bank/1 pizza/1 bank/2 pizza/2", ""},
		{"ls --active-since 1h", "pizza/2 bank/2 pizza/1 bank/1", ""},
		{"ls --active-since 2020-01-02T15:04:05Z --state start", "pizza/2 bank/2 pizza/1 bank/1", ""},
		{"ls --active-since 2099-01-02T15:04:05Z", "", "no live sessions that fit all flags\n"},
		{"ls --held-by nobody", "", "no live sessions that fit all flags\n"},
	} {
		got := rawCommand(t, w.env, strings.Fields(test.args)...)
		refs := strings.Join(regexp.MustCompile(`(?m)^(pizza|bank)/\d`).FindAllString(got.Stdout, -1), " ")
		if got.Code != 0 || refs != test.refs || got.Err != test.message {
			t.Errorf("%s: exit %d, %s, stderr %q; want %s, stderr %q", test.args, got.Code, refs, got.Err, test.refs, test.message)
		}
	}
	for args, want := range map[string]string{
		"ls --after " + cursor:        "error: --after needs a bot: a cursor is of one bot's list\nhint: botsession ls BOT --after CURSOR\n",
		"ls pizza --after " + cursor:  "error: sessions: invalid: the cursor is of another bot or filter\nhint: a cursor is in each line of botsession ls BOT --json, and goes on with the same flags\n",
		"ls --active-since yesterday": "error: --active-since \"yesterday\" is neither a duration nor a moment\nhint: as in --active-since 90m, or --active-since 2026-01-02T15:04:05Z\n",
	} {
		if got := rawCommand(t, w.env, strings.Fields(args)...); got.Code != 2 || got.Err != want {
			t.Errorf("%s: exit %d, stderr %q; want %q", args, got.Code, got.Err, want)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	tick := func() { time.Sleep(2 * time.Millisecond) } // by the server's clock, for the order

	tick()
	bank := w.bot(t, "bank", nil)
	w.accept(t, bank, "an id\x1b[2J", session.Event{ID: "1", Text: "hello", Platform: "web\x07", User: "ben"})
	w.accept(t, bank, "an id\x1b[2J", session.Event{ID: "2", Text: "hello?"})
	w.drain(t, bank, func(context.Context, *store.Turn) error {
		return store.RetryAfter(time.Hour, errors.New("no money today"))
	})

	tick()
	// One session in the hands of a replica.
	held := w.bot(t, "pizza", nil)
	ctx, stop := context.WithCancel(t.Context())
	entered, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- held.Serve(ctx, func(ctx context.Context, _ *store.Turn) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}, &store.ServeOptions{Grace: time.Millisecond})
	}()
	t.Cleanup(func() { stop(); receive(t, "Serve ends", served) })
	w.accept(t, held, "held", session.Event{ID: "1", Text: "hello"})
	receive(t, "the handler runs", entered)

	narrow(command(t, w.env, "ls")).check(t, transcript{Stdout: `
SESSION  STATE  PLATFORM  MESSAGES  WAITING  HELD BY  IDLE
pizza/held  start  -  0  1  replica-a  DUR
bank/"an id\x1b[2J"  start  web\a  0  2  (failed 1×, again in DUR)  DUR
pizza/42  ordering  telegram  5  0  -  DUR
`})
	status, err := held.Session("held").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	narrow(command(t, w.env, "ls", "--held-by", status.Lease.Holder)).check(t, transcript{Stdout: `
SESSION  STATE  PLATFORM  MESSAGES  WAITING  HELD BY  IDLE
pizza/held  start  -  0  1  replica-a  DUR
`})
	narrow(command(t, w.env, "ls", "pizza", "--limit", "1")).check(t, transcript{Stdout: `
SESSION  STATE  PLATFORM  MESSAGES  WAITING  HELD BY  IDLE
pizza/held  start  -  0  1  replica-a  DUR
`, Err: "1 of 2 sessions: these are the last active; --limit 0 lists all\n"})
	for _, filter := range [][]string{{"--state", "ordering"}, {"--user", "ann"}} {
		got := rawCommand(t, w.env, append([]string{"ls", "--limit", "0"}, filter...)...)
		if got.Code != 0 || strings.Count(got.Stdout, "\n") != 2 || !strings.Contains(got.Stdout, "pizza/42 ") {
			t.Errorf("%v: exit %d, stdout:\n%s\nstderr: %s", filter, got.Code, got.Stdout, got.Err)
		}
	}

	lines := strings.SplitAfter(rawCommand(t, w.env, "ls", "--json").Stdout, "\n")
	if len(lines) != 4 {
		t.Fatalf("--json prints %d lines: %q", len(lines)-1, lines)
	}
	var second struct {
		Session string
		Ref     session.Ref
		Waiting int
		IdleMS  *int64 `json:"idle_ms"`
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Fatal(err)
	}
	if second.Session != `bank/"an id\x1b[2J"` || second.Ref.ID != "an id\x1b[2J" || second.Waiting != 2 || second.IdleMS == nil {
		t.Errorf("--json: %s", lines[1])
	}
}

// narrow makes all columns of a table as narrow as can be: how wide they are
// depends on what differs from run to run.
func narrow(t transcript) transcript {
	t.Stdout = regexp.MustCompile(`  +`).ReplaceAllString(t.Stdout, "  ")
	return t
}

// A line that is wrapped by the terminal could pass for another session.
func TestAListFitsATerminalOf80Columns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sessions := []session.Status{
		{Ref: session.Ref{Bot: "pizza", ID: strings.Repeat("x", 512)}, State: strings.Repeat("宽", 80), Platform: "telegram", Waiting: 1, Now: now, Active: now,
			Event: session.Retry{Failures: 3, At: now.Add(3599 * time.Second)}},
		{Ref: session.Ref{Bot: "pizza", ID: "42"}, State: "ordering", Now: now, Active: now, Lease: session.Lease{Holder: strings.Repeat("host-", 20) + "x7k2lq", Work: session.WorkEvent, Until: now.Add(time.Second)}},
	}
	for _, wide := range []bool{false, true} {
		var out strings.Builder
		var errs strings.Builder
		o := &listOptions{env: &environment{out: text.Terminal(&out, 80), err: text.NewWriter(&errs, os.Getenv)}, wide: wide}
		o.table(sessions)
		if cut := errs.String() == "long names are cut: --wide shows them whole\n"; cut == wide {
			t.Errorf("--wide=%v: stderr %q", wide, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if fits := text.Width(strings.TrimSuffix(line, "\n")) <= 80; fits == wide {
				t.Errorf("--wide=%v: %q", wide, line)
			}
		}
		for _, want := range []string{"pizza/42 ", "ordering", "x7k2lq "} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("--wide=%v does not show %q:\n%s", wide, want, out.String())
			}
		}
	}
}

func TestTheColumnsOfAListAreAligned(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	o := &listOptions{env: &environment{out: text.NewWriter(&out, os.Getenv)}}
	now := time.Now()
	o.table([]session.Status{
		{Ref: session.Ref{Bot: "pizza", ID: "42"}, State: "ordering", Platform: "telegram", Messages: 1204, Now: now, Active: now.Add(-time.Minute)},
		{Ref: session.Ref{Bot: "b", ID: "日本"}, State: "s", Waiting: 12, Now: now, Active: now.Add(time.Second)},
	})
	want := `
SESSION   STATE     PLATFORM  MESSAGES  WAITING  HELD BY  IDLE
pizza/42  ordering  telegram      1204        0  -          1m
b/日本    s         -                0       12  -          0s
`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Error(diff)
	}
}
