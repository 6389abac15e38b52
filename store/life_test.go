package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// crowd makes the same call for many sessions, 32 at a time.
func crowd(t testing.TB, n int, do func(id string)) {
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(fmt.Sprint("user ", i))
			}
		})
	}
	bounded.Wait(t, "all calls return", &callers)
}

// leftovers are the keys of sessions and their index, but for what outlives a
// session until its own time is over: event ids, and answers to calls.
func leftovers(t *testing.T, client *redis.Client) (keys []string) {
	t.Helper()
	scan := client.Scan(t.Context(), 0, "bs:{*", 1000).Iterator()
	for scan.Next(t.Context()) {
		if name := store.KeyName(scan.Val()); name != "events" && name != "calls" && name != "moves" {
			keys = append(keys, scan.Val())
		}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// Thousands of sessions end under a fleet that serves them, and are removed by
// it: nothing of them stays in the index.
func TestSessionsExpireInThousandsUnderAFleet(t *testing.T) {
	t.Parallel()
	const n = 2000
	url := redistest.Single(t)
	opts := &store.BotOptions{TTL: 300 * time.Millisecond, RecordOnly: true}
	serving, stop := context.WithCancel(t.Context())
	var fleet sync.WaitGroup
	defer bounded.Wait(t, "Serve ends everywhere", &fleet)
	defer stop()
	patient := &store.Options{Timeout: time.Minute}
	for range 2 {
		bot := botOf(t, open(t, url, patient), "bot", opts)
		fleet.Go(func() {
			if err := bot.Serve(serving, func(_ context.Context, t *store.Turn) error { t.Move("talking"); t.Reply("hi"); return nil }, nil); err != nil {
				t.Error(err)
			}
		})
	}
	st, client := open(t, url, patient), observer(t, url)
	bot := botOf(t, st, "bot", opts)
	crowd(t, n, func(id string) {
		if _, err := bot.Accept(t.Context(), id, session.Event{ID: "hello", Text: "hello"}); err != nil {
			t.Error(err)
		}
	})
	for limit := time.Now().Add(5 * time.Minute); len(leftovers(t, client)) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("still there: %q", leftovers(t, client))
		}
	}
	counts, err := bot.Counts(t.Context())
	if err != nil || counts.Sessions != 0 || len(counts.States) != 0 || counts.Due != 0 {
		t.Errorf("counted after the end of all: %+v, %v", counts, err)
	}
	if len(counts.Moves) != 1 || counts.Moves[0].Count != n {
		t.Errorf("moves made: %+v, want %d", counts.Moves, n)
	}
	stop()
	bounded.Wait(t, "Serve ends everywhere", &fleet)
	if err := st.Whole(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nobody removes what expires, for nobody serves; some of it comes back. What
// comes back is fresh, and a Drain then finds and removes the rest.
func TestSessionsExpireInThousandsAndNobodyLooks(t *testing.T) {
	t.Parallel()
	const n = 1000
	url := redistest.Single(t)
	st, client := open(t, url, nil), observer(t, url)
	bot := botOf(t, st, "bot", &store.BotOptions{TTL: 50 * time.Millisecond, RecordOnly: true})
	crowd(t, n, func(id string) {
		if _, err := bot.Session(id).Create(t.Context(), store.Origin{State: "old", User: id}); err != nil {
			t.Error(err)
		}
	})
	last := bot.Session("user 1")
	for limit := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		status, err := store.Gather(bot.Sessions(t.Context(), store.Filter{}))
		if err != nil {
			t.Fatal(err)
		}
		if len(status) == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d sessions have not expired", len(status))
		}
	}
	if _, err := last.Load(t.Context()); err == nil {
		t.Error("a session that expired can be loaded")
	}
	if err := st.Whole(t.Context()); err != nil {
		t.Error("before anybody looked:", err)
	}

	forever := bot
	must(t, bot.Configure(t.Context(), func(o *store.BotOptions) { o.TTL = -1 }))
	var back atomic.Int64
	crowd(t, n/2, func(id string) {
		created, err := forever.Session(id).Create(t.Context(), store.Origin{State: "new"})
		if err != nil || !created {
			t.Errorf("%s comes back: created %t, %v", id, created, err)
		}
		back.Add(1)
	})
	if _, err := forever.Drain(t.Context(), func(context.Context, *store.Turn) error { return nil }, nil); err != nil {
		t.Fatal(err)
	}
	counts, err := bot.Counts(t.Context())
	if err != nil || counts.Sessions != back.Load() || counts.States["new"] != back.Load() || len(counts.States) != 1 {
		t.Errorf("%d came back, counted are %+v, %v", back.Load(), counts, err)
	}
	if users, err := store.Gather(bot.Sessions(t.Context(), store.Filter{User: "user 1"})); err != nil || len(users) != 0 {
		t.Errorf("the user of the old life is still listed: %v, %v", users, err)
	}
	if err := st.Whole(t.Context()); err != nil {
		t.Error(err)
	}
	crowd(t, n, func(id string) { _, _ = forever.Session(id).Destroy(t.Context()) })
	// Bells for lists that are empty are left, until somebody looks.
	if _, err := forever.Drain(t.Context(), func(context.Context, *store.Turn) error { return nil }, nil); err != nil {
		t.Fatal(err)
	}
	if keys := leftovers(t, client); len(keys) > 0 {
		t.Errorf("left after the end of all: %q", keys)
	}
}
