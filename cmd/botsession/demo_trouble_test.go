package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// A fleet in trouble is as it says, for the commands that find it out, and ends with its
// context.
func TestDemoTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	getenv := func(string) string { return "" }
	e := &environment{in: strings.NewReader(""), out: text.NewWriter(io.Discard, getenv), err: text.NewWriter(write, getenv), zone: time.UTC, getenv: getenv}
	ended := make(chan int, 1)
	go func() {
		code := e.run(ctx, []string{"demo", "--trouble", "--redis", w.st.URL()})
		write.Close()
		ended <- code
	}()
	said := ""
	lines := bufio.NewScanner(read)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "It stays so") {
		said += lines.Text() + "\n"
	}
	go io.Copy(io.Discard, read)
	for _, want := range []string{" killed\n", "stands still", "\n  export REDIS_URL=" + w.st.URL() + "\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	shows := func(line string, args ...string) {
		t.Helper()
		var got transcript
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if got = rawCommand(t, w.env, args...); strings.Contains(got.Stdout, line) {
				return
			}
		}
		t.Errorf("%v does not show %q:\n%s%s", args, line, got.Stdout, got.Err)
	}
	for _, line := range []string{
		"failed 1 of 5", "the handler panicked: runtime error: index out of range", "put off, again in ",
		"reply failed 1 of 5, again in ", "403 Forbidden: the bot was blocked", "billing API: 503 Service Unavailable", "1,000 (full)", "in hand for ",
	} {
		shows(line, "stuck", "hotel", "--over", "0s")
	}
	shows("gone", "replicas", "hotel")
	shows("no such product", "dead", "hotel")
	shows("hotel/lost-50", "ls", "hotel", "--state", "broken", "--limit", "0")
	shows("nobody serves motel", "stats", "motel")
	cancel()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("exit %d", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	bot, err := w.st.Bot(t.Context(), "hotel", nil)
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range bot.Replicas(t.Context()) {
		if err != nil || r.Present && !r.Leaving && strings.HasPrefix(r.Name, "replica-1-") {
			t.Errorf("a replica is still there: %+v, %v", r, err)
		}
	}
}
