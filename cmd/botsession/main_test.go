package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// The demo starts replicas of its own program, which in a test is the test.
const runAsProgram = "BOTSESSION_TEST_RUN"

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if os.Getenv(runAsProgram) != "" && len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") { // a fuzz worker is a test
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	completionTakes = time.Minute // on a busy machine
	os.Setenv(runAsProgram, "1")  // for the processes that the tests start
	os.Exit(m.Run())
}

// A transcript is what a command line prints, and its exit code.
type transcript struct {
	Code        int
	Stdout, Err string
}

// command runs a command line in this process. What differs from run to run is
// replaced: times, durations, tokens, the random part of a replica's name.
func command(t *testing.T, env map[string]string, args ...string) transcript {
	t.Helper()
	got := rawCommand(t, env, args...)
	got.Stdout, got.Err = scrub(got.Stdout), scrub(got.Err)
	return got
}

func rawCommand(t *testing.T, env map[string]string, args ...string) transcript {
	t.Helper()
	var out, errs bytes.Buffer
	getenv := func(key string) string { return env[key] }
	e := &environment{in: strings.NewReader(""), out: text.NewWriter(&out, getenv), err: text.NewWriter(&errs, getenv), zone: time.UTC, getenv: getenv}
	code := e.run(t.Context(), args)
	return transcript{code, out.String(), errs.String()}
}

type environment = env // where a parameter is called env

var scrubbers = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "DATE"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "INSTANT"},
	{regexp.MustCompile(`[A-Z][a-z]+day, \d+ [A-Z][a-z]+ \d{4}`), "DAY"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`\b(\d+[dhms]){1,2}\b`), "DUR"},
	{regexp.MustCompile(`\b(token"?:? ?"?)\d+`), "${1}N"},
	{regexp.MustCompile(`\b(life"?:? ?)\d+`), "${1}N"},
	{regexp.MustCompile(`("idle_ms":)\d+`), "${1}N"},
	{regexp.MustCompile(`\b(replica-[a-z])-[0-9A-Za-z]+`), "$1"},
}

func scrub(s string) string {
	for _, r := range scrubbers {
		s = r.pattern.ReplaceAllString(s, r.with)
	}
	return s
}

func (got transcript) check(t *testing.T, want transcript) {
	t.Helper()
	want.Stdout, want.Err = strings.TrimPrefix(want.Stdout, "\n"), strings.TrimPrefix(want.Err, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\nstdout:\n%s\nstderr:\n%s", diff, got.Stdout, got.Err)
	}
}

// world is an embedded store with a few bots on it, in all kinds of states.
type world struct {
	st     *embedded.Store
	env    map[string]string   // with REDIS_URL
	brings *store.ServeOptions // with which its bots are served
}

func newWorld(t *testing.T) world {
	t.Helper()
	st, err := embedded.Open(t.Context(), &store.Options{Name: "replica-a", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return world{st, map[string]string{"REDIS_URL": st.URL()}, nil}
}

// bot declares a bot; with nil options one that records its replies.
func (w world) bot(t *testing.T, name string, opts *store.BotOptions) *store.Bot {
	t.Helper()
	if opts == nil {
		opts = &store.BotOptions{RecordOnly: true}
	}
	bot, err := w.st.Bot(t.Context(), name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return bot
}

// accept gives an event to a session, without handling it.
func (w world) accept(t *testing.T, bot *store.Bot, id string, e session.Event) {
	t.Helper()
	if _, err := bot.Accept(t.Context(), id, e); err != nil {
		t.Fatal(err)
	}
}

// drain handles what is due.
func (w world) drain(t *testing.T, bot *store.Bot, h store.Handler) {
	t.Helper()
	if _, err := bot.Drain(t.Context(), h, w.brings); err != nil {
		t.Fatal(err)
	}
}

// pizza makes the session pizza/42: a chat of two turns and something of
// everything that a session holds.
func (w world) pizza(t *testing.T) *store.Bot {
	t.Helper()
	bot := w.bot(t, "pizza", nil)
	w.accept(t, bot, "42", session.Event{ID: "u-1", Text: "hi", Platform: "telegram", User: "ann"})
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error {
		t.Reply("Welcome!\nWhat can I do for you?")
		return nil
	})
	w.accept(t, bot, "42", session.Event{
		ID: "u-2", Text: "a large pizza like this",
		File: &session.File{Name: "like this.png", Type: "image/png", Data: make([]byte, 2048)},
	})
	w.drain(t, bot, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(&session.Intent{Name: "order", Score: 0.93, Sentence: "a large pizza", Params: []session.Param{
			{Name: "size", Value: "large", Info: map[string]any{"from": 2, "to": 7}},
			{Name: "topping"},
		}})
		t.Move("ordering")
		t.Set("size", "large")
		t.Set("count", 1)
		t.Set("address", map[string]any{"street": "14 Mill Lane", "floors": []any{1, 2}})
		t.SetFlag("vip", true)
		t.ReplyWith(session.Message{Type: session.Choices, Content: []any{"margherita", "funghi"}})
		return nil
	})
	return bot
}

// receive returns what a goroutine sends, and fails the test where nothing comes.
func receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Minute):
		t.Fatalf("still not so after a minute: %s", what)
	}
	return v
}
