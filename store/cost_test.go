package store_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// counters are what a server counts by itself.
type counters struct {
	scripts, commands, in, out int64
	micros                     int64 // that scripts took
}

func (c counters) minus(before counters) counters {
	return counters{c.scripts - before.scripts, c.commands - before.commands, c.in - before.in, c.out - before.out, c.micros - before.micros}
}

// count reads the server's counters. The INFO calls count too, the same in
// every measurement.
func count(t testing.TB, client *redis.Client) counters {
	t.Helper()
	info := client.Info(t.Context(), "stats", "commandstats").Val()
	var c counters
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case key == "total_net_input_bytes":
			c.in, _ = strconv.ParseInt(value, 10, 64)
		case key == "total_net_output_bytes":
			c.out, _ = strconv.ParseInt(value, 10, 64)
		case strings.HasPrefix(key, "cmdstat_"):
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, _ := strconv.ParseInt(calls, 10, 64)
			if key == "cmdstat_evalsha" {
				c.scripts += n
				_, micros, _ := strings.Cut(value, "usec=")
				micros, _, _ = strings.Cut(micros, ",")
				c.micros, _ = strconv.ParseInt(micros, 10, 64)
			} else if key != "cmdstat_info" {
				c.commands += n
			}
		}
	}
	return c
}

func open(t testing.TB, url string, opts *store.Options) *store.Store {
	t.Helper()
	st := patiently(t, func() (*store.Store, error) { return store.Open(t.Context(), url, opts) })
	t.Cleanup(func() { st.Close() })
	return st
}

func observer(t testing.TB, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// trips counts the scripts that a store sends, by a hook on its client, but for
// heartbeats and for what looks on: the test, and those who wait for outcomes.
type trips struct{ n atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); cmd.Name() == "evalsha" && !slices.Contains([]any{lua.Beat.SHA(), lua.Load.SHA(), lua.History.SHA()}, args[1]) {
			c.n.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestAnUncontendedTurnTakesTwoRoundTripsUntilItsRepliesCanBeSent(t *testing.T) {
	for _, sends := range []bool{true, false} {
		t.Run(fmt.Sprintf("with Send %t", sends), func(t *testing.T) {
			t.Parallel()
			client, err := store.ParseURL(redistest.Single(t))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			st, err := store.New(t.Context(), client, &store.Options{Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			hook := &trips{}
			client.AddHook(hook)
			atSend := make(chan int64, 1)
			var brings store.ServeOptions
			if sends {
				brings.Send = func(context.Context, store.Delivery) error { atSend <- hook.n.Load(); return nil }
			}
			bot := botWith(t, st, "b", store.BotOptions{}, brings)
			serve(t, bot, func(ctx context.Context, turn *store.Turn) error {
				turn.Reply("yes")
				return nil
			})
			for i := range 3 { // the first makes the session, and the server learns the scripts
				idle(t, bot, "42")
				before := hook.n.Load()
				r, err := bot.Accept(t.Context(), "42", session.Event{ID: fmt.Sprint(i), Text: "hi"})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err = r.Wait(ctx)
				cancel()
				must(t, err)
				var used int64
				if sends {
					used = bounded.Receive(t, "the reply is sent", atSend) - before
				} else {
					idle(t, bot, "42")
					used = hook.n.Load() - before
				}
				if i > 0 && used != 2 {
					t.Errorf("turn %d took %d round trips, want 2", i, used)
				}
			}
			idle(t, bot, "42")
			before := hook.n.Load()
			if r, err := bot.Accept(t.Context(), "42", session.Event{ID: "0"}); err != nil || !r.Duplicate {
				t.Fatalf("a duplicate: %+v, %v", r, err)
			}
			if used := hook.n.Load() - before; used != 1 {
				t.Errorf("a duplicate took %d round trips, want 1", used)
			}
		})
	}
}

// serve runs a replica until the test ends.
func serve(t *testing.T, bot *store.Bot, h store.Handler) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- bot.Serve(ctx, h, with(bot)) }()
	t.Cleanup(func() {
		stop()
		if err := bounded.Receive(t, "Serve ends", done); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// idle waits until nobody holds the session and nothing waits.
func idle(t *testing.T, bot *store.Bot, id string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		st, err := bot.Session(id).Status(t.Context())
		if err != nil || st.Waiting+st.Unsent == 0 && st.Lease.Work == session.WorkNone {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("session %s is not at rest", id)
}

// Guarantee 8.
func TestFlatTheCostOfATurnDoesNotGrowWithTheChatHistory(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st, client := open(t, url, &store.Options{Lease: time.Minute}), observer(t, url)
	bot := botOf(t, st, "b", &store.BotOptions{InboxLimit: 10000, RecordOnly: true})
	turn := func(ctx context.Context, turn *store.Turn) error {
		turn.SetIntent(&session.Intent{Name: "order", Score: 0.9})
		turn.Move("ordering")
		turn.Set("size", "large")
		turn.Reply("a large pizza it is")
		return nil
	}
	measure := func(id string, history int) counters {
		s := bot.Session(id)
		if _, err := s.Create(t.Context(), store.Origin{State: "ordering"}); err != nil {
			t.Fatal(err)
		}
		var chat []session.Entry
		for i := range history {
			chat = append(chat, session.Entry{Message: session.Message{From: session.FromUser, Content: fmt.Sprintf("message number %d", i)}})
		}
		if _, err := s.Apply(t.Context(), session.Change{Chat: chat}); err != nil {
			t.Fatal(err)
		}
		one := func(i int) {
			if _, err := bot.Accept(t.Context(), id, session.Event{ID: strconv.Itoa(i), Text: "a large one please"}); err != nil {
				t.Fatal(err)
			}
			at, err := bot.Drain(t.Context(), turn, nil)
			if err != nil || at != 1 {
				t.Fatalf("%d turns, %v", at, err)
			}
		}
		one(10)
		for i := 11; ; i += 5 {
			minute, before := time.Now().Minute(), count(t, client)
			for n := range 5 {
				one(i + n)
			}
			if spent := count(t, client).minus(before); time.Now().Minute() == minute { // the first turn of a minute writes the index, too
				return spent
			}
		}
	}
	short, long := measure("a", 10), measure("b", 10000)
	t.Logf("five turns: %+v with 10 messages, %+v with 10,000", short, long)
	if short.commands != long.commands || short.scripts != long.scripts {
		t.Errorf("commands: %+v with 10 messages of history, %+v with 10,000", short, long)
	}
	// The numbers in the hash have a few digits more, and nothing else.
	if more := long.in + long.out - short.in - short.out; more > 5*40 {
		t.Errorf("%d bytes more with 10,000 messages of history", more)
	}
}

func TestAnIdleFleetHardlyPolls(t *testing.T) {
	t.Parallel()
	// perSecond serves with so many replicas until enough says that what they ask is little;
	// on a busy machine it takes a while until all know each other.
	perSecond := func(replicas int, enough func(commands float64) bool) (commands float64) {
		url := redistest.Single(t)
		client := observer(t, url)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for range replicas {
			st := open(t, url, nil)
			bot := botOf(t, st, "b", nil)
			go bot.Serve(ctx, func(context.Context, *store.Turn) error { return nil }, nil)
		}
		time.Sleep(3 * time.Second)
		for range 10 {
			before, began := count(t, client), time.Now()
			time.Sleep(4 * time.Second)
			used := count(t, client).minus(before)
			// Commands in a script count too: so many does the server really run.
			if commands = float64(used.scripts+used.commands) / time.Since(began).Seconds(); enough(commands) {
				break
			}
		}
		return commands
	}
	one := perSecond(1, func(float64) bool { return true })
	twenty := perSecond(20, func(commands float64) bool { return commands <= 2*one })
	t.Logf("commands a second of an idle fleet: %.0f for one replica, %.0f for twenty", one, twenty)
	if twenty > 2*one {
		t.Errorf("twenty idle replicas ask %.0f commands a second, one asks %.0f", twenty, one)
	}
}
