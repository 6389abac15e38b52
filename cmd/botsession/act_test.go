package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// answered runs a command line for somebody at a terminal, who answers what is in in.
func answered(t *testing.T, env map[string]string, in io.Reader, args ...string) transcript {
	t.Helper()
	return answeredIn(t.Context(), env, in, args...)
}

func answeredIn(ctx context.Context, env map[string]string, in io.Reader, args ...string) transcript {
	var out, errs bytes.Buffer
	getenv := func(key string) string { return env[key] }
	e := &environment{in: in, asks: true, out: text.NewWriter(&out, getenv), err: text.NewWriter(&errs, getenv), zone: time.UTC, getenv: getenv}
	code := e.run(ctx, args)
	return transcript{code, scrub(out.String()), scrub(errs.String())}
}

// poisoned makes the session bot/id, whose first event has failed once and has as many
// behind it.
func (w world) poisoned(t *testing.T, bot *store.Bot, id string, behind int) {
	t.Helper()
	w.accept(t, bot, id, session.Event{ID: "e-0", Text: "/stuck \x1b[2J", User: "ann"})
	w.drain(t, bot, func(context.Context, *store.Turn) error {
		return store.RetryAfter(time.Hour, errors.New("billing \x1b[2J is down"))
	})
	for i := range behind {
		w.accept(t, bot, id, session.Event{ID: "later-" + strings.Repeat("x", i), Text: "hello?"})
	}
}

// holdsUp serves a bot with a handler that does not return until the test ends, and
// returns when it has the first event.
func (w world) holdsUp(t *testing.T, bot *store.Bot, id string, e session.Event) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	entered, served := make(chan struct{}, 10), make(chan error, 1)
	go func() {
		served <- bot.Serve(ctx, func(ctx context.Context, _ *store.Turn) error {
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}, &store.ServeOptions{Grace: time.Millisecond})
	}()
	t.Cleanup(func() { stop(); receive(t, "Serve ends", served) })
	w.accept(t, bot, id, e)
	receive(t, "the handler runs", entered)
}

// A question is asked of whoever is there. All but yes is no.
func TestAnActAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.poisoned(t, bot, "42", 2)
	const plan = `head    event "e-0", "/stuck \x1b[2J", accepted TIME, 2nd attempt, 1 failure
again   in DUR
error   billing \x1b[2J is down
then    the event is a dead letter; 2 events behind it are handled. The user is not told: botsession reply
`
	for input, line := range map[string]string{"n\n": "", "\n": "", "": "\n", "yess\n": "", "y es\n": ""} {
		answered(t, w.env, strings.NewReader(input), "skip", "pizza/42").check(t, transcript{1, "", plan + "Skip it? [y/N] " + line + "nothing was done\n"})
	}
	answered(t, w.env, strings.NewReader(""), "skip", "pizza/42", "--dry-run").check(t, transcript{0, plan, "nothing was done (--dry-run): it would skip 1 session\n"})
	command(t, w.env, "skip", "pizza/42").check(t, transcript{2, "", "error: botsession skip asks before it does anything, and there is no terminal to ask on\nhint: --yes does it, --dry-run says what would be done\n"})
	if h, err := bot.Session("42").Heads(t.Context()); err != nil || h.Status.Waiting != 3 || h.Event.ID != "e-0" {
		t.Fatalf("it was skipped without a yes: %+v, %v", h, err)
	}
	answered(t, w.env, strings.NewReader("Yes\n"), "skip", "pizza/42", "--as", "ops\x07", "--reason", "a \x1b[2Jbad one").check(t, transcript{0,
		"skipped. pizza/42: 2 wait, and nobody serves pizza\n", plan + "Skip it? [y/N] "})
	for act, err := range bot.Audit(t.Context()) {
		if err != nil || act.By != "ops\a" || act.Reason != "a \x1b[2Jbad one" || act.Verb != "skip" || act.Object != `event "e-0"` {
			t.Errorf("the audit has %+v, %v", act, err)
		}
	}
}

// Whoever is interrupted while asked has done nothing.
func TestAnActIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.poisoned(t, bot, "42", 0)
	ctx, interrupt := context.WithCancel(t.Context())
	asked, answer := io.Pipe()
	defer answer.Close()
	got := answeredIn(ctx, w.env, interrupts{asked, interrupt}, "skip", "pizza/42")
	if got.Code != 1 || !strings.HasSuffix(got.Err, "Skip it? [y/N] \nerror: interrupted: nothing was done\n") {
		t.Errorf("%+v", got)
	}
	if status, err := bot.Session("42").Status(t.Context()); err != nil || status.Waiting != 1 {
		t.Errorf("%+v, %v", status, err)
	}
}

// interrupts is somebody who is asked and presses ctrl-C.
type interrupts struct {
	io.Reader
	interrupt func()
}

func (i interrupts) Read(b []byte) (int, error) {
	i.interrupt()
	return i.Reader.Read(b)
}

// Many are done in one go, and what was done is said where it ends early.
func TestAnActOnMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	var errs bytes.Buffer
	getenv := func(key string) string { return w.env[key] }
	e := &environment{in: strings.NewReader("y\n"), asks: true, out: text.NewWriter(io.Discard, getenv), err: text.NewWriter(&errs, getenv), zone: time.UTC, getenv: getenv}
	a := &acting{env: e}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := 0
	j := job{verb: "move", past: "moved", common: plan{{"then", "they are elsewhere"}}}
	for i := range 12 {
		j.deeds = append(j.deeds, deed{session: bot.Session(string(rune('a' + i))), do: func(ctx context.Context, _ *store.Session) (string, error) {
			if i == 3 {
				return "", session.ErrChanged
			}
			if done++; done == 7 {
				interrupt()
			}
			return "moved", ctx.Err() // what is begun is ended
		}})
	}
	err := a.perform(ctx, j)
	want := `to      12 sessions: pizza/a, pizza/b, pizza/c, pizza/d, pizza/e, pizza/f, pizza/g, pizza/h, pizza/i, pizza/j, and 2 more
then    they are elsewhere
Move 12 sessions? [y/N] error: changed meanwhile
hint: how it is now: botsession show pizza/d
`
	if err == nil || err.Error() != "interrupted: moved 7 of 12 sessions" || errs.String() != want || done != 7 {
		t.Errorf("%v, %d done, and it says\n%s", err, done, errs.String())
	}
}

// A server that does not let this user write, or any, has the act end, and says why.
func TestAnActWithoutRights(t *testing.T) {
	t.Parallel()
	for refusal, want := range map[string]string{
		"NOPERM this user has no permissions to run the 'evalsha' command": "error: skip pizza/42: the user lacks the right to a command: NOPERM this user has no permissions to run the 'evalsha' command\nhint: the README lists the rights that a user needs to look, and to serve, which acts need too\n",
		"OOM command not allowed when used memory > 'maxmemory'.":          "error: skip pizza/42: OOM command not allowed when used memory > 'maxmemory'.\nhint: the server's memory is full: skip, skip --all, rm and dead rm work, and free some\n",
	} {
		t.Run(refusal, func(t *testing.T) {
			t.Parallel()
			fake := miniredis.RunT(t)
			env := map[string]string{"REDIS_URL": "redis://" + fake.Addr()}
			st, err := store.Open(t.Context(), env["REDIS_URL"], nil)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			bot, err := st.Bot(t.Context(), "pizza", &store.BotOptions{RecordOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bot.Accept(t.Context(), "42", session.Event{ID: "1", Text: "hi"}); err != nil {
				t.Fatal(err)
			}
			got := answered(t, env, answers(func() {
				fake.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
					refuses := strings.HasPrefix(cmd, "EVAL")
					if refuses {
						c.WriteError(refusal)
					}
					return refuses
				})
			}), "skip", "pizza/42")
			if got.Code != 1 || got.Stdout != "" || !strings.HasSuffix(got.Err, "Skip it? [y/N] "+want) {
				t.Errorf("%+v", got)
			}
		})
	}
}
