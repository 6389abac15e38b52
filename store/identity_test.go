package store

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/call"
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
	bot := botOf(t, serving, "bot", nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- bot.Serve(ctx, func(_ context.Context, turn *Turn) error { turn.Reply("re"); return nil }, nil)
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
			r, err := botOf(t, st, "bot", nil).Accept(ctx, "1", session.Event{ID: "e" + st.Name(), Text: "hi"})
			must(err)
			o, err := r.Wait(ctx)
			if err != nil || o.Status != session.Handled {
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

// eventually asks until ok, and fails the test if that never comes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !ok() {
		if !call.Sleep(ctx, 5*time.Millisecond) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// A wake-up is seen as the message itself, on the channel to which the replica
// listens: the event would be found without it, a second later.
func TestWakeUpsTravelBetweenProcessesOnBothSidesOfAFlush(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	before, serving := opened(t, url, nil), opened(t, url, nil)
	serve, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- botOf(t, serving, "bot", nil).Serve(serve, func(context.Context, *Turn) error { return nil }, nil)
	}()
	t.Cleanup(func() { stop(); bounded.Receive(t, "Serve ends", ended) })
	heard := c.PSubscribe(ctx, "bs:*:wake:*")
	defer heard.Close()
	messages := heard.Channel()

	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	after := opened(t, url, nil)
	channel := ""
	eventually(t, "the replica listens on the channel of the new data", func() bool {
		channel = serving.layout.wakeChannel(after.identity().id, serving.Name())
		names, err := botOf(t, after, "bot", nil).replicas(ctx)
		return err == nil && len(names) == 1 && c.PubSubNumSub(ctx, channel).Val()[channel] == 1
	})
	for _, st := range []*Store{before, after} {
		bot := botOf(t, st, "bot", nil)
		if err := bot.wake(ctx, st.layout.place(session.Ref{Bot: "bot", ID: st.Name()})); err != nil {
			t.Fatal(err)
		}
		m := bounded.Receive(t, "the wake-up is heard", messages)
		if m.Payload != "bot/"+st.Name() || m.Channel != channel {
			t.Errorf("%s was heard on %s, and the replica listens on %s", m.Payload, m.Channel, channel)
		}
	}
}

// However often a process says that it is there, it looks at the identity once a second.
func TestAProcessLooksAtTheIdentityOnceASecond(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	st := opened(t, url, nil)
	began := time.Now()
	for range 40 {
		if err := st.beat(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stats := c.Info(ctx, "commandstats").Val()
	_, rest, _ := strings.Cut(stats, "cmdstat_hgetall:calls=")
	calls, _, _ := strings.Cut(rest, ",")
	// Open itself reads the key twice, and each heartbeat reads those of the replicas.
	if n, err := strconv.Atoi(calls); err != nil || n > 2+40+2+int(time.Since(began)/followEvery) {
		t.Errorf("the key was read %s times in one second's heartbeats", calls)
	}
}

// Watches that began before and after a flush are in each other's way no more
// than any two: each hears of everything.
func TestWatchesOnBothSidesOfAFlushHearOfEverything(t *testing.T) {
	url := redistest.Single(t)
	c := client(t, url)
	life := watchLife
	watchLife = 600 * time.Millisecond
	defer func() { watchLife = life }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	channels := func(n int64) func() bool {
		return func() bool {
			all := c.PubSubChannels(ctx, "bs:*:watch:bot").Val()
			return len(all) == 1 && c.PubSubNumSub(ctx, all...).Val()[all[0]] == n
		}
	}
	var watches sync.WaitGroup
	watch := func(st *Store) <-chan string {
		ids := make(chan string, 1000)
		watches.Go(func() {
			for n, err := range botOf(t, st, "bot", nil).Watch(ctx) {
				if err != nil {
					t.Error(err)
				} else if n.Kind == "created" {
					ids <- n.Ref.ID
				}
			}
		})
		return ids
	}
	opts := &Options{Buckets: 2}
	before := watch(opened(t, url, opts))
	eventually(t, "the first watch", channels(1))
	if err := c.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	st := opened(t, url, opts)
	after := watch(st)
	eventually(t, "both watches on one channel", channels(2))
	for i := range 20 {
		id := strconv.Itoa(i)
		if _, err := botOf(t, st, "bot", nil).Session(id).Create(ctx, Origin{}); err != nil {
			t.Fatal(err)
		}
		for which, ids := range []<-chan string{before, after} {
			select {
			case got := <-ids:
				if got != id {
					t.Errorf("watch %d heard of %s, not of %s", which, got, id)
				}
			case <-ctx.Done():
				t.Fatalf("watch %d did not hear of %s", which, id)
			}
		}
	}
	cancel()
	bounded.Wait(t, "the watches end", &watches)
}

// What a process would read or write in the wrong places it refuses, whichever
// way it was going to, and says so in the log once.
func TestAProcessThatKnowsOtherBucketsDoesNothingMore(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		change []any // HSET; none: another type
		want   error
	}{
		"other buckets":  {[]any{"buckets", "16"}, session.ErrUnsupported},
		"a newer layout": {[]any{"layout", "99"}, session.ErrNewerLayout},
		"garbage":        {[]any{"layout", "one"}, session.ErrCorrupt},
		"another type":   {nil, session.ErrCorrupt},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := redistest.Single(t)
			c, ctx := client(t, url), t.Context()
			var log lines
			st := opened(t, url, &Options{Buckets: 8, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			bot := botOf(t, st, "bot", nil)
			ended := make(chan error, 1)
			go func() {
				ended <- bot.Serve(ctx, func(context.Context, *Turn) error { return nil }, nil)
			}()
			eventually(t, "a replica", func() bool { names, _ := bot.replicas(ctx); return len(names) == 1 })
			if test.change == nil {
				c.Del(ctx, "bs:meta")
				c.LPush(ctx, "bs:meta", "x")
			} else {
				c.HSet(ctx, "bs:meta", test.change...)
			}
			serve := bounded.Receive(t, "Serve ends", ended)
			s := bot.Session("1")
			_, accept := bot.Accept(ctx, "1", session.Event{ID: "1"})
			_, list := Gather(bot.Sessions(ctx, Filter{}))
			_, counts := bot.Counts(ctx)
			_, replicas := Gather(bot.Replicas(ctx))
			_, bots := st.Bots(ctx)
			_, load := s.Load(ctx)
			_, letters := s.DeadLetters(ctx)
			_, updated := bot.Update(ctx, "1", func(context.Context, *Turn) error { return nil })
			_, drain := bot.Drain(ctx, func(context.Context, *Turn) error { return nil }, nil)
			watched := make(chan error, 1)
			go func() {
				for _, err := range bot.Watch(ctx) {
					watched <- err
					break
				}
			}()
			watch := bounded.Receive(t, "Watch ends", watched)
			for call, err := range map[string]error{
				"Serve": serve, "Accept": accept, "Sessions": list, "Counts": counts, "Replicas": replicas, "Bots": bots, "Load": load,
				"DeadLetters": letters, "Drain": drain, "Watch": watch, "Check": st.Whole(ctx), "Set": s.Set(ctx, "k", "v"),
				"Update": updated,
			} {
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "restart") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v, want %v", call, err, test.want)
				}
			}
			if keys := c.Keys(ctx, "bs:{*").Val(); len(keys) > 0 {
				t.Errorf("written: %v", keys)
			}
			if n := strings.Count(log.String(), "\n"); n != 1+len(st.Warnings()) || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("the log:\n%s", log.String())
			}
		})
	}
}

// lines is what a logger wrote.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestAMetaKeyThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	for what, make := range map[string]func() error{
		"no layout":         func() error { return c.HSet(ctx, "bs:meta", "buckets", "8", "id", "x").Err() },
		"a field of others": func() error { return c.HSet(ctx, "bs:meta", "color", "red").Err() },
		"garbage":           func() error { return c.HSet(ctx, "bs:meta", "layout", "one", "buckets", "8", "id", "x").Err() },
		"no number":         func() error { return c.HSet(ctx, "bs:meta", "layout", "2", "buckets", "many", "id", "x").Err() },
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

// slowPing makes each PING take that long, as on a server that is far away.
type slowPing time.Duration

func (slowPing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (slowPing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (d slowPing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "ping" {
			call.Sleep(ctx, time.Duration(d))
		}
		return next(ctx, cmd)
	}
}

func TestALeaseThatAFewRoundTripsWouldEndIsWarnedOf(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	c.AddHook(slowPing(20 * time.Millisecond))
	for lease, warned := range map[time.Duration]bool{100 * time.Millisecond: true, time.Hour: false} {
		var log lines
		st, err := New(t.Context(), c, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		before := log.String()
		st.warnOfShortLease(t.Context(), "bot", lease)
		said := strings.TrimPrefix(log.String(), before)
		if warned != strings.Contains(said, "level=WARN") || warned && (!strings.Contains(said, "lease=100ms") || !strings.Contains(said, "round trip\"=")) {
			t.Errorf("a lease of %v: %q", lease, said)
		}
	}
}

// A watch is renewed while its caller does something else, and what is lost is
// told.
func TestWatchGoesOnWhileItsCallerIsBusyAndTellsOfGaps(t *testing.T) {
	url := redistest.Single(t)
	c := client(t, url)
	bot := botOf(t, opened(t, url, &Options{Buckets: 2}), "bot", nil)
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
		for ctx.Err() == nil && c.Exists(ctx, bot.store.layout.key("watch", place{ref: session.Ref{Bot: "bot"}})).Val() == 0 {
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
