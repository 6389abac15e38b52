package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
)

// Serve makes this process one of the bot's replicas until ctx ends: it
// handles events with h, sends replies, takes over what other replicas left,
// and removes expired sessions. When ctx ends it starts nothing new, gives
// running turns [ServeOptions.Grace] to finish, hands the rest to the other
// replicas, and returns nil. A server that cannot be reached is no reason to
// return: Serve goes on trying.
//
// Serve returns
//
//   - [session.ErrInvalid] for a nil h; if there is no [ServeOptions.Send]
//     though the bot's replies are to be sent, also when [Bot.Configure]
//     changes that later; and if there is one though the bot has
//     [BotOptions.RecordOnly];
//   - [session.ErrExists] if this process serves the bot already;
//   - [session.ErrUnsupported], [session.ErrNewerLayout] or
//     [session.ErrCorrupt] if the data on the server is replaced by data that
//     [Open] would refuse;
//   - an error that wraps redis.ErrClosed if the store is closed first.
func (b *Bot) Serve(ctx context.Context, h Handler, opts *ServeOptions) error {
	if err := b.store.usable(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if h == nil {
		return fmt.Errorf("serve %s: %w: %w", b.name, session.ErrInvalid, errNoHandler)
	}
	if b.store.opts.ReadOnly {
		return fmt.Errorf("serve %s: %w", b.name, session.ErrReadOnly)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	serve, err := opts.withDefaults()
	if err == nil {
		err = b.current(ctx).fits(serve)
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", b.name, err)
	}
	r := b.newRunner(ctx, h, serve, serve.Concurrency)
	if !b.serving.CompareAndSwap(nil, r) {
		return fmt.Errorf("serve %s: %w: this process serves it", b.name, session.ErrExists)
	}
	defer b.serving.Store(nil)

	var loops sync.WaitGroup
	loops.Go(func() { b.store.warnOfShortLease(ctx, b.name, b.store.opts.Lease) })
	loops.Go(func() {
		r.fault = r.settles(ctx)
		cancel()
	})
	b.store.join(r)
	loops.Go(func() {
		r.complain(ctx, "heartbeat failed", b.store.beat(ctx)) // and so it learns which buckets are its share
		r.dues(ctx)
	})
	loops.Go(func() { r.expiries(ctx) })
	select {
	case <-ctx.Done():
	case <-b.store.ended:
		cancel()
	}
	r.mu.Lock()
	close(r.stopping)
	r.mu.Unlock()
	loops.Go(func() { b.store.quit(ctx, r) })
	r.shutDown()
	loops.Wait()
	err = b.store.usable()
	if err == nil {
		err = r.fault
	}
	if err != nil {
		return fmt.Errorf("serve %s: %w", b.name, err)
	}
	return nil
}

// complain logs what one of the loops could not do, unless Serve ends anyway.
func (r *runner) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && r.bot.store.usable() == nil {
		r.bot.store.log.WarnContext(ctx, what, "bot", r.bot.name, "error", err)
	}
}

// complain logs what a loop for all bots could not do, unless ctx has ended.
func (s *Store) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && s.usable() == nil {
		s.log.WarnContext(ctx, what, "error", err)
	}
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
	case <-time.After(r.serve.Grace):
	}
	r.stop(session.ErrShutdown)
	select {
	case <-done:
		return
	case <-time.After(min(r.bot.store.opts.Lease/3, time.Second)):
	}
	r.mu.Lock()
	var hung []*hold
	for h := range r.holds {
		hung = append(hung, h)
	}
	r.mu.Unlock()
	var released sync.WaitGroup
	for _, h := range hung {
		if h.take() {
			released.Go(func() {
				h.log().WarnContext(h.context(), "the function does not return after Serve's end, and is left alone", "work", string(h.work), "duration", h.leaveAlone())
				r.release(h, "back", 0, session.ErrShutdown.Error())
			})
		}
	}
	released.Wait()
}

// unreadable tells whether an error is about what is stored of a session, and so
// stays whoever asks again.
func unreadable(err error) bool {
	return errors.Is(err, session.ErrCorrupt) || errors.Is(err, session.ErrNewerLayout) ||
		errors.Is(err, session.ErrUnsupported) && !errors.Is(err, session.ErrNoPermission)
}

// Drain handles everything that is due now, one event after the other on the
// caller's goroutine, removes expired sessions, and returns how many turns it
// ran. It is for tests, and for programs that run now and then instead of
// serving, such as a scheduled job. What fails waits for a later Drain, or for
// the replicas that serve. Drain uses Send and Dead of opts, and returns
// [session.ErrInvalid] where [Bot.Serve] does.
func (b *Bot) Drain(ctx context.Context, h Handler, opts *ServeOptions) (turns int, err error) {
	if err := b.store.usable(); err != nil {
		return 0, fmt.Errorf("drain: %w", err)
	}
	if h == nil {
		return 0, fmt.Errorf("drain %s: %w: %w", b.name, session.ErrInvalid, errNoHandler)
	}
	serve, err := opts.withDefaults()
	if err == nil {
		err = b.current(ctx).fits(serve)
	}
	if err != nil {
		return 0, fmt.Errorf("drain %s: %w", b.name, err)
	}
	r := b.newRunner(ctx, h, serve, 1)
	// Its end is the replica's: the handler that runs is told, and its event handed back.
	defer context.AfterFunc(ctx, func() { r.stop(session.ErrShutdown) })()
	defer r.told(ctx)
	failed := map[string]bool{}
	var faults []error
	for again := true; again && ctx.Err() == nil; {
		again = false
		found, err := b.allDue(ctx)
		if err != nil {
			return r.turns, fmt.Errorf("drain %s: %w", b.name, err)
		}
		for _, at := range found {
			if failed[at.ref.ID] || ctx.Err() != nil {
				continue
			}
			did, err := r.claim(at, nil)
			if err != nil {
				failed[at.ref.ID] = true
				faults = append(faults, fmt.Errorf("drain %s: %w", at.ref, err))
			}
			again = again || did
		}
	}
	if _, err := r.reap(ctx, b.lists(b.store.layout.all())); err != nil {
		faults = append(faults, fmt.Errorf("drain %s: %w", b.name, err))
	}
	return r.turns, causes.Join(append(faults, context.Cause(ctx))...)
}

// allDue returns what is due of the bot: some of each bucket. Where some servers reply
// and have something, it is no error that others do not.
func (b *Bot) allDue(ctx context.Context) ([]place, error) {
	all := b.store.layout.all()
	found, _, _, err := b.passed(ctx, bellDue, b.lists(all))
	rung, e := b.store.rung(ctx, all)
	for _, bell := range rung {
		if bell.kind == bellHanded && bell.at.ref.Bot == b.name && !slices.Contains(found, bell.at) {
			found = append(found, bell.at)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, cmp.Or(err, e)
}
