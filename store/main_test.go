package store_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/warm"
)

// What the store says of the troubles that these tests make would hide what they
// find.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	warm.Set(0, 10*time.Millisecond)
	redistest.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until polls a server, and fails the test where that does not help.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// patiently repeats what a test needs to begin with, where nothing but time is in its
// way: on a busy machine one short time-out may be too few.
func patiently[T any](t testing.TB, do func() (T, error)) T {
	t.Helper()
	v, err := do()
	for end := time.Now().Add(5 * time.Minute); err != nil && time.Now().Before(end); v, err = do() {
		var network net.Error
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, session.ErrUnknownOutcome) && !errors.Is(err, io.EOF) &&
			!errors.Is(err, redis.ErrPoolTimeout) && !errors.As(err, &network) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// botOf declares a bot; with nil options one that records its replies, or
// whatever is there.
func botOf(t testing.TB, st *store.Store, name string, opts *store.BotOptions) *store.Bot {
	t.Helper()
	return patiently(t, func() (*store.Bot, error) {
		bot, err := st.Bot(t.Context(), name, opts)
		if opts == nil && errors.Is(err, session.ErrNotFound) {
			bot, err = st.Bot(t.Context(), name, &store.BotOptions{RecordOnly: true})
		}
		return bot, err
	})
}

var brings sync.Map // *store.Bot -> *store.ServeOptions

// botWith declares a bot, and notes what it is served with.
func botWith(t testing.TB, st *store.Store, name string, opts store.BotOptions, serve store.ServeOptions) *store.Bot {
	t.Helper()
	opts.RecordOnly = serve.Send == nil
	bot := botOf(t, st, name, &opts)
	brings.Store(bot, &serve)
	return bot
}

// with returns what a bot is served with: nothing, unless botWith was told.
func with(bot *store.Bot) *store.ServeOptions {
	if serve, ok := brings.Load(bot); ok {
		return serve.(*store.ServeOptions)
	}
	return nil
}
