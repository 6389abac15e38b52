package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A hotel is a fleet in trouble on a server whose clock stands still: a handler that
// does not return, a full inbox, an event that fails, a reply that is put off, dead
// letters, one of a session that is gone, and a replica that was killed.
type hotel struct {
	env     map[string]string
	replica string // replica is the name of the one that is there
}

func newHotel(t *testing.T) hotel {
	t.Helper()
	server := miniredis.RunT(t)
	began := time.Date(2026, 11, 27, 4, 11, 3, 5e8, time.UTC)
	server.SetTime(began)
	h := hotel{env: map[string]string{"REDIS_URL": "redis://" + server.Addr()}}
	st, err := store.Open(t.Context(), h.env["REDIS_URL"], &store.Options{Name: "replica-a", Lease: time.Hour, MaxTurn: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h.replica = st.Name()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bot, err := st.Bot(ctx, "hotel", &store.BotOptions{InboxLimit: 5, Backoff: 10 * time.Minute, MaxWait: 24 * time.Hour})
	ok(err)
	now := began
	accept := func(id string, e session.Event) { // one a second, so that it is clear which waits for longest
		t.Helper()
		now = now.Add(time.Second)
		server.SetTime(now)
		_, err := bot.Accept(ctx, id, e)
		ok(err)
	}
	handle := func(_ context.Context, turn *store.Turn) error {
		switch turn.Event().Text {
		case "/giveup":
			return store.GiveUp(errors.New("no such product"))
		case "/stuck":
			return errors.New("billing API: 503 Service Unavailable")
		}
		turn.Set("guests", 2)
		turn.Move("booking")
		turn.Reply("a room for " + turn.Event().Text)
		return nil
	}
	brings := &store.ServeOptions{Send: func(_ context.Context, d store.Delivery) error {
		if strings.Contains(d.Message.String(), "banned") {
			return store.RetryAfter(time.Hour, errors.New("429 Too Many Requests"))
		}
		return nil
	}}
	for i := range 4 {
		accept(fmt.Sprintf("guest-%d", i), session.Event{ID: "e-1", Text: "two", Platform: "telegram", User: fmt.Sprintf("user-%d", i)})
	}
	accept("gone-dan", session.Event{ID: "1187362", Text: "/giveup", User: "dan"})
	accept("dead-joe", session.Event{ID: "2270031", Text: "/giveup", User: "joe"})
	accept("stuck-ann", session.Event{ID: "246914", Text: "/stuck", User: "ann"})
	accept("stuck-ann", session.Event{ID: "246915", Text: "hello?", User: "ann"})
	accept("late-\u202ebob", session.Event{ID: "118203", Text: "banned \x1b[2J", User: "bob"})
	_, err = bot.Drain(ctx, handle, brings)
	ok(err)
	_, err = bot.Session("gone-dan").Destroy(ctx)
	ok(err)

	// What hangs is in hand for longer than the clock shows.
	hanging, stop := context.WithCancel(context.Background())
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	hangs := func(context.Context, *store.Turn) error {
		begun <- struct{}{}
		<-hanging.Done()
		return errors.New("it ends")
	}
	for i := range 5 {
		accept("flood-eve", session.Event{ID: fmt.Sprintf("551920-%d", i), Text: "/hang", User: "eve"})
	}
	go func() { // not Serve, which says once a second that it is there
		_, err := bot.Drain(hanging, hangs, brings)
		ended <- err
	}()
	t.Cleanup(func() { stop(); receive(t, "Drain ends", ended) })
	receive(t, "the handler begins", begun)

	now = began.Add(6*time.Minute + 36*time.Second)
	server.SetTime(now)
	for name, line := range map[string]string{
		h.replica:          `%d %d %d {"version":"v1.4.0","bots":{"hotel":{"revision":1,"slots":4,"free":2,"stuck":1}}}`,
		"replica-b-8d2kqx": `%d %d %d {"version":"v1.4.0","bots":{"hotel":{"revision":1,"slots":4,"free":4}}}`,
	} {
		server.HSet("bs:replicas", name, fmt.Sprintf(line, now.Add(-5*time.Hour-90*time.Second).UnixMilli(), now.Add(-100*time.Millisecond).UnixMilli(), now.Add(20*time.Second).UnixMilli()))
	}
	gone := now.Add(-3*time.Minute - 12*time.Second - 100*time.Millisecond).UnixMilli()
	server.HSet("bs:replicas", "replica-c-p0w7mz", fmt.Sprintf(`%d %d %d {"version":"v1.3.9","bots":{"hotel":{"revision":1,"slots":4,"free":4}}}`, now.Add(-26*time.Hour-30*time.Minute).UnixMilli(), gone, gone+3000))
	server.HSet("bs:replicas", "replica-d-t5r1hn", fmt.Sprintf(`%d %d %d {"version":"v1.3.9","leaving":true,"left":["hotel"]}`, now.Add(-26*time.Hour-30*time.Minute).UnixMilli(), gone, gone))
	return h
}

// screen runs a command line on a terminal with so many columns; 0: in a pipe. Both
// streams are one, as on a terminal.
func (h hotel) screen(t *testing.T, columns int, args ...string) string {
	t.Helper()
	var both bytes.Buffer
	getenv := func(key string) string { return h.env[key] }
	w := text.Terminal(&both, columns)
	if columns == 0 {
		w = text.NewWriter(&both, getenv)
	}
	e := &environment{in: strings.NewReader(""), out: w, err: w, zone: time.UTC, getenv: getenv}
	code := e.run(t.Context(), args)
	page := strings.ReplaceAll(both.String(), h.replica, "replica-a-xxxxxx")
	for n := len("a-xxxxxx"); n > 1; n-- { // where it is cut
		page = strings.ReplaceAll(page, "…"+h.replica[len(h.replica)-n:], "…"+"replica-a-xxxxxx"[len("replica-a-xxxxxx")-n:])
	}
	for n := len(h.replica); n > len("replica-a-"); n-- {
		page = strings.ReplaceAll(page, h.replica[:n]+"…", "replica-a-xxxxxx"[:n]+"…")
	}
	page = strings.ReplaceAll(page, strings.TrimPrefix(h.env["REDIS_URL"], "redis://"), "127.0.0.1:6379")
	return fmt.Sprintf("$ botsession %s\n%s(exit code %d)\n", strings.Join(args, " "), page, code)
}

func TestScreens(t *testing.T) {
	t.Parallel()
	h := newHotel(t)
	for _, name := range []string{
		"stats", "stats hotel", "stats hotel --max-wait 30s --min-replicas 3 --max-dead 0", "stuck hotel", "stuck --by why", "stuck hotel --over 1h",
		"ls hotel --limit 2", "ls hotel --platform telegram", "show hotel/flood-eve", "show hotel/gone-dan", "show hotel/guest-1 --redact",
		"history hotel/guest-1", "history hotel/guest-1 --before 2", "history hotel/guest-1 --redact", "replicas hotel", "flow hotel", "flow hotel --format mermaid", "flow hotel --format dot",
		"dead hotel", "dead hotel --error product --replies", "dead hotel --error PRODUCT --limit 1", "settings hotel",
	} {
		args := strings.Fields(name)
		t.Run(name, func(t *testing.T) {
			for _, columns := range []int{80, 160} {
				golden(t, fmt.Sprintf("%s-%d", strings.NewReplacer(" --", "-", " ", "-", "/", "-").Replace(name), columns), h.screen(t, columns, args...))
			}
			narrow := h.screen(t, 20, args...)
			if wide := h.screen(t, 80, args...); strings.Count(narrow, "exit code") != 1 || narrow[strings.LastIndex(narrow, "(exit"):] != wide[strings.LastIndex(wide, "(exit"):] {
				t.Errorf("on 20 columns it prints\n%s", narrow)
			}
			if strings.ContainsAny(narrow, "\x1b\u202e") {
				t.Errorf("what a user wrote reaches the terminal as it is: %q", narrow)
			}
		})
	}
	for _, name := range []string{"stats", "stuck hotel", "stuck --by why", "replicas hotel", "flow hotel", "dead hotel"} {
		args := append(strings.Fields(name), "--json")
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			got := rawCommand(t, h.env, args...)
			lines := strings.Split(strings.TrimSuffix(got.Stdout, "\n"), "\n")
			for _, line := range lines {
				if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}") {
					t.Errorf("a line is no object: %q", line)
				}
			}
			if got.Code != 0 || strings.ContainsAny(got.Stdout, "\x1b\u202e") {
				t.Errorf("exit %d, %q, %s", got.Code, got.Stdout, got.Err)
			}
		})
	}
}

// The READMEs show what the tests have seen.
func TestTheScreensOfTheREADMEsAreThese(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "screens", "*-80.txt"))
	if err != nil || len(files) == 0 {
		t.Fatal("no screens", err)
	}
	screens := map[string]string{} // by their first lines
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(b), "\n")
		screens[first] = strings.TrimRight(string(b)[:strings.LastIndex(string(b), "(exit code ")], "\n")
	}
	for _, readme := range []string{"README.md", filepath.Join("..", "..", "README.md")} {
		b, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for i, block := range strings.Split(string(b), "```") {
			block, console := strings.CutPrefix(block, "console\n")
			if i%2 == 0 || !console {
				continue
			}
			for _, screen := range strings.Split(block, "\n$ ") {
				screen = "$ " + strings.TrimRight(strings.TrimPrefix(screen, "$ "), "\n")
				first, _, _ := strings.Cut(screen, "\n")
				want, there := screens[first]
				if !there {
					continue
				}
				shown++
				if diff := cmp.Diff(want, screen); diff != "" {
					t.Errorf("%s (-test +README)\n%s", readme, diff)
				}
			}
		}
		if shown < 2 {
			t.Errorf("%s shows %d screens of the tests", readme, shown)
		}
	}
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "screens", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew)\n%s", path, diff)
	}
}
