package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// Sessions is a loop over the status of the sessions that f selects, in the order that
// [Filter] says. It reads no private data. For its errors see Lists in the package
// comment; a cursor that is of another filter, or none at all, is [session.ErrInvalid].
//
// A session that f selects all the time comes once, though others come and go.
// One that is active again before the loop comes to it, comes at the end. A
// loop that continues at a cursor does not know what came before: of those that
// moved since the first loop began, some may come a second time.
func (b *Bot) Sessions(ctx context.Context, f Filter) iter.Seq2[session.Status, error] {
	return b.sessions(ctx, "sessions", f)
}

// Waiting is a loop over the status of the sessions in which events wait, or
// replies that are not sent, the longest wait first. The status says since when
// and why: Since is when the first of them came, Waiting and Unsent count, Event
// and Reply say what failed and when it is tried again, and Lease says who holds
// the session. What was handed out at once, and is still in its first attempt, is
// listed when its holder first renews the lease, after a third of it, or
// when an event comes behind it. Sessions whose first event changes during the
// loop come once. It is Sessions with [Filter.Waiting], which goes on at its cursors.
func (b *Bot) Waiting(ctx context.Context) iter.Seq2[session.Status, error] {
	return b.sessions(ctx, "waiting", Filter{Waiting: true})
}

// sessions is Sessions; its errors say what was called.
func (b *Bot) sessions(ctx context.Context, what string, f Filter) iter.Seq2[session.Status, error] {
	return func(yield func(session.Status, error) bool) {
		w, err := b.filtered(f)
		if err != nil {
			yield(session.Status{}, fmt.Errorf("%s: %w", what, err))
			return
		}
		b.list(ctx, what, w, yield, func(st *session.Status, at step) bool {
			st.Cursor = w.cursor(f, at)
			if w.order == rest && st.Active.UnixMilli() < w.since { // active in that minute, but before
				return false
			}
			return f.selects(st)
		})
	}
}

// list hands out the status of those sessions of a walk that selected, which may
// complete it, reports.
func (b *Bot) list(ctx context.Context, what string, w *walk, yield func(session.Status, error) bool, selected func(*session.Status, step) bool) {
	for most := 16; ; most = min(2*most, pageSize) {
		steps := w.next(ctx, most)
		if len(steps) == 0 {
			break
		}
		for i, r := range b.statuses(ctx, steps) {
			var corrupt *session.CorruptError
			switch {
			case errors.Is(r.err, session.ErrNotFound):
			case errors.As(r.err, &corrupt):
				if !yield(session.Status{}, fmt.Errorf("%s of %s: %w", what, b.name, r.err)) {
					return
				}
			case r.err != nil && r.refused:
				w.skip(steps[i].ref, r.err)
			case r.err != nil:
				w.fail(steps[i].bucket, r.err)
			case selected(&r.status, steps[i]):
				if !yield(r.status, nil) {
					return
				}
			}
		}
	}
	if err := w.err(); err != nil {
		yield(session.Status{}, fmt.Errorf("%s of %s: %w", what, b.name, err))
	}
}

// A look is what was read of one session.
type look struct {
	status  session.Status
	err     error
	refused bool // refused is whether err is of this session alone
}

// statuses reads the status of each session, in one moment for each.
func (b *Bot) statuses(ctx context.Context, steps []step) []look {
	places := make([]place, len(steps))
	for i, s := range steps {
		places[i] = s.place
	}
	looks := make([]look, len(steps))
	for i, r := range b.store.readEach(ctx, b.store.requests(ask(lua.Status, nil, stored.StatusFields), places)) {
		l, ref := &looks[i], places[i].ref
		if r.Err != nil {
			l.err = b.store.explain(ctx, r.Err, lua.Status, places[i])
			continue
		}
		if l.err = refusal(r.Reply, ref); l.err != nil {
			l.refused = true
			continue
		}
		rec, err := stored.ReadRecord(ref, present(stored.StatusFields, r.Reply.List("values")))
		if err != nil {
			l.err, l.refused = err, true
			continue
		}
		l.status = rec.Status()
		l.status.Messages, l.status.Waiting, l.status.Unsent = r.Reply.Int("messages"), r.Reply.Int("waiting"), r.Reply.Int("unsent")
		l.status.Now = time.UnixMilli(r.Reply.Now())
	}
	return looks
}
