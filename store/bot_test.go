package store

import (
	"errors"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/session"
)

// A webhook drops an event whose Accept returns ErrInvalid: so what is wrong with
// the program must never be that.
func TestAcceptBlamesNoEventForTheProgram(t *testing.T) {
	t.Parallel()
	st := opened(t, "redis://"+miniredis.RunT(t).Addr(), nil)
	for what, bot := range map[string]*Bot{
		"a negative back-off":            st.Bot("bot", &BotOptions{Backoff: -1}),
		"an initial state too long":      st.Bot("bot", &BotOptions{Initial: string(make([]byte, 300))}),
		"a bad name":                     st.Bot("a bot", nil),
		"a Start with a bad state":       st.Bot("bot", &BotOptions{Start: func(session.Event) string { return "" }}),
		"a Start that panics":            st.Bot("bot", &BotOptions{Start: func(session.Event) string { panic("no") }}),
		"a lease that is much too short": st.Bot("bot", &BotOptions{Lease: 1}),
	} {
		if _, err := bot.Accept(t.Context(), "1", session.Event{ID: "1", Text: "hi"}); err == nil || errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := st.Bot("bot", nil)
	for what, e := range map[string]session.Event{"no id": {Text: "hi"}, "a payload without an encoding": {ID: "1", Payload: func() {}}} {
		if _, err := good.Accept(t.Context(), "1", e); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := good.Accept(t.Context(), "", session.Event{ID: "1"}); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("an empty session id: %v", err)
	}
}
