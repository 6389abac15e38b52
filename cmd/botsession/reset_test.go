package main

import (
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	w.poisoned(t, bot, "a", 1)
	const plan = `
pizza/42
state   ordering → start
delete  data, flags, intent, file and last message, but not the chat of 5 messages
pizza/a
state   start → start
delete  data, flags, intent, file and last message, but not the chat of 0 messages
then    2 events that wait are handled in the new life; that the first had 1 failure is forgotten
`
	args := []string{"reset", "pizza/42", "pizza/a", "pizza/b"}
	const none = "error: no session pizza/b: it was never created, was destroyed, or has expired\nhint: botsession ls pizza"
	command(t, w.env, append(args, "--dry-run")...).check(t, transcript{3, plan, none + "\nnothing was done (--dry-run): it would reset 2 sessions\n"})
	answered(t, w.env, strings.NewReader("y\n"), args...).check(t, transcript{3,
		"reset. pizza/42: nothing waits\nreset. pizza/a: 2 wait, and nobody serves pizza\n", none + plan + "Reset 2 sessions? [y/N] "})
	snap, err := bot.Session("42").Load(t.Context())
	if err != nil || snap.State != "start" || len(snap.Data) != 0 {
		t.Errorf("it is now %+v, %v", snap, err)
	}
	if chat, err := bot.Session("42").History(t.Context(), session.All()); err != nil || len(chat) != 5 {
		t.Errorf("the chat has %d messages, %v", len(chat), err)
	}
	got := command(t, w.env, "reset", "pizza/42", "--drop-chat", "--yes")
	if got.Code != 0 || !strings.Contains(got.Err, "last message, and the chat of 5 messages\n") {
		t.Errorf("%+v", got)
	}
	if chat, err := bot.Session("42").History(t.Context(), session.All()); err != nil || len(chat) != 0 {
		t.Errorf("the chat has %d messages, %v", len(chat), err)
	}
}

func TestResetOfWhatIsInHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "hotel", &store.BotOptions{RecordOnly: true})
	w.holdsUp(t, bot, "eve", session.Event{ID: "1", Text: "/hang"})
	command(t, w.env, "reset", "hotel/eve", "--dry-run").check(t, transcript{0, `
state   start → start
delete  data, flags, intent, file and last message, but not the chat of 0 messages
holder  replica-a since TIME: it will be fenced; what its handler does outside goes on
then    1 event that waits is handled in the new life
`, "nothing was done (--dry-run): it would reset 1 session\n"})
}
