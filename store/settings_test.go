package store_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

func configure(t testing.TB, bot *store.Bot, change func(*store.BotOptions)) {
	t.Helper()
	if err := bot.Configure(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

func settingsOf(t testing.TB, bot *store.Bot) store.Settings {
	t.Helper()
	s, err := bot.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each process reads what another one wrote as it was meant.
func TestSettingsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for name, opts := range map[string]store.BotOptions{
		"never": {TTL: -1}, "a negative TTL": {TTL: -time.Hour}, "a fine TTL": {TTL: time.Hour + time.Nanosecond},
		"a text": {Initial: "<a> & \"b\" \u2028 é \\"}, "the longest TTL": {TTL: math.MaxInt64, DedupeWindow: math.MaxInt64, MaxWait: math.MaxInt64},
		"large numbers": {HistoryLimit: math.MaxInt32, InboxLimit: math.MaxInt32, InboxBytes: math.MaxInt32, MaxAttempts: math.MaxInt32, DeadLimit: math.MaxInt32},
		"a flag":        {RecordOnly: true},
	} {
		bot := strings.ReplaceAll(name, " ", "-")
		wrote := settingsOf(t, botOf(t, open(t, url, nil), bot, &opts))
		read := botOf(t, open(t, url, nil), bot, &opts)
		if got := settingsOf(t, read); got != wrote {
			t.Errorf("%s: read %+v, want %+v", name, got, wrote)
		}
		want := opts
		if want.TTL < 0 {
			want.TTL = -1
		}
		if got := wrote.Options; want.TTL != 0 && got.TTL != want.TTL || want.Initial != "" && got.Initial != want.Initial || got.HistoryLimit != want.HistoryLimit {
			t.Errorf("%s: stored %+v, want %+v", name, got, want)
		}
		configure(t, read, func(o *store.BotOptions) { o.HistoryLimit = 3 })
	}
	for _, opts := range []store.BotOptions{{Initial: "caf\xe9"}, {InboxLimit: math.MaxInt}, {MaxAttempts: math.MaxInt}} {
		if _, err := open(t, url, nil).Bot(t.Context(), "bad", &opts); !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "BotOptions.") {
			t.Errorf("%+v: %v, want ErrInvalid with the field's name", opts, err)
		}
	}
}

// The largest settings mean what they say: no number is so large that it is taken
// for a small one.
func TestTheLargestSettingsWork(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt32
	bot := botOf(t, open(t, redistest.Single(t), nil), "bot", &store.BotOptions{
		TTL: math.MaxInt64, HistoryLimit: most, InboxLimit: most, InboxBytes: most, DedupeWindow: math.MaxInt64,
		MaxAttempts: most, Backoff: math.MaxInt64, MaxWait: math.MaxInt64, DeadLimit: most, RecordOnly: true,
	})
	ctx := t.Context()
	for _, text := range []string{"good", "bad"} {
		_, err := bot.Accept(ctx, text, session.Event{ID: "e", Text: text})
		must(t, err)
	}
	turns, err := bot.Drain(ctx, func(_ context.Context, turn *store.Turn) error {
		if turn.Event().Text == "bad" {
			return errors.New("no")
		}
		turn.Reply("re")
		return nil
	}, nil)
	if err != nil || turns != 2 {
		t.Errorf("%d turns, %v; want 2", turns, err)
	}
	status, err := bot.Session("bad").Status(ctx)
	must(t, err)
	if status.Waiting != 1 || status.Event.At.Before(time.Now().Add(24*time.Hour)) {
		t.Errorf("after a failure: %+v, want a long wait", status)
	}
	again, err := bot.Accept(ctx, "good", session.Event{ID: "e", Text: "good"})
	if err != nil || !again.Duplicate {
		t.Errorf("a duplicate: %+v, %v", again, err)
	}
	if snap, err := bot.Session("good").Load(ctx); err != nil || !snap.Expires.IsZero() && snap.Expires.Before(time.Now().Add(24*time.Hour)) {
		t.Errorf("the session: %+v, %v; want one that lives for long", snap, err)
	}
}
