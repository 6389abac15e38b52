package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// follow runs a command that goes on until it is interrupted. It returns the lines of
// both its streams one by one, and how to interrupt it, which returns its exit code.
func (w world) follow(t *testing.T, args ...string) (lines <-chan string, interrupt func() int) {
	t.Helper()
	read, write := io.Pipe()
	getenv := func(key string) string { return w.env[key] }
	e := &environment{in: strings.NewReader(""), out: text.NewWriter(write, getenv), err: text.NewWriter(write, getenv), zone: time.UTC, getenv: getenv}
	ctx, cancel := context.WithCancel(t.Context())
	code, all := make(chan int, 1), make(chan string, 1000)
	go func() {
		code <- e.run(ctx, args)
		write.Close()
	}()
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := read.Read(buffer)
			for line := range strings.Lines(string(buffer[:n])) {
				all <- line
			}
			if err != nil {
				return
			}
		}
	}()
	return all, func() int { cancel(); return receive(t, "the command ends", code) }
}

// until returns the first line that has a text.
func until(t *testing.T, lines <-chan string, has string) string {
	t.Helper()
	for {
		if line := receive(t, "a line with "+has, lines); strings.Contains(line, has) {
			return line
		}
	}
}

func TestTailFollowsWhatHappens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	lines, interrupt := w.follow(t, "tail", "pizza/42")
	stop := make(chan struct{})
	happening := make(chan struct{})
	go func() { // until it listens, nothing is heard
		defer close(happening)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				for _, id := range []string{"other", "42"} {
					_ = bot.Session(id).Set(t.Context(), "k", i)
					_, _ = bot.Session(id).Create(t.Context(), store.Origin{})
				}
			}
		}
	}()
	if line := scrub(until(t, lines, "changed")); !strings.HasPrefix(line, "TIME changed   pizza/42  start v") {
		t.Errorf("the line is %q", line)
	}
	close(stop)
	<-happening
	if code := interrupt(); code != 0 {
		t.Errorf("interrupted, it ends with exit code %d", code)
	}
	for len(lines) > 0 {
		if line := <-lines; strings.Contains(line, "other") {
			t.Errorf("a line of another session: %q", line)
		}
	}
}

func TestHistoryGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	lines, interrupt := w.follow(t, "history", "pizza/42", "-n", "1", "-f")
	until(t, lines, "margherita")
	if err := bot.Session("42").Record(t.Context(), session.Message{Content: "is it good?"}); err != nil {
		t.Fatal(err)
	}
	if line := scrub(until(t, lines, "good")); line != "TIME  bot   is it good?\n" {
		t.Errorf("the line is %q", line)
	}
	if code := interrupt(); code != 0 {
		t.Errorf("interrupted, it ends with exit code %d", code)
	}
}

func TestStatsAreShownAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	lines, interrupt := w.follow(t, "stats", "pizza", "--watch", "--every", "100ms")
	until(t, lines, "sessions      0\n")
	if _, err := bot.Session("1").Create(t.Context(), store.Origin{}); err != nil {
		t.Fatal(err)
	}
	until(t, lines, "sessions      1: 1 start\n")
	if code := interrupt(); code != 0 {
		t.Errorf("interrupted, it ends with exit code %d", code)
	}
}

func TestExporterServesTheFigures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	lines, interrupt := w.follow(t, "exporter", "--listen", "127.0.0.1:0")
	reply, err := http.Get(strings.TrimSpace(until(t, lines, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if body, err := io.ReadAll(reply.Body); err != nil || !strings.Contains(string(body), "botsession_sessions{bot=\"pizza\"} 1\n") {
		t.Errorf("it serves %v\n%s", err, body)
	}
	if code := interrupt(); code != 0 {
		t.Errorf("interrupted, it ends with exit code %d", code)
	}
	got := rawCommand(t, w.env, "exporter", "--listen", "256.0.0.1:1")
	if got.Code != 1 || !strings.Contains(got.Err, "another address") {
		t.Errorf("at no address: exit %d, %q", got.Code, got.Err)
	}
}
