package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
)

// Update runs fn as a turn without an event: it takes the lease, so it never
// crosses another turn, and commits what fn did, whole. This is how to change a
// session depending on what is in it. It waits for the session until ctx ends,
// and then answers [session.ErrBusy]; a session that has no rest between its
// turns makes way for one that waits. Its replies are sent by a replica that
// serves the bot, as soon as it is woken, and by none before that: Update itself
// sends nothing.
//
// It returns the version that it made. If fn changed nothing, nothing is written,
// and the version is that of the session as fn saw it. With an error it is zero.
// A Change with that version as its IfVersion is applied if nothing has changed
// the session since.
//
// It returns fn's error, with nothing written; [session.ErrNotFound];
// [session.ErrFenced] if the session was lost while fn ran;
// [session.ErrUnknownOutcome]; [session.ErrInTurn] if ctx is that of a turn of
// the same session, for which it would wait. fn may run again when a live Move
// changed the state meanwhile, up to twenty times; then it returns
// [session.ErrWrongState]. While events or replies wait that could go on, at
// most one Update runs between two of them (unless nobody serves the bot).
func (b *Bot) Update(ctx context.Context, id string, fn Handler) (version int64, err error) {
	return b.updateOnce(ctx, id, once{}, fn)
}

// UpdateOnce is Update under an event's id, which is remembered like one that
// Accept was given, in the same session and as long: of any number of calls with
// that id one is made. The others run nothing, and return duplicate and the
// version that the one made; zero if the id is that of an event which Accept took.
// A call that returned an error may be made again: fn runs again unless it was
// applied. The id of an fn that changed nothing is remembered, too.
func (b *Bot) UpdateOnce(ctx context.Context, id, eventID string, fn Handler) (version int64, duplicate bool, err error) {
	o, err := b.onceUnder(ctx, eventID)
	if err != nil {
		return 0, false, fmt.Errorf("update: %w", err)
	}
	version, err = b.updateOnce(ctx, id, o, fn)
	if duplicate = errors.Is(err, errDuplicate); duplicate {
		err = nil
	}
	return version, duplicate, err
}

// errDuplicate says that a change was made before, under the same id; what comes
// beside it is the version that was made then.
var errDuplicate = errors.New("made before, under the same id")

// A once is what scripts are told of a change that is to be made once, under an
// event's id. It is empty for any other change.
type once struct {
	digest ids.Digest
	window string // for how long it is remembered, in ms
}

func (b *Bot) onceUnder(ctx context.Context, eventID string) (once, error) {
	if err := (session.Event{ID: eventID}).Validate(); err != nil {
		return once{}, err
	}
	return once{ids.DigestOf(eventID), b.store.window(b.current(ctx))}, nil
}

func (b *Bot) updateOnce(ctx context.Context, id string, o once, fn Handler) (version int64, err error) {
	at, err := b.place(id)
	if err == nil && fn == nil {
		err = fmt.Errorf("%w: %w", session.ErrInvalid, errNoHandler)
	}
	if err == nil {
		err = b.store.inTurn(ctx, at.ref, true)
	}
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	for try := 1; ; try++ {
		version, err := b.update(ctx, at, o, fn)
		if errors.Is(err, errStateMoved) && try < 20 && call.Sleep(ctx, again(try)) {
			continue
		}
		if err != nil {
			if !errors.Is(err, errDuplicate) {
				version = 0
			}
			return version, fmt.Errorf("update %s: %w", at.ref, err)
		}
		return version, nil
	}
}

var errStateMoved = fmt.Errorf("%w: live Moves changed the state during each run", session.ErrWrongState)

func (b *Bot) update(ctx context.Context, at place, o once, fn Handler) (version int64, err error) {
	began, answer, err := b.leaseForUpdate(ctx, at, o)
	if err != nil {
		return 0, err
	}
	if answer.Status() == "DUPLICATE" {
		return answer.Int(2), errDuplicate
	}
	r := b.newRunner(ctx, fn, ServeOptions{}, 0)
	h := r.hold(at, began, answer.List(2))
	h.begin(ctx)
	defer h.cancel(nil)
	if h.bad != nil {
		r.release(h, "back", 0, "")
		return 0, h.bad
	}
	if ctx.Err() != nil { // it ended while we were waiting for this
		r.release(h, "back", 0, "")
		return 0, causes.Join(session.ErrBusy, context.Cause(ctx))
	}
	t := newTurn(b, h.opts, at.ref, h.rec, nil, 1, h.log)
	h.runs(t)
	returned := false
	defer func() {
		if !returned { // fn has ended this goroutine
			t.close()
			r.release(h, "back", 0, "")
		}
	}()
	err = r.updateBy(h, t, fn)
	returned = true
	w, bad := t.end()
	if err == nil {
		err = bad
	}
	if !h.take() { // it took longer than MaxTurn, and the session was given back
		return 0, fmt.Errorf("%w: %w", session.ErrFenced, session.ErrMaxTurn)
	}
	if err != nil {
		r.release(h, "back", 0, "")
		return 0, err
	}
	if !w.dirty && o == (once{}) {
		r.release(h, "back", 0, "")
		return h.rec.Version(), nil
	}
	if ctx.Err() != nil { // the caller no longer wants it
		r.release(h, "back", 0, "")
		return 0, context.Cause(ctx)
	}
	_, version, err = r.write(h, w, o)
	if err != nil {
		r.release(h, "back", 0, "")
	}
	if errors.Is(err, session.ErrWrongState) {
		return 0, errStateMoved
	}
	return version, err
}

// updateBy runs fn, and returns its error: the user's own, to whom it goes back.
func (r *runner) updateBy(h *hold, t *Turn, fn Handler) (err error) {
	ctx, lower := marked(h.ctx, r.bot.store, h.at.ref, true)
	fail := protect(h.log, "Update", func() error {
		defer lower()
		err = fn(ctx, t)
		return nil
	})
	if fail != nil {
		return errors.New(fail.text)
	}
	return err
}

// leaseForUpdate waits for the session. Each request is waited for even when ctx
// ends meanwhile: a lease that was granted and not heard of would keep the
// session from everybody for as long as it lasts.
func (b *Bot) leaseForUpdate(ctx context.Context, at place, o once) (began time.Time, answer reply, err error) {
	var busy error
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 40*time.Millisecond) {
		if ctx.Err() != nil {
			return began, nil, causes.Join(busy, context.Cause(ctx))
		}
		opts := b.current(ctx)
		began = time.Now()
		answer, err = b.store.do(context.WithoutCancel(ctx), lua.Lease, at, at.ref.ID, b.name, "update",
			millis(b.store.opts.Lease), opts.Initial, millis(opts.TTL), opts.room(), string(o.digest))
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
		call.Sleep(ctx, pause/2+b.store.caller.Jitter(pause, at.ref.String()))
	}
}
