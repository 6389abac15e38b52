package main

import (
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func TestReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	hotel := w.bot(t, "hotel", &store.BotOptions{})
	w.accept(t, hotel, "eve", session.Event{ID: "1", Text: "hi", User: "eve\x1b[2J", Platform: "telegram"})
	answered(t, w.env, strings.NewReader("y\n"), "reply", "pizza/42", "We are \x1b[2Jsorry.", "--as", "ops").check(t, transcript{0, "replied. pizza/42: nothing waits\n", `
say     "We are \x1b[2Jsorry."
to      user ann on telegram
then    it is in the chat, and is not sent: the bot only records its replies (recordonly)
Say it? [y/N] `})
	chat, err := bot.Session("42").History(t.Context(), session.Last(1))
	if err != nil || len(chat) != 1 || chat[0].String() != "We are \x1b[2Jsorry." || chat[0].From != session.FromBot {
		t.Errorf("the chat ends with %+v, %v", chat, err)
	}
	command(t, w.env, "reply", "hotel/eve", "one", "--yes").check(t, transcript{0, "replied. hotel/eve: 1 waits, 1 reply to send, and nobody serves hotel\n", `
say     "one"
to      user eve\x1b[2J on telegram
then    it is in the chat, and is sent
`})
	got := command(t, w.env, "reply", "hotel/eve", "two", "--dry-run", "--redact")
	got.check(t, transcript{0, `
say     (3 bytes)
to      user eve\x1b[2J on telegram
then    it is in the chat, and is sent behind 1 reply
`, "nothing was done (--dry-run): it would reply 1 session\n"})
	for line, want := range map[string]transcript{
		"reply pizza/43 hi --yes":   {3, "", "error: no session pizza/43: it was never created, was destroyed, or has expired\nhint: botsession ls pizza\n"},
		"reply pizza/42 --yes":      {2, "", "error: a text is needed\nhint: botsession reply pizza/42 \"What can I do for you?\"\n"},
		"reply pizza/42 we are --y": {2, "", "error: unknown flag: --y\nhint: botsession reply --help lists the flags\n"},
		"reply pizza/42 we are -y":  {2, "", "error: a text of several words is written in quotes\nhint: botsession reply pizza/42 \"What can I do for you?\"\n"},
		"reply":                     {2, "", "error: reply needs one session, not 0\nhint: botsession reply pizza/42, as botsession ls prints it\n"},
	} {
		command(t, w.env, strings.Fields(line)...).check(t, want)
	}
}
