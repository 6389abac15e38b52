package store

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// botOf declares a bot; with nil options one that records its replies, or
// whatever is there.
func botOf(t testing.TB, st *Store, name string, opts *BotOptions) *Bot {
	t.Helper()
	bot, err := st.Bot(t.Context(), name, opts)
	if opts == nil && errors.Is(err, session.ErrNotFound) {
		bot, err = st.Bot(t.Context(), name, &BotOptions{RecordOnly: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return bot
}

// The process that accepts an event may handle it as it has it; every other one
// decodes it.
func TestAHandlerSeesTheSameEventInEveryProcess(t *testing.T) {
	t.Parallel()
	bot := botOf(t, opened(t, "redis://"+miniredis.RunT(t).Addr(), nil), "bot", nil)
	for name, e := range map[string]session.Event{
		"a text":              {ID: "1", Kind: "k", Text: "hi", Platform: "web", User: "u"},
		"a time of this zone": {ID: "1", Time: time.Now()},
		"a time elsewhere":    {ID: "1", Time: time.Date(2024, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))},
		"a file":              {ID: "1", File: &session.File{Name: "a", Type: "text/plain", Data: []byte("abc")}},
		"a payload":           {ID: "1", Payload: map[string]int{"n": 1}},
	} {
		here, err := bot.encodeEvent(e, bot.options())
		if err != nil {
			t.Fatal(err)
		}
		there, payload, err := stored.DecodeEvent(here.encoded)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(here.Event, there) || !reflect.DeepEqual(here.payload, payload) {
			t.Errorf("%s: here %#v, elsewhere %#v", name, here.Event, there)
		}
	}
}

// A webhook drops an event whose Accept returns ErrInvalid: so what is wrong with
// the program must never be that, and is an error of Bot.
func TestAcceptBlamesNoEventForTheProgram(t *testing.T) {
	t.Parallel()
	url := "redis://" + miniredis.RunT(t).Addr()
	st := opened(t, url, nil)
	for field, opts := range map[string]*BotOptions{
		"Backoff": {Backoff: -1}, "MaxAttempts": {MaxAttempts: -1}, "HistoryLimit": {HistoryLimit: -1}, "InboxLimit": {InboxLimit: -1},
		"InboxBytes": {InboxBytes: -1}, "DedupeWindow": {DedupeWindow: -1}, "MaxWait": {MaxWait: -1}, "DeadLimit": {DeadLimit: -1},
		"Initial": {Initial: string(make([]byte, 300))},
	} {
		if bot, err := st.Bot(t.Context(), "bot", opts); bot != nil || !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "BotOptions."+field) {
			t.Errorf("a bad %s: %v, %v; want ErrInvalid with its name", field, bot, err)
		}
	}
	if _, err := st.Bot(t.Context(), "a bot", &BotOptions{}); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
	for field, opts := range map[string]*Options{"Lease": {Lease: 1}, "MaxTurn": {MaxTurn: 1}} {
		if _, err := Open(t.Context(), url, opts); !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("a %s that is much too short: %v", field, err)
		}
	}
	good := botOf(t, st, "bot", nil)
	for what, e := range map[string]session.Event{"no id": {Text: "hi"}, "a payload without an encoding": {ID: "1", Payload: func() {}}} {
		if _, err := good.Accept(t.Context(), "1", e); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := good.Accept(t.Context(), "", session.Event{ID: "1"}); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("an empty session id: %v", err)
	}
}
