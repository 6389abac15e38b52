package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/store"
)

// A fleet is what replicas that have nothing to do ask of the server, in a
// second. Each is a store with a client of its own, in this process, and serves
// all the bots.
type fleet struct {
	Replicas int     `json:"replicas"`
	Bots     int     `json:"bots"`
	Commands float64 `json:"commands_per_second"` // with those that scripts call
	Error    string  `json:"error,omitempty"`
}

func (b *bench) idleFleets(ctx context.Context) (found []*fleet, err error) {
	for _, f := range []*fleet{{Replicas: 1, Bots: 1}, {Replicas: 1, Bots: b.config.bots}, {Replicas: b.config.fleet, Bots: b.config.bots}} {
		b.say("idle fleet, %d replicas, %d bots", f.Replicas, f.Bots)
		found = append(found, f)
		if err := b.idleFleet(ctx, f); err != nil {
			f.Error = err.Error()
		}
		if err := ctx.Err(); err != nil {
			return found, err
		}
	}
	b.say("")
	return found, nil
}

func (b *bench) idleFleet(ctx context.Context, f *fleet) (err error) {
	e := b.env()
	serving, stop := context.WithCancel(ctx)
	var served errgroup.Group
	stores := make([]*store.Store, 0, f.Replicas)
	defer func() {
		stop()
		err = errors.Join(err, served.Wait())
		for _, st := range stores {
			err = errors.Join(err, st.Close())
		}
		err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	// All open before the first one serves, since then the server may be busy.
	var bots []*store.Bot
	for range f.Replicas {
		st, err := store.Open(ctx, e.url, &store.Options{Namespace: e.prefix})
		if err != nil {
			return err
		}
		stores = append(stores, st)
		for n := range f.Bots {
			bot, err := st.Bot(ctx, fmt.Sprintf("bot-%d", n), &store.BotOptions{RecordOnly: true})
			if err != nil {
				return err
			}
			bots = append(bots, bot)
		}
	}
	for _, bot := range bots {
		served.Go(func() error {
			return bot.Serve(serving, func(context.Context, *store.Turn) error { return nil }, nil)
		})
	}
	// The fleet may keep the server busy: who only looks is patient.
	looking, err := store.Open(ctx, e.url, &store.Options{Namespace: e.prefix, ReadOnly: true, Timeout: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer looking.Close()
	if err := awaitFleet(ctx, looking, f); err != nil {
		return err
	}
	// Each learns of the others when it next says that it is there: once a
	// second in a small fleet, every ten seconds at the latest in a large one.
	if err := pause(ctx, min(2*time.Second+time.Duration(f.Replicas)*100*time.Millisecond, 15*time.Second)); err != nil {
		return err
	}
	before, err := b.server.info(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, b.config.watch); err != nil {
		return err
	}
	after, err := b.server.info(ctx)
	if err != nil {
		return err
	}
	f.Commands = float64(after.since(before).calls()) / time.Since(began).Seconds()
	return nil
}

// awaitFleet waits until every replica serves every bot.
func awaitFleet(ctx context.Context, st *store.Store, f *fleet) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for n := range f.Bots {
		bot, err := st.Bot(ctx, fmt.Sprintf("bot-%d", n), nil)
		if err != nil {
			return err
		}
		for there := 0; there < f.Replicas; {
			there = 0
			for _, err := range bot.Replicas(ctx) {
				if err != nil {
					return err
				}
				there++
			}
			if there < f.Replicas {
				if err := pause(ctx, 50*time.Millisecond); err != nil {
					return fmt.Errorf("%d of %d replicas serve: %w", there, f.Replicas, err)
				}
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
