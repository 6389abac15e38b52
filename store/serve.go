package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// Serve makes this process one of the bot's replicas: it handles events, sends
// replies, takes over what other replicas left, and removes what has expired,
// until ctx ends. Then it starts nothing new, lets running turns finish within
// [BotOptions.Grace], hands the rest back so that another replica goes on at
// once, and returns nil.
//
// A process serves a bot once at a time; a second Serve on the same Bot answers
// [session.ErrExists], a nil handler [session.ErrInvalid]. A server that cannot
// be reached meanwhile is no error: Serve tries until it can.
func (b *Bot) Serve(ctx context.Context, h Handler) error {
	if b.err != nil {
		return fmt.Errorf("serve: %w", b.err)
	}
	if h == nil {
		return fmt.Errorf("serve %s: %w: %w", b.name, session.ErrInvalid, errNoHandler)
	}
	if b.store.opts.ReadOnly {
		return fmt.Errorf("serve %s: %w: %w", b.name, session.ErrInvalid, errReadOnly)
	}
	r := b.newRunner(ctx, h, b.opts.Concurrency)
	if !b.serving.CompareAndSwap(nil, r) {
		return fmt.Errorf("serve %s: %w: this process serves it", b.name, session.ErrExists)
	}
	defer b.serving.Store(nil)

	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){r.beats, r.looks, r.wakes} {
		loops.Go(func() { loop(ctx) })
	}
	<-ctx.Done()
	r.mu.Lock()
	close(r.stopping)
	r.mu.Unlock()
	loops.Wait()
	r.shutDown()
	return nil
}

// shutDown waits for what runs, for as long as the grace lasts, then hands back
// what still runs: first by asking, through the handlers' context, then by
// taking it.
func (r *runner) shutDown() {
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(r.bot.opts.Grace):
	}
	r.stop(ErrShutdown)
	select {
	case <-done:
		return
	case <-time.After(min(r.bot.opts.Lease/3, time.Second)):
	}
	r.mu.Lock()
	var hung []*hold
	for h := range r.holds {
		hung = append(hung, h)
	}
	r.mu.Unlock()
	for _, h := range hung {
		if h.take() {
			r.release(h, "back", 0, ErrShutdown)
		}
	}
}

// looks looks through this replica's share of the buckets once a second for
// sessions that are due, and every ten seconds for those that have expired. It
// makes sure of what wake-ups make fast.
func (r *runner) looks(ctx context.Context) {
	for round := 0; ; round++ {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.bot.store.log.Warn("look for due sessions failed", "bot", r.bot.name, "error", err)
		}
		if round%10 == 5 {
			if err := r.reap(ctx); err != nil && ctx.Err() == nil {
				r.bot.store.log.Warn("look for expired sessions failed", "bot", r.bot.name, "error", err)
			}
		}
		if !sleep(ctx, 900*time.Millisecond+rand.N(200*time.Millisecond)) {
			return
		}
	}
}

// batch is how many sessions of a bucket one look takes up.
const batch = 32

func (r *runner) look(ctx context.Context) error {
	for again := true; again && ctx.Err() == nil; {
		again = false
		ids, err := r.bot.listed(ctx, "due", r.bot.fleet.share(r.bot))
		if err != nil {
			return err
		}
		for bucket, due := range ids {
			again = again || len(due) == batch
			for _, id := range due {
				if !r.enter(ctx) {
					return nil
				}
				r.spawnClaim(place{ref: session.Ref{Bot: r.bot.name, ID: id}, bucket: bucket})
			}
		}
		if again && !sleep(ctx, 20*time.Millisecond) { // let those claims leave the list
			return nil
		}
	}
	return nil
}

// reap buries what has expired.
func (r *runner) reap(ctx context.Context) error {
	for again := true; again; {
		again = false
		ids, err := r.bot.listed(ctx, "expiry", r.bot.fleet.share(r.bot))
		if err != nil {
			return err
		}
		for bucket, expired := range ids {
			again = again || len(expired) == batch
			for _, id := range expired {
				if ctx.Err() != nil {
					return nil
				}
				at := place{ref: session.Ref{Bot: r.bot.name, ID: id}, bucket: bucket}
				if _, err := r.bot.bury(ctx, at, "expired"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ahead is how far a look sees into the future, because the clock it goes by is
// always a little behind. What is not due yet the script does not hand out.
const ahead = 20 * time.Millisecond

// listed returns, by bucket, ids whose score in a list of times has passed.
func (b *Bot) listed(ctx context.Context, list string, buckets []int) (map[int][]string, error) {
	cmds := make(map[int]*redis.StringSliceCmd, len(buckets))
	_, err := b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, bucket := range buckets {
			at := place{ref: session.Ref{Bot: b.name}, bucket: bucket}
			now := strconv.FormatInt(b.store.clock.at(bucket, time.Now().Add(ahead)), 10)
			cmds[bucket] = pipe.ZRangeByScore(ctx, b.store.layout.key(list, at), &redis.ZRangeBy{Min: "-inf", Max: now, Count: batch})
		}
		return nil
	})
	ids := map[int][]string{}
	var first error
	for bucket, cmd := range cmds {
		if found, e := cmd.Result(); e == nil && len(found) > 0 {
			ids[bucket] = found
		} else if e != nil {
			first = e
		}
	}
	if len(ids) > 0 {
		return ids, nil // some servers answered: go on with those
	}
	return nil, errors.Join(err, first)
}

// Drain handles, on the caller's goroutine, everything that is due now, and
// returns how many turns it ran: for tests, and for programs that run now and
// then instead of serving (a scheduled job, a function). What fails is left for
// a later Drain or for the replicas that serve.
func (b *Bot) Drain(ctx context.Context, h Handler) (turns int, err error) {
	if b.err != nil {
		return 0, fmt.Errorf("drain: %w", b.err)
	}
	if h == nil {
		return 0, fmt.Errorf("drain %s: %w: %w", b.name, session.ErrInvalid, errNoHandler)
	}
	if err := b.store.syncClock(ctx); err != nil {
		return 0, fmt.Errorf("drain %s: %w", b.name, err)
	}
	r := b.newRunner(ctx, h, 1)
	failed := map[string]bool{}
	var faults []error
	for found := true; found && ctx.Err() == nil; {
		found = false
		ids, err := b.listed(ctx, "due", b.store.layout.all())
		if err != nil {
			return r.turns, fmt.Errorf("drain %s: %w", b.name, err)
		}
		for bucket, due := range ids {
			for _, id := range due {
				if failed[id] {
					continue
				}
				at := place{ref: session.Ref{Bot: b.name, ID: id}, bucket: bucket}
				did, err := r.claim(at)
				if err != nil {
					failed[id] = true
					faults = append(faults, fmt.Errorf("drain %s: %w", at.ref, err))
				}
				found = found || did
			}
		}
	}
	return r.turns, errors.Join(append(faults, context.Cause(ctx))...)
}
