package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A woken is how long it takes from just before Accept, in a process that does
// not serve the bot, to the first line of the handler in another that does.
// Here both are in one process, by clients of their own, so that one clock
// tells.
type woken struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Slowest float64 `json:"slowest_us"`
	Error   string  `json:"error,omitempty"`
}

func (b *bench) wakes(ctx context.Context) (*woken, error) {
	b.say("wake-ups")
	w := &woken{}
	if err := b.wake(ctx, w); err != nil {
		w.Error = err.Error()
	}
	b.say("")
	return w, ctx.Err()
}

// wake measures one wake-up after the other, with a little time between them
// in which nothing happens.
func (b *bench) wake(ctx context.Context, w *woken) (err error) {
	e := b.env()
	defer func() { err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix)) }()
	var stores [2]*store.Store
	for i := range stores {
		if stores[i], err = store.Open(ctx, e.url, &store.Options{Namespace: e.prefix}); err != nil {
			return err
		}
		defer stores[i].Close()
	}
	var bots [2]*store.Bot
	for i := range bots {
		if bots[i], err = stores[i].Bot(ctx, oursBot, &store.BotOptions{RecordOnly: true}); err != nil {
			return err
		}
	}
	accepting, serving := bots[0], bots[1]

	began := make(chan time.Time, 1)
	served := make(chan error, 1)
	until, stop := context.WithCancel(ctx)
	go func() {
		served <- serving.Serve(until, func(context.Context, *store.Turn) error {
			began <- time.Now()
			return nil
		}, nil)
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()
	if err := awaitReplica(ctx, accepting, stores[1].Name()); err != nil {
		return err
	}

	const warmUps = 20
	var latencies []time.Duration
	for i := range warmUps + b.config.wakeUps {
		time.Sleep(5*time.Millisecond + rand.N(10*time.Millisecond))
		id := strconv.Itoa(i)
		start := time.Now()
		if _, err := accepting.Accept(ctx, "user-"+strconv.Itoa(i%64), session.Event{ID: id, Text: "wake up"}); err != nil {
			return err
		}
		select {
		case at := <-began:
			if i >= warmUps {
				latencies = append(latencies, at.Sub(start))
			}
		case <-time.After(10 * time.Second):
			return errors.New("an accepted event was not handled in ten seconds")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	slices.Sort(latencies)
	w.Samples = len(latencies)
	w.P50, w.P99 = micros(quantile(latencies, 0.5)), micros(quantile(latencies, 0.99))
	w.Slowest = micros(quantile(latencies, 1))
	return nil
}
