package store_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// What becomes of replies that were to be sent when their bot is made to record them
// only, and the other way round.

func recordOnly(yes bool) func(*store.BotOptions) {
	return func(o *store.BotOptions) { o.RecordOnly = yes }
}

// taker is a Send that takes what it is given once it may.
type taker struct {
	may  atomic.Bool
	took atomic.Int64
}

func (s *taker) serve() *store.ServeOptions {
	return &store.ServeOptions{Send: func(context.Context, store.Delivery) error {
		if !s.may.Load() {
			return errors.New("not yet")
		}
		s.took.Add(1)
		return nil
	}}
}

func replies(_ context.Context, turn *store.Turn) error {
	turn.Reply("re " + turn.Event().Text)
	return nil
}

func acceptAndDrain(t *testing.T, bot *store.Bot, text string, serve *store.ServeOptions) {
	t.Helper()
	_, err := bot.Accept(t.Context(), "1", session.Event{ID: text, Text: text})
	must(t, err)
	_, err = bot.Drain(t.Context(), replies, serve)
	must(t, err)
}

func unsent(t *testing.T, bot *store.Bot) int64 {
	t.Helper()
	status, err := bot.Session("1").Status(t.Context())
	must(t, err)
	return status.Unsent
}

func TestRepliesThatWaitAreNotLostWhenTheBotRecordsOnly(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	var send taker
	bot := botOf(t, open(t, url, nil), "bot", &store.BotOptions{Backoff: time.Millisecond, MaxAttempts: 1000})
	acceptAndDrain(t, bot, "before", send.serve())
	configure(t, bot, recordOnly(true))
	until(t, "its next attempt was due", func() bool {
		_, err := bot.Drain(t.Context(), replies, nil)
		must(t, err)
		status, err := bot.Session("1").Status(t.Context())
		must(t, err)
		return strings.Contains(status.Reply.Error, "ServeOptions.Send")
	})
	acceptAndDrain(t, bot, "while it records", nil)
	if n := unsent(t, bot); n != 1 {
		t.Errorf("%d replies wait to be sent, want the one from before", n)
	}
	if chat, err := bot.Session("1").History(t.Context(), session.All()); err != nil || len(chat) != 4 {
		t.Errorf("chat: %v, %v; want both events with their replies", chat, err)
	}
	configure(t, bot, recordOnly(false))
	send.may.Store(true)
	until(t, "it is sent", func() bool {
		_, err := bot.Drain(t.Context(), replies, send.serve())
		must(t, err)
		return unsent(t, bot) == 0
	})
	if n := send.took.Load(); n != 1 {
		t.Errorf("%d replies were sent, want 1", n)
	}
}

func TestReplicasWithSendGoOnSendingWhenTheBotRecordsOnly(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	var send taker
	bot := botOf(t, asking(t, url, eachTime, nil), "bot", &store.BotOptions{Backoff: time.Millisecond, MaxAttempts: 1000})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bot.Serve(ctx, replies, send.serve()) }()
	_, err := bot.Accept(t.Context(), "1", session.Event{ID: "before", Text: "before"})
	must(t, err)
	until(t, "the reply waits", func() bool { return unsent(t, bot) == 1 })
	configure(t, bot, recordOnly(true))
	send.may.Store(true)
	until(t, "it is sent", func() bool { return unsent(t, bot) == 0 })
	stop()
	must(t, <-ended)
}

// A process may go by an older copy for some seconds.
func TestRepliesAreNotLostToAReplicaThatHasNotHeardYet(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	bot := botOf(t, open(t, url, nil), "bot", &store.BotOptions{RecordOnly: true})
	behind := botOf(t, asking(t, url, notAgain, nil), "bot", nil)
	configure(t, bot, recordOnly(false))
	_, err := bot.Session("1").Create(t.Context(), store.Origin{})
	must(t, err)
	must(t, bot.Session("1").Reply(t.Context(), "hello"))
	_, err = behind.Drain(t.Context(), replies, nil)
	must(t, err)
	if n := unsent(t, bot); n != 1 {
		t.Errorf("%d replies wait to be sent, want 1", n)
	}
	var send taker
	send.may.Store(true)
	until(t, "it is sent", func() bool {
		_, err := bot.Drain(t.Context(), replies, send.serve())
		must(t, err)
		return send.took.Load() == 1
	})
}

func TestRepliesThatNobodySendsAnyMoreBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	bot := botOf(t, open(t, url, nil), "bot", &store.BotOptions{Backoff: time.Millisecond, MaxAttempts: 1000, MaxWait: 50 * time.Millisecond})
	acceptAndDrain(t, bot, "before", (&taker{}).serve())
	configure(t, bot, recordOnly(true))
	until(t, "it is given up", func() bool {
		_, err := bot.Drain(t.Context(), replies, nil)
		must(t, err)
		return unsent(t, bot) == 0
	})
	letters, err := bot.Session("1").DeadLetters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].Reply == nil || !strings.Contains(letters[0].Error, "ServeOptions.Send") {
		t.Errorf("dead letters %+v, %v; want the reply, with the reason", letters, err)
	}
}
