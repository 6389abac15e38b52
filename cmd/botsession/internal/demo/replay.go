package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// errStalled ends a replay in which nothing happens any more.
var errStalled = errors.New("the replay stands still")

// replay starts the fleet and lets the users talk until each has got the last
// reply. If nothing happens any more it ends too, without an error: the comparison
// finds what is lost.
func (p *play) replay(ctx context.Context) error {
	var start errgroup.Group
	for range p.Replicas {
		start.Go(func() error { return p.join(ctx) })
	}
	if err := start.Wait(); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	helpers, stopHelpers := context.WithCancel(ctx)
	defer stopHelpers()
	var helping sync.WaitGroup
	helping.Go(func() { p.watch(helpers, cancel) })
	helping.Go(func() {
		if err := p.disturb(helpers); err != nil && helpers.Err() == nil {
			cancel(err)
		}
	})

	began := time.Now()
	err := p.talk(ctx)
	p.elapsed = time.Since(began)
	stopHelpers()
	helping.Wait()
	p.platform.copies.Wait()
	if errors.Is(err, errStalled) {
		p.progress.Say("nothing happens any more: given up")
		p.stalled = true
		return nil
	}
	return err
}

// talk lets the users play all dialogues, each the next that is left.
func (p *play) talk(ctx context.Context) error {
	users, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	users.Go(func() error {
		defer close(next)
		for i := range p.Dialogues {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range min(p.Users, len(p.Dialogues)) {
		users.Go(func() error {
			for i := range next {
				rng := mathrand.New(mathrand.NewPCG(p.Seed, uint64(i)))
				u := user{rng: rng, impatient: rng.Float64() < 0.2, duplicate: p.Duplicate, think: p.Think}
				if err := p.platform.say(ctx, u, p.platform.talks[p.Dialogues[i].id]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return users.Wait()
}

// join starts a replica.
func (p *play) join(ctx context.Context) error {
	started, err := p.fleet.join(ctx)
	if err != nil {
		return err
	}
	p.progress.Say("%s joined", started)
	return nil
}

// watch shows the figures, and gives up when nothing happens any more.
func (p *play) watch(ctx context.Context, giveUp func(error)) {
	began, patience := time.Now(), cmp.Or(p.patience, 30*time.Second)+2*p.Think+p.Work+2*p.Lease
	for sleep(ctx, 100*time.Millisecond) == nil {
		done := p.platform.replied.Load()
		pace := float64(done) / time.Since(began).Seconds()
		live, duplicates, over := p.fleet.size(), p.platform.duplicates.Load(), p.platform.takenOver.Load()
		p.progress.Show(done,
			fmt.Sprintf("%.0f/s, %s, %d duplicates dropped, %d taken over", pace, text.Count(live, "replica", "replicas"), duplicates, over),
			fmt.Sprintf("%.0f/s, %d repl., %d dupl., %d taken over", pace, live, duplicates, over),
			fmt.Sprintf("%.0f/s", pace))
		if time.Since(time.Unix(0, p.platform.lastProgress.Load())) > patience {
			giveUp(errStalled)
			return
		}
	}
}

// sleep waits. It returns the cause of a ctx that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
