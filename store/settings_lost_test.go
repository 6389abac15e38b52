package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// What becomes of settings that a server has lost: by a FLUSHALL, or at a fail-over.

const botsKey = "bs:bots"

// lose deletes all settings, as a FLUSHALL does.
func lose(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	if err := client.Del(t.Context(), botsKey).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsThatAreGoneAreBackAfterOneAsk(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	var log logged
	client := observer(t, url)
	knows := botOf(t, asking(t, url, eachTime, &store.Options{Logger: log.logger()}), "bot", &store.BotOptions{Initial: "a", TTL: -1})
	also := botOf(t, asking(t, url, eachTime, &store.Options{Logger: log.logger()}), "bot", nil)
	configure(t, knows, begins("b"))
	initial(t, also)
	was, line := settingsOf(t, knows), client.HGet(t.Context(), botsKey, "bot").Val()
	must(t, client.FlushAll(t.Context()).Err())
	for _, bot := range []*store.Bot{also, knows} {
		if got := initial(t, bot); got != "b" {
			t.Errorf("a session begins in %q", got)
		}
		if got := client.HGet(t.Context(), botsKey, "bot").Val(); got != line {
			t.Errorf("stored is %s, want %s", got, line)
		}
	}
	if got := settingsOf(t, also); got != was {
		t.Errorf("settings %+v, want %+v", got, was)
	}
	if lines := log.lines("put back"); len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
		t.Errorf("lines in the log: %q, want one", lines)
	}
}

// What a process knows counts, whoever comes first after the loss: one that has not
// heard of the last change, or a program that knows nothing and declares the bot.
func TestTheLastChangeIsBackAfterALossWhoeverComesFirst(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	for name, test := range map[string]struct {
		changes int // before the loss
		first   func(t *testing.T, bot string, behind *store.Bot)
	}{
		"a program declares what was never changed": {0, func(t *testing.T, bot string, _ *store.Bot) {
			botOf(t, open(t, url, nil), bot, &store.BotOptions{Initial: "new"})
		}},
		"a program declares what was changed": {2, func(t *testing.T, bot string, _ *store.Bot) {
			botOf(t, open(t, url, nil), bot, &store.BotOptions{Initial: "new"})
		}},
		"a process puts back an older revision": {2, func(t *testing.T, _ string, behind *store.Bot) {
			if got := settingsOf(t, behind); got.Options.Initial != "1" {
				t.Fatalf("it put back %+v", got)
			}
		}},
		"an older copy of the data is there": {2, func(t *testing.T, bot string, behind *store.Bot) {
			settingsOf(t, behind)
			if got := client.HGet(t.Context(), botsKey, bot).Val(); !strings.Contains(got, `"1"`) {
				t.Fatalf("it has %s", got)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bot := strings.ReplaceAll(name, " ", "-")
			knows := botOf(t, asking(t, url, eachTime, nil), bot, &store.BotOptions{Initial: "0"})
			behind := botOf(t, asking(t, url, notAgain, nil), bot, nil)
			for n := range test.changes {
				if n == 1 {
					behind = botOf(t, asking(t, url, notAgain, nil), bot, nil)
				}
				configure(t, knows, begins(fmt.Sprint(n+1)))
			}
			was := settingsOf(t, knows)
			lose(t, client)
			test.first(t, bot, behind)
			initial(t, knows)
			for _, other := range []*store.Bot{knows, behind} {
				if got := settingsOf(t, other); got != was {
					t.Errorf("settings %+v, want %+v", got, was)
				}
			}
			configure(t, behind, func(o *store.BotOptions) { o.DeadLimit = 7 })
			want := was.Options
			want.DeadLimit = 7
			if got := settingsOf(t, knows); got.Options != want || got.Revision != was.Revision+1 || !got.Changed.After(was.Changed) {
				t.Errorf("settings after a change %+v, want %+v", got, want)
			}
		})
	}
}

// Its settings may have been lost, declared anew, and in use for days.
func TestAProcessThatRestedTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	st := asking(t, url, eachTime, nil)
	rested := botOf(t, st, "bot", &store.BotOptions{Initial: "a"})
	configure(t, rested, begins("b"))
	lose(t, client)
	others := botOf(t, open(t, url, nil), "bot", &store.BotOptions{Initial: "new"})
	st.Rest(time.Hour)
	if got := settingsOf(t, rested); got != settingsOf(t, others) || got.Options.Initial != "new" {
		t.Errorf("settings %+v", got)
	}
	if got := initial(t, rested); got != "new" {
		t.Errorf("a session begins in %q", got)
	}
	st.Rest(time.Hour)
	lose(t, client)
	if got := initial(t, rested); got != "new" || client.HLen(t.Context(), botsKey).Val() != 1 {
		t.Errorf("a session begins in %q, and where nothing is there nothing is put back", got)
	}
}

// The first request after a long rest may find no network.
func TestAProcessThatRestedIsNotSureUntilAServerReplied(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	far, err := store.ParseURL(url)
	must(t, err)
	t.Cleanup(func() { far.Close() })
	st, err := store.New(t.Context(), far, nil)
	must(t, err)
	st.AskForSettings(eachTime)
	rested := botOf(t, st, "bot", &store.BotOptions{Initial: "a"})
	lose(t, client)
	botOf(t, open(t, url, nil), "bot", &store.BotOptions{Initial: "new"})
	var down deadHook
	far.AddHook(&down)
	st.Rest(time.Hour)
	down.on.Store(true)
	for range 3 {
		_, _ = rested.Session("x").Create(t.Context(), store.Origin{})
	}
	down.on.Store(false)
	if got := initial(t, rested); got != "new" {
		t.Errorf("a session begins in %q", got)
	}
}

// A deadHook fails all commands while it is on.
type deadHook struct{ on atomic.Bool }

func (h *deadHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *deadHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.on.Load() {
			cmd.SetErr(redis.ErrClosed)
			return redis.ErrClosed
		}
		return next(ctx, cmd)
	}
}

func (h *deadHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.on.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(redis.ErrClosed)
			}
			return redis.ErrClosed
		}
		return next(ctx, cmds)
	}
}

func TestAConfigureAfterALossChangesWhatThisProcessKnows(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	knows := botOf(t, asking(t, url, notAgain, nil), "bot", &store.BotOptions{Initial: "a"})
	configure(t, knows, begins("b"))
	lose(t, client)
	botOf(t, open(t, url, nil), "bot", &store.BotOptions{Initial: "new", DeadLimit: 3})
	configure(t, knows, func(o *store.BotOptions) { o.DeadLimit = 7 })
	if got := settingsOf(t, knows); got.Revision != 3 || got.Options.Initial != "b" || got.Options.DeadLimit != 7 {
		t.Errorf("settings %+v", got)
	}
}

// One bot's settings that cannot be put back keep no other's from it.
func TestEachBotsSettingsArePutBack(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	st := asking(t, url, eachTime, nil)
	for _, name := range []string{"a", "b", "c"} {
		botOf(t, st, name, nil)
	}
	must(t, client.HSet(t.Context(), botsKey, "a", "no JSON").Err())
	must(t, client.HDel(t.Context(), botsKey, "b", "c").Err())
	initial(t, botOf(t, st, "c", nil))
	if got := client.HKeys(t.Context(), botsKey).Val(); len(got) != 3 {
		t.Errorf("settings of %q are there", got)
	}
}
