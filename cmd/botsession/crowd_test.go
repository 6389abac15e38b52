package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/botsession/botsession/store"
)

func TestCrowd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := command(t, w.env, "crowd", "many", "--sessions", "200")
	got.check(t, transcript{Stdout: "many: 200 sessions; 20 wait, 20 have dead letters; half were there at INSTANT\n"})
	bot, err := w.st.Bot(t.Context(), "many", nil)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := bot.Counts(t.Context())
	if err != nil || counts.Sessions != 200 || counts.Dead != 20 || len(counts.States) != 8 {
		t.Errorf("%+v, %v", counts, err)
	}
	waiting := 0
	for _, err := range bot.Sessions(t.Context(), store.Filter{Waiting: true}) {
		if err != nil {
			t.Fatal(err)
		}
		waiting++
	}
	if waiting != 20 {
		t.Errorf("%d sessions wait", waiting)
	}
	again := command(t, w.env, "crowd", "many")
	if again.Code != exitFailed || !strings.Contains(again.Err, "it is there already") || !strings.Contains(again.Err, "hint: take another name") {
		t.Errorf("on a bot that is there: code %d, %s", again.Code, again.Err)
	}
	for _, bad := range [][]string{{"crowd"}, {"crowd", "a", "b"}, {"crowd", "more", "--sessions", "0"}, {"crowd", "more", "--held", "-1"}} {
		if got := command(t, w.env, bad...); got.Code != exitUsage {
			t.Errorf("%v: code %d, %s", bad, got.Code, got.Err)
		}
	}
}

func TestCrowdHoldsUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, printed := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"crowd", "many", "--sessions", "50", "--held", "3", "--redis", w.st.URL()}, strings.NewReader(""), printed, io.Discard)
		printed.Close()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "3 are held by ") {
	}
	bot, err := w.st.Bot(t.Context(), "many", nil)
	if err != nil {
		t.Fatal(err)
	}
	held := func() (n int) {
		for _, err := range bot.Sessions(t.Context(), store.Filter{Held: true}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := held(); n != 3 {
		t.Errorf("%d sessions are held", n)
	}
	interrupt()
	if got := receive(t, "the command ends", code); got != exitOK {
		t.Errorf("exit %d", got)
	}
	if n := held(); n != 0 {
		t.Errorf("%d sessions are still held", n)
	}
}
