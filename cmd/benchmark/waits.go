package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/jedib0t/go-pretty/v6/table"
)

// A waiting is what waiting for events costs whose handlers, in another process, take a
// second each: the commands that both processes send a second more than without anybody
// who waits, and how long after the handler's end Wait returns. Both are in this process,
// by clients of their own, so that one clock tells.
type waiting struct {
	Waiters  int     `json:"waiters"` // at a time
	Commands float64 `json:"commands_per_second"`
	Samples  int     `json:"samples"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Slowest  float64 `json:"slowest_us"`
	Error    string  `json:"error,omitempty"`
}

func (b *bench) waits(ctx context.Context) (*waiting, error) {
	b.say("waits")
	w := &waiting{Waiters: b.config.waiters}
	if err := b.wait(ctx, w); err != nil {
		w.Error = err.Error()
	}
	b.say("")
	return w, ctx.Err()
}

// wait measures with and without waits. Each caller begins a turn when its time has
// come, whatever the one before took, so that there are as many turns of both kinds.
func (b *bench) wait(ctx context.Context, w *waiting) (err error) {
	const every = 1250 * time.Millisecond // begins a caller's next turn, so that four fifths of them wait
	callers := w.Waiters * 5 / 4
	e := b.env()
	defer func() { err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix)) }()
	var sent sentCommands
	var stores [2]*store.Store
	var bots [2]*store.Bot
	for i := range stores {
		client, err := store.ParseURL(e.url)
		if err != nil {
			return err
		}
		defer client.Close()
		client.AddHook(&sent)
		// Few buckets: how many of their lists have something to be read is left to chance.
		if stores[i], err = store.New(ctx, client, &store.Options{Namespace: e.prefix, Buckets: 4}); err != nil {
			return err
		}
		defer stores[i].Close()
		if bots[i], err = stores[i].Bot(ctx, oursBot, &store.BotOptions{RecordOnly: true}); err != nil {
			return err
		}
	}
	var ended sync.Map // event id → a channel that gets when its handler returned
	handle := func(_ context.Context, t *store.Turn) error {
		time.Sleep(time.Second)
		t.Reply("done")
		if c, ok := ended.Load(t.Event().ID); ok {
			c.(chan time.Time) <- time.Now()
		}
		return nil
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- bots[1].Serve(serving, handle, &store.ServeOptions{Concurrency: 2 * callers}) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()
	if err := awaitReplica(ctx, bots[0], stores[1].Name()); err != nil {
		return err
	}

	var mu sync.Mutex
	var latencies []time.Duration
	turn := func(ctx context.Context, id string, user int, waits bool) error {
		c := make(chan time.Time, 10) // a handler may run again
		ended.Store(id, c)
		defer ended.Delete(id)
		r, err := bots[0].Accept(ctx, "user-"+strconv.Itoa(user), session.Event{ID: id, Text: "wait"})
		if err != nil {
			return err
		}
		if !waits {
			select {
			case <-c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if o, err := r.Wait(ctx); err != nil || len(o.Replies) != 1 {
			return fmt.Errorf("event %s: %d replies, %w", id, len(o.Replies), errors.Join(err, o.Err()))
		}
		took := time.Since(<-c)
		mu.Lock()
		latencies = append(latencies, took)
		mu.Unlock()
		return nil
	}
	// run returns how many commands were sent a second, after a warm-up.
	run := func(waits bool) (float64, error) {
		warm, until := time.Now().Add(2*every), time.Now().Add(2*every+b.config.watch)
		group, ctx := errgroup.WithContext(ctx)
		for user := range callers {
			group.Go(func() error {
				next := time.Now().Add(every * time.Duration(user) / time.Duration(callers))
				for n := 0; next.Before(until); n++ {
					if err := pause(ctx, time.Until(next)); err != nil {
						return err
					}
					next = next.Add(every)
					if err := turn(ctx, fmt.Sprint(user, " ", n, " ", waits), user, waits); err != nil {
						return err
					}
				}
				return nil
			})
		}
		var commands float64
		group.Go(func() error {
			if err := pause(ctx, time.Until(warm)); err != nil {
				return err
			}
			mu.Lock()
			latencies = nil
			mu.Unlock()
			before, began := sent.n.Load(), time.Now()
			if err := pause(ctx, time.Until(until)); err != nil {
				return err
			}
			commands = float64(sent.n.Load()-before) / time.Since(began).Seconds()
			return nil
		})
		return commands, group.Wait()
	}
	without, err := run(false)
	if err != nil {
		return err
	}
	with, err := run(true)
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	w.Commands, w.Samples = max(with-without, 1), len(latencies)
	w.P50, w.P99, w.Slowest = micros(quantile(latencies, 0.5)), micros(quantile(latencies, 0.99)), micros(quantile(latencies, 1))
	return nil
}

// sentCommands counts the commands that clients send, those inside scripts not.
type sentCommands struct{ n atomic.Int64 }

func (s *sentCommands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *sentCommands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.n.Add(1)
		return next(ctx, cmd)
	}
}

func (s *sentCommands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		s.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

func (r *report) printWait(p *printer) {
	if w := r.Wait; w != nil {
		p.row("Waiting for handlers elsewhere that take a second: the commands that it adds, and from a handler's end to Wait's",
			table.Row{"waiters", "commands a second", "samples", "p50", "p99", "slowest"},
			w.Error, table.Row{w.Waiters, thousands(w.Commands), w.Samples, duration(w.P50), duration(w.P99), duration(w.Slowest)})
	}
}
