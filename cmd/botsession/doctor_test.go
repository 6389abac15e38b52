package main

import (
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestDoctorSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := rawCommand(t, w.env, "doctor")
	if got.Code != 0 || strings.Contains(got.Stdout, "BAD") || !strings.Contains(got.Stdout, "ok   data: every key is as it should be") {
		t.Errorf("of a store without bots: exit %d\n%s%s", got.Code, got.Stdout, got.Err)
	}
	bot := w.bot(t, "pizza", &store.BotOptions{RecordOnly: true, InboxLimit: 1})
	w.accept(t, bot, "42", session.Event{ID: "1", Text: "hi"})
	client, err := store.ParseURL(w.st.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.Set(t.Context(), "bs:what is this", "?", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	got = rawCommand(t, w.env, "doctor")
	for _, has := range []string{
		"BAD  bot pizza: nobody serves pizza\n     do: start a replica: 1 session waits, the longest for ",
		"BAD  bot pizza: 1 inbox is full",
		"BAD  data: ",
	} {
		if !strings.Contains(got.Stdout, has) {
			t.Errorf("it does not say %q", has)
		}
	}
	if got.Code != 1 || t.Failed() {
		t.Errorf("exit %d\n%s%s", got.Code, got.Stdout, got.Err)
	}
	if quick := rawCommand(t, w.env, "doctor", "--quick", "--json"); strings.Contains(quick.Stdout, `"data"`) || quick.Code != 1 || !strings.HasPrefix(quick.Stdout, `{"level":`) {
		t.Errorf("--quick: exit %d\n%s", quick.Code, quick.Stdout)
	}
}
