package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A fleet is what replicas that have nothing to do ask of the server, in a
// second. Each is a store with a client of its own, in this process.
type fleet struct {
	Replicas int     `json:"replicas"`
	Calls    float64 `json:"calls_per_second"`    // by the clients
	Commands float64 `json:"commands_per_second"` // and what their scripts call
	Error    string  `json:"error,omitempty"`
}

func (b *bench) idleFleets(ctx context.Context) (found []*fleet, err error) {
	for _, replicas := range []int{1, b.config.fleet} {
		fmt.Fprintf(b.progress, "\r\033[Kidle fleet of %d", replicas)
		f := &fleet{Replicas: replicas}
		found = append(found, f)
		if err := b.idleFleet(ctx, f); err != nil {
			f.Error = err.Error()
		}
		if err := ctx.Err(); err != nil {
			return found, err
		}
	}
	fmt.Fprint(b.progress, "\r\033[K")
	return found, nil
}

func (b *bench) idleFleet(ctx context.Context, f *fleet) (err error) {
	p, url, err := newProxy(b.server.url)
	if err != nil {
		return err
	}
	defer p.close()
	e := b.env()
	e.url = url
	var mu sync.Mutex
	var replicas []*ours
	defer func() {
		var closing errgroup.Group
		for _, o := range replicas {
			closing.Go(o.close)
		}
		err = errors.Join(err, closing.Wait(), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	var opening errgroup.Group
	for range f.Replicas {
		opening.Go(func() error {
			o, err := newOurs(ctx, e, 0, nil)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			replicas = append(replicas, o)
			return nil
		})
	}
	if err := opening.Wait(); err != nil {
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
	called, began := p.counted(), time.Now()
	if err := pause(ctx, b.config.watch); err != nil {
		return err
	}
	calls, took := p.counted().calls()-called.calls(), time.Since(began).Seconds()
	after, err := b.server.info(ctx)
	if err != nil {
		return err
	}
	f.Calls = float64(calls) / took
	f.Commands = float64(after.since(before).calls()) / took
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
