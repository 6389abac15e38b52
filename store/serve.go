package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
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
		r.complain(ctx, "heartbeat failed", b.store.beat(ctx))
		loops.Go(func() { r.reaps(ctx) })
		r.looks(ctx)
	})
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
		r.bot.store.log.Warn(what, "bot", r.bot.name, "error", err)
	}
}

// complain logs what a loop for all bots could not do, unless ctx has ended.
func (s *Store) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && s.usable() == nil {
		s.log.Warn(what, "error", err)
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
				h.log().Warn("the function does not return after Serve's end, and is left alone", "work", string(h.work), "since", h.leaveAlone())
				r.release(h, "back", 0, session.ErrShutdown.Error())
			})
		}
	}
	released.Wait()
}

// looks looks through this replica's share of the buckets once a second for
// sessions that are due. It makes sure of what wake-ups make fast.
func (r *runner) looks(ctx context.Context) {
	for {
		r.complain(ctx, "look for due sessions failed", r.look(ctx))
		if !call.Sleep(ctx, 900*time.Millisecond+r.bot.store.caller.Jitter(200*time.Millisecond, "look "+r.bot.name)) {
			return
		}
	}
}

// batch is how many sessions of a bucket one look takes up.
const batch = 32

func (r *runner) look(ctx context.Context) error {
	for {
		found, more, err := r.bot.look(ctx, r.bot.share(), false)
		if err != nil {
			return err
		}
		for _, at := range found {
			s := r.enter(ctx)
			if s == nil {
				return nil
			}
			r.spawnClaim(at, s)
		}
		if !more || !call.Sleep(ctx, 50*time.Millisecond) { // let those claims leave the list
			return nil
		}
	}
}

// reaps buries what has expired, in this replica's share of the buckets, every
// ten seconds.
func (r *runner) reaps(ctx context.Context) {
	for call.Sleep(ctx, 9*time.Second+r.bot.store.caller.Jitter(2*time.Second, "reap "+r.bot.name)) {
		r.complain(ctx, "look for expired sessions failed", r.reap(ctx, r.bot.share()))
	}
}

func (r *runner) reap(ctx context.Context, buckets []int) error {
	b := r.bot
	for {
		found, more, err := b.look(ctx, buckets, true)
		if err != nil {
			return err
		}
		for _, at := range found {
			if ctx.Err() != nil {
				return nil
			}
			if _, err := b.store.bury(ctx, at, "expired"); err != nil {
				b.store.log.Warn("expired session not buried", "session", at.ref.String(), "error", err)
				if !b.postpone(ctx, "expiry", at, time.Hour, err) {
					return err
				}
			}
		}
		if !more {
			return nil
		}
	}
}

// postpone puts off a session that cannot be read, so that it does not stand in
// the way of others in its list. It reports whether err was of that kind.
func (b *Bot) postpone(ctx context.Context, list string, at place, d time.Duration, err error) bool {
	if !unreadable(err) || b.store.usable() != nil {
		return false
	}
	when := float64(b.store.caller.Clock.At(at.bucket, time.Now().Add(d)))
	if err := b.store.caller.Do(ctx, call.ZAddXX(b.store.layout.key(list, at), at.ref.ID, when)); err != nil {
		b.store.log.Warn("unreadable session not postponed", "session", at.ref.String(), "error", err)
		return false
	}
	return true
}

// unreadable tells whether an error is about what is stored of a session, and so
// stays whoever asks again.
func unreadable(err error) bool {
	return errors.Is(err, session.ErrCorrupt) || errors.Is(err, session.ErrNewerLayout) ||
		errors.Is(err, session.ErrUnsupported) && !errors.Is(err, session.ErrNoPermission)
}

// look returns the sessions that are due, or have expired, and whether a bucket
// may have more of them.
func (b *Bot) look(ctx context.Context, buckets []int, expired bool) (found []place, more bool, err error) {
	if err := b.store.usable(); err != nil {
		return nil, false, err
	}
	// In no order, so that one in trouble does not always come before the same others.
	b.store.caller.Dice("buckets").Shuffle(len(buckets), func(i, j int) { buckets[i], buckets[j] = buckets[j], buckets[i] })
	places := make([]place, len(buckets))
	for i, bucket := range buckets {
		places[i] = place{ref: session.Ref{Bot: b.name}, bucket: bucket}
	}
	list := 2
	if expired {
		list = 3
	}
	for i, r := range b.store.each(ctx, lua.Look, places, strconv.Itoa(batch), flag(expired)) {
		if r.Err != nil {
			err = r.Err
			continue
		}
		ids := r.Reply.Texts(list)
		for _, id := range ids {
			found = append(found, place{ref: session.Ref{Bot: b.name, ID: id}, bucket: buckets[i]})
		}
		more = more || len(ids) == batch
	}
	if len(found) > 0 {
		return found, more, nil // some servers answered: go on with those
	}
	return nil, false, err
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
		found, _, err := b.look(ctx, b.store.layout.all(), false)
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
	if err := r.reap(ctx, b.store.layout.all()); err != nil {
		faults = append(faults, fmt.Errorf("drain %s: %w", b.name, err))
	}
	return r.turns, causes.Join(append(faults, context.Cause(ctx))...)
}
