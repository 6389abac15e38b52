package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
)

func client(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	c, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func opened(t *testing.T, url string, opts *Options) *Store {
	t.Helper()
	st, err := Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// After FLUSHALL processes that opened before and after it find each other.
func TestProcessesFindEachOtherAfterAFlush(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	before, serving := opened(t, url, nil), opened(t, url, nil)
	bot := serving.Bot("bot", nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- bot.Serve(ctx, func(_ context.Context, turn *Turn) error { turn.Reply("re"); return nil })
	}()
	t.Cleanup(func() { stop(); <-ended })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		must(c.FlushAll(ctx).Err())
		after := opened(t, url, nil) // makes an identity of its own, unless the old one was put back before
		must(before.follow(ctx))
		must(serving.follow(ctx))
		if a, b, d := before.identity().id, serving.identity().id, after.identity().id; a != b || b != d {
			t.Fatalf("round %d: the identities are %s, %s and %s", round, a, b, d)
		}
		for _, st := range []*Store{before, after} {
			r, err := st.Bot("bot", nil).Accept(ctx, "1", session.Event{ID: "e" + st.Name(), Text: "hi"})
			must(err)
			o, err := r.Wait(ctx)
			if err != nil || o.Status != Handled {
				t.Fatalf("round %d: %+v, %v", round, o, err)
			}
		}
	}
	must(c.FlushAll(ctx).Err())
	must(before.follow(ctx))
	if got := c.HGet(ctx, "bs:meta", "id").Val(); got != before.identity().id {
		t.Errorf("the id that was put back is %q, want %q", got, before.identity().id)
	}
}

func TestAProcessThatKnowsOtherBucketsWritesNothingMore(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, st := client(t, url), opened(t, url, &Options{Buckets: 8})
	for _, change := range [][]string{{"buckets", "16"}, {"layout", "99"}} {
		if err := c.HSet(t.Context(), "bs:meta", change).Err(); err != nil {
			t.Fatal(err)
		}
		if err := st.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := st.Bot("bot", nil).Accept(t.Context(), "1", session.Event{ID: "1"})
		if !errors.Is(err, session.ErrUnsupported) || !strings.Contains(err.Error(), "restart") {
			t.Errorf("after %v: %v", change, err)
		}
	}
	if keys := c.Keys(t.Context(), "bs:{*").Val(); len(keys) > 0 {
		t.Errorf("written: %v", keys)
	}
}

func TestAMetaKeyThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	for what, make := range map[string]func() error{
		"no layout":         func() error { return c.HSet(ctx, "bs:meta", "buckets", "8", "id", "x").Err() },
		"a field of others": func() error { return c.HSet(ctx, "bs:meta", "color", "red").Err() },
		"garbage":           func() error { return c.HSet(ctx, "bs:meta", "layout", "one", "buckets", "8", "id", "x").Err() },
		"no number":         func() error { return c.HSet(ctx, "bs:meta", "layout", "1", "buckets", "many", "id", "x").Err() },
		"another type":      func() error { return c.Set(ctx, "bs:meta", "x", 0).Err() },
	} {
		c.Del(ctx, "bs:meta")
		if err := make(); err != nil {
			t.Fatal(err)
		}
		before := c.Dump(ctx, "bs:meta").Val()
		for _, readOnly := range []bool{false, true} {
			if _, err := Open(ctx, url, &Options{ReadOnly: readOnly}); !errors.Is(err, session.ErrCorrupt) || !strings.Contains(err.Error(), "bs:meta") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if c.Dump(ctx, "bs:meta").Val() != before {
			t.Errorf("%s: the key was changed", what)
		}
	}
}

func TestClientsThatReadFromReplicasAreRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []*redis.ClusterOptions{{ReadOnly: true}, {RouteByLatency: true}, {RouteRandomly: true}} {
		o.Addrs = []string{"127.0.0.1:1"}
		c := redis.NewClusterClient(o)
		defer c.Close()
		if _, err := New(t.Context(), c, nil); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, c := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil), redis.NewRing(&redis.RingOptions{})} {
		if _, err := New(t.Context(), c, nil); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%T: %v", c, err)
		}
	}
}

func TestAcksWithoutReplicasAreWarnedOf(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), &Options{Acks: 1})
	if all := strings.Join(st.Warnings(), "\n"); !strings.Contains(all, "asks for 1 replicas, and the server has 0") {
		t.Errorf("warnings: %s", all)
	}
}

// A watch is renewed while its caller does something else, and what is lost is
// told.
func TestWatchGoesOnWhileItsCallerIsBusyAndTellsOfGaps(t *testing.T) {
	url := redistest.Single(t)
	c := client(t, url)
	bot := opened(t, url, &Options{Buckets: 2}).Bot("bot", nil)
	life, queue := watchLife, watchQueue
	watchLife, watchQueue = 300*time.Millisecond, 20
	defer func() { watchLife, watchQueue = life, queue }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	create := func(from, n int) {
		for i := range n {
			if _, err := bot.Session(strings.Repeat("x", from+i+1)).Create(ctx, Origin{}); err != nil {
				t.Error(err)
			}
		}
	}
	step, seen := 0, 0
	go func() { // once somebody watches
		for ctx.Err() == nil && c.Exists(ctx, "bs:{"+bucketTag(0, 2)+"}:w:bot").Val() == 0 {
			time.Sleep(time.Millisecond)
		}
		create(0, 1)
	}()
	for n, err := range bot.Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		switch {
		case step == 0 && n.Kind == "created":
			step = 1
			time.Sleep(3 * watchLife) // busy for much longer than a watch lives
			create(100, 5)
			seen = 0
		case step == 1:
			if n.Kind == "gap" {
				t.Errorf("a gap although nothing was lost")
			}
			if seen < 5 {
				break
			}
			step = 2
			create(200, 40) // more than the queue holds, before any is read
		case step == 2 && n.Kind == "gap":
			step = 3
			if err := c.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		case step == 3 && n.Kind == "gap":
			return
		}
	}
	t.Errorf("the watch ended in step %d", step)
}
