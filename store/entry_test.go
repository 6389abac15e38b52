package store

import (
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
)

func TestAnEventPutsIntoTheChatWhatTheUserSaid(t *testing.T) {
	t.Parallel()
	file := &session.File{Name: "map.png"}
	for name, c := range map[string]struct {
		e       session.Event
		chat    []string
		message string
	}{
		"a text":            {session.Event{Text: "hi"}, []string{"hi"}, "hi"},
		"a file":            {session.Event{File: file}, []string{"map.png"}, "map.png"},
		"a file and a text": {session.Event{File: file, Text: "look"}, []string{"map.png", "look"}, "look"},
		"a timer":           {session.Event{Kind: "timer"}, nil, ""},
	} {
		var chat []string
		for _, m := range said(c.e) {
			if m.From != session.FromUser {
				t.Errorf("%s: from %s", name, m.From)
			}
			chat = append(chat, m.String())
		}
		if strings.Join(chat, "|") != strings.Join(c.chat, "|") || c.e.Message() != c.message {
			t.Errorf("%s gives %q and %q", name, chat, c.e.Message())
		}
	}
}
