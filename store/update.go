package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
)

// Update runs fn as a turn without an event: it takes the lease, so it never
// crosses another turn, and commits what fn did, whole. This is how to change a
// session depending on what is in it. It waits for the session until ctx ends,
// and then answers [session.ErrBusy]; a session that has no rest between its
// turns makes way for one that waits. If fn changed nothing, nothing is
// written. Replies are sent before Update returns, as far as Send lets them.
//
// It returns fn's error, with nothing written; [session.ErrNotFound];
// [session.ErrFenced] if the session was lost while fn ran;
// [session.ErrUnknownOutcome]. fn may run again when a live Move changed the
// state meanwhile. An Update within a turn of the same session waits for that
// turn, so for ever.
func (b *Bot) Update(ctx context.Context, id string, fn Handler) error {
	at, err := b.place(id)
	if err == nil && fn == nil {
		err = fmt.Errorf("%w: %w", session.ErrInvalid, errNoHandler)
	}
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	for {
		err := b.update(ctx, at, fn)
		if errors.Is(err, errStateMoved) {
			continue
		}
		if err != nil {
			return fmt.Errorf("update %s: %w", at.ref, err)
		}
		return nil
	}
}

var errStateMoved = errors.New("a live Move changed the state during the turn")

func (b *Bot) update(ctx context.Context, at place, fn Handler) error {
	began, answer, err := b.leaseForUpdate(ctx, at)
	if err != nil {
		return err
	}
	r := b.newRunner(ctx, fn, 0)
	h := r.hold(at, began, answer.list(2))
	h.begin(ctx)
	defer h.cancel(nil)
	if h.bad != nil {
		r.release(h, "back", 0, h.bad)
		return h.bad
	}
	if ctx.Err() != nil { // it ended while we were waiting for this
		r.release(h, "back", 0, nil)
		return errors.Join(session.ErrBusy, context.Cause(ctx))
	}
	t := newTurn(b, at.ref, h.rec, nil, 1)
	err = protect(b.store.log, "Update", at.ref, func() error { return fn(h.ctx, t) })
	if err == nil {
		err = t.Err()
	}
	change, dirty := t.end()
	var wired []string
	if err == nil && dirty {
		wired, err = b.wire(change, dirty)
	}
	if err != nil || !dirty {
		r.release(h, "back", 0, nil)
		return err
	}
	if ctx.Err() != nil { // the caller no longer wants it
		r.release(h, "back", 0, nil)
		return context.Cause(ctx)
	}
	after, err := r.write(h, change, wired)
	if err != nil {
		r.release(h, "back", 0, nil)
	}
	if errors.Is(err, session.ErrWrongState) {
		return errStateMoved
	}
	if err != nil {
		return err
	}
	r.run(after)
	return nil
}

// leaseForUpdate waits for the session. Each request is waited for even when ctx
// ends meanwhile: a lease that was granted and not heard of would keep the
// session from everybody for as long as it lasts.
func (b *Bot) leaseForUpdate(ctx context.Context, at place) (began time.Time, answer reply, err error) {
	var busy error
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 40*time.Millisecond) {
		if ctx.Err() != nil {
			return began, nil, errors.Join(busy, context.Cause(ctx))
		}
		began = time.Now()
		answer, err = b.store.do(context.WithoutCancel(ctx), lua.Lease, at, at.ref.ID, b.name, "update",
			millis(b.opts.Lease), b.opts.Initial, millis(b.opts.TTL))
		switch {
		case err == nil:
			return began, answer, nil
		case errors.Is(err, session.ErrUnknownOutcome):
			// fn has not run, so nothing can have changed, whatever became of the lease.
			return began, nil, fmt.Errorf("no answer to the request for the lease: %v", err)
		case !errors.Is(err, session.ErrBusy):
			return began, nil, err
		}
		busy = err
		sleep(ctx, pause/2+b.store.jitter(pause, at.ref.String()))
	}
}
