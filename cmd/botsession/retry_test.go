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

func TestRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", &store.BotOptions{RecordOnly: true, MaxAttempts: 2})
	w.poisoned(t, bot, "42", 1)
	const plan = `
head    event "e-0", "/stuck \x1b[2J", accepted TIME, 2nd attempt, 1 failure
again   in DUR
error   billing \x1b[2J is down
then    it is tried now`
	const nobody = ". Nobody serves pizza: it waits for a replica\n"
	command(t, w.env, "retry", "pizza/42", "--dry-run").check(t, transcript{0, plan + "; one more failure makes it a dead letter" + nobody, "nothing was done (--dry-run): it would retry 1 session\n"})
	answered(t, w.env, strings.NewReader("y\n"), "retry", "pizza/42", "--reset").check(t, transcript{0,
		"retried. pizza/42: 2 wait, and nobody serves pizza\n", plan + "; that it had 1 failure is forgotten" + nobody + "Retry it? [y/N] "})
	status, err := bot.Session("42").Status(t.Context())
	if err != nil || status.Event.Failures != 0 || status.Event.At.After(status.Now) {
		t.Errorf("it has %+v, %v", status.Event, err)
	}
}

func TestRetryOfWhatIsInHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", nil)
	w.holdsUp(t, bot, "eve", session.Event{ID: "551920", Text: "/hang"})
	command(t, w.env, "retry", "hotel/eve", "--yes").check(t, transcript{5, "", "error: retry hotel/eve: in hand: replica-a has it since INSTANT\nhint: --take takes it from there\n"})
	for _, args := range []string{"retry hotel/eve --take --yes", "retry --held-by " + w.st.Name() + " hotel --yes --rate 1000/s"} {
		got := command(t, w.env, strings.Fields(args)...)
		if got.Code != 0 || !strings.HasPrefix(got.Stdout, "retried. hotel/eve: 1 waits, the next is ") ||
			!strings.Contains(got.Err, "\nholder  replica-a since TIME: it will be fenced; what its handler does outside goes on\nthen    it is tried now\n") {
			t.Errorf("%s: %+v", args, got)
		}
		for held := false; !held; { // again
			status, err := bot.Session("eve").Status(t.Context())
			if err != nil || status.Event.Crashes == 0 {
				t.Fatalf("%+v, %v", status, err)
			}
			held = status.Lease.Held(status.Now)
		}
	}
	command(t, w.env, "retry", "--held-by", "nobody-x", "--yes").check(t, transcript{3, "", "error: replica nobody-x holds no session\nhint: botsession replicas lists the replicas, and what they hold\n"})
}

// Who runs an Update is fenced, and nothing else is there to be tried.
func TestRetryTakesFromAnUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	entered, leave, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := bot.Update(t.Context(), "42", func(_ context.Context, turn *store.Turn) error {
			close(entered)
			<-leave
			turn.Set("size", "small")
			return nil
		})
		ended <- err
	}()
	receive(t, "the Update runs", entered)
	command(t, w.env, "retry", "pizza/42", "--take", "--yes").check(t, transcript{0, "unlocked. pizza/42: nothing waits\n",
		"holder  replica-a runs an Update since TIME: it will be fenced, and its caller told\n"})
	close(leave)
	if err := receive(t, "the Update ends", ended); !errors.Is(err, session.ErrFenced) {
		t.Errorf("the Update returns %v", err)
	}
}

// Of several sessions the others are tried again where one cannot be.
func TestRetryOfSeveral(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.poisoned(t, bot, "a", 0)
	w.poisoned(t, bot, "id with \x1b[2J", 0)
	got := answered(t, w.env, strings.NewReader("y\n"), "retry", "pizza/a", "pizza/none", `pizza/"id with \x1b[2J"`, "pizza/a", "--json")
	if got.Code != 3 || strings.Count(got.Stdout, "\n") != 2 || strings.Contains(got.Stdout+got.Err, "\x1b") ||
		!strings.HasPrefix(got.Stdout, `{"session":"pizza/a","done":"retried","status":{`) || !strings.Contains(got.Stdout, `{"session":"pizza/\"id with \\x1b[2J\"","done":"retried",`) ||
		!strings.HasPrefix(got.Err, "error: no session pizza/none: it was never created, was destroyed, or has expired\nhint: botsession ls pizza\npizza/a\nhead    event") ||
		!strings.HasSuffix(got.Err, "Retry 2 sessions? [y/N] ") {
		t.Errorf("%+v", got)
	}
}

func TestRetryOfAReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", &store.BotOptions{})
	w.brings = &store.ServeOptions{Send: func(context.Context, store.Delivery) error {
		return store.RetryAfter(time.Hour, errors.New("429 Too Many Requests"))
	}}
	w.accept(t, bot, "ann", session.Event{ID: "1", Text: "hi"})
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error { t.Reply("hello"); return nil })
	w.accept(t, bot, "ann", session.Event{ID: "2", Text: "and?"})
	got := command(t, w.env, "retry", "hotel/ann", "--dry-run")
	if got.Code != 0 || !strings.HasSuffix(got.Stdout, "\nthen    it is tried now, behind 1 reply that is to be sent: retry --reply\n") {
		t.Errorf("%+v", got)
	}
	got = command(t, w.env, "retry", "hotel/ann", "--yes", "--reply")
	if got.Code != 0 || got.Stdout != "retried. hotel/ann: 1 waits, 1 reply to send, and nobody serves hotel\n" || !strings.HasPrefix(got.Err, "head    reply 2, \"hello\", made TIME, ") {
		t.Errorf("%+v", got)
	}
}

func TestRetryRefuses(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"retry":                            "error: retry needs one session, not 0\nhint: botsession retry pizza/42, as botsession ls prints it\n",
		"retry pizza/1 --rate fast":        "error: --rate \"fast\" is not a number in a time\nhint: as in --rate 20/s, 100/m or 500/h\n",
		"retry pizza/1 --rate 0/s":         "error: --rate \"0/s\" is not a number in a time\nhint: as in --rate 20/s, 100/m or 500/h\n",
		"retry --held-by a --reply":        "error: --reply and --held-by: one of them; what a replica holds is tried again, whatever it is\nhint: botsession retry --help\n",
		"retry --held-by a pizza/42 --yes": "error: invalid: bot name \"pizza/42\": '/' is not a letter, a digit, '.', '_', '-' or ':'\nhint: one session: botsession show pizza/42\n",
	} {
		command(t, nil, strings.Fields(line)...).check(t, transcript{2, "", want})
	}
}
