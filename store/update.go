package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
)

// Update runs fn as a turn without an event, and commits everything that fn
// did, or nothing. It is the way to change a session depending on what is in
// it. Update waits until no other turn holds the session; if ctx ends first,
// it returns [session.ErrBusy]. It returns when the turn is committed; the
// replies are sent later, by a replica that serves the bot.
//
// The version that it returns is the one that it made or, if fn changed
// nothing, the one that fn saw; with an error it is zero. Given as
// [session.Change.IfVersion] it makes a later change depend on nothing having
// changed since.
//
// Update returns fn's error, and then nothing is written;
// [session.ErrNotFound]; [session.ErrFenced] if the session was lost while fn
// ran; [session.ErrUnknownOutcome]; and [session.ErrInTurn] in a turn of the
// same session, see [Handler]. If a [Session.Move] changes the state
// meanwhile, fn runs again, up to twenty times; then Update returns
// [session.ErrWrongState]. Updates do not keep events and replies waiting:
// where some are due and the bot is served, at most one Update runs between
// two of them.
func (b *Bot) Update(ctx context.Context, id string, fn Handler) (version int64, err error) {
	return b.updateOnce(ctx, id, once{}, fn)
}

// UpdateOnce is Update under an id that makes it safe to repeat: of any number
// of calls with one eventID, one is applied. The others run nothing, and
// return duplicate and the version that the applied one made. A call that
// returned an error can be made again. The id is remembered for
// [BotOptions.DedupeWindow], also if fn changed nothing. Ids of updates and of
// the session's events must differ: for the id of an event that was accepted
// duplicate is true and version zero, and an event with the id of an update is
// a [Receipt.Duplicate].
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
	return once{ids.DigestOf(eventID), strconv.FormatInt(b.store.window(b.current(ctx)), 10)}, nil
}

func (b *Bot) updateOnce(ctx context.Context, id string, o once, fn Handler) (version int64, err error) {
	at, err := b.place(id)
	if err == nil && fn == nil {
		err = fmt.Errorf("%w: %w", session.ErrInvalid, errNoHandler)
	}
	if err != nil {
		return 0, fmt.Errorf("update: %w", err)
	}
	if err := b.store.inTurn(ctx, at.ref, true); err != nil {
		return 0, fmt.Errorf("update %s: %w", at.ref, err)
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
		return answer.Int("version"), errDuplicate
	}
	r := b.newRunner(ctx, fn, ServeOptions{}, 0)
	h := r.hold(at, began, answer.Next())
	h.begin(ctx)
	defer h.cancel(nil)
	defer h.returned()
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
	w.trace = b.store.traceOf(ctx)
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
	fail := protect(ctx, h.log, "Update", func() error {
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
			return began, reply{}, causes.Join(busy, context.Cause(ctx))
		}
		opts := b.current(ctx)
		began = time.Now()
		answer, err = b.store.do(context.WithoutCancel(ctx), at, b.askLease(opts, at, "update", o.digest))
		switch {
		case err == nil:
			return began, answer, nil
		case b.store.usable() != nil:
			return began, reply{}, b.store.usable()
		case errors.Is(err, session.ErrUnknownOutcome):
			// fn has not run, so nothing can have changed, whatever became of the lease.
			return began, reply{}, fmt.Errorf("no answer to the request for the lease: %v", err)
		case !errors.Is(err, session.ErrBusy):
			return began, reply{}, err
		}
		busy = err
		call.Sleep(ctx, pause/2+b.store.caller.Jitter(pause, at.ref.String()))
	}
}
