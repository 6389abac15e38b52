package store

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Filter selects sessions of a bot. The zero Filter selects all of them.
type Filter struct {
	State string // State selects the sessions in this state. Empty means any.
	User  string // User selects the sessions of this user. Empty means any.
	after string
}

// After returns the filter that continues a list after the session with that
// cursor: the [session.Status.Cursor] of an item that [Bot.Sessions] yielded
// for the same filter, in any process. An empty cursor means from the
// beginning.
func (f Filter) After(cursor string) Filter {
	f.after = cursor
	return f
}

// Sessions is a loop over the status of the sessions that f selects. They come
// by their last activity, the latest first, to the minute; if f names a user,
// in the order of their ids. It reads no private data. For its errors see
// Lists in the package comment; a cursor that is of another filter, or none at
// all, is [session.ErrInvalid].
//
// A session that f selects all the time comes once, though others come and go.
// One that is active again before the loop comes to it, comes at the end. A
// loop that continues at a cursor ends with all that were active since the
// first loop began, so these may come a second time.
func (b *Bot) Sessions(ctx context.Context, f Filter) iter.Seq2[session.Status, error] {
	return func(yield func(session.Status, error) bool) {
		w, err := b.filtered(f)
		if err != nil {
			yield(session.Status{}, fmt.Errorf("sessions: %w", err))
			return
		}
		b.list(ctx, "sessions", w, yield, func(st *session.Status, at step) bool {
			st.Cursor = w.cursor(f, at)
			if w.order == rest && st.Active.UnixMilli() < w.since { // active in that minute, but before
				return false
			}
			return (f.State == "" || st.State == f.State) && (f.User == "" || st.User == f.User)
		})
	}
}

// Waiting is a loop over the status of the sessions in which events wait, or
// replies that are not sent, the longest wait first. The status says since when
// and why: Since is when the first of them came, Waiting and Unsent count, Event
// and Reply say what failed and when it is tried again, and Lease says who holds
// the session. What was handed out at once, and is still in its first attempt, is
// listed when its holder first renews the lease, after a third of it, or
// when an event comes behind it. Sessions whose first event changes during the
// loop come once. For its errors see Lists in the package comment.
func (b *Bot) Waiting(ctx context.Context) iter.Seq2[session.Status, error] {
	return func(yield func(session.Status, error) bool) {
		if err := b.store.usable(); err != nil {
			yield(session.Status{}, fmt.Errorf("waiting: %w", err))
			return
		}
		b.list(ctx, "waiting", b.walkTimes("waits"), yield, func(st *session.Status, _ step) bool {
			return st.Waiting > 0 || st.Unsent > 0
		})
	}
}

// filtered returns the walk that comes to all sessions that f selects. It costs one
// command to each bucket at least, because any bucket may have one of them: the client
// sends these as one pipeline to each server.
func (b *Bot) filtered(f Filter) (*walk, error) {
	if err := b.store.usable(); err != nil {
		return nil, err
	}
	order, since, last, err := f.position(b.name)
	if err != nil {
		return nil, err
	}
	if f.User != "" {
		return b.walkUser(f.User, last), nil
	}
	from, to := int64(0), int64(stored.LastPlace)
	if f.State != "" {
		from, to = stored.Places(f.State)
	}
	return b.walkStates(from, to, order, since, last), nil
}

// cursor returns from where a walk goes on behind an entry: its order, a sum of the bot
// and the filter, when the walk began, and the entry.
func (w *walk) cursor(f Filter, at step) string {
	text := fmt.Sprintf("%s %d %d %s %s", w.order, f.sum(w.bot.name), w.since, score(at.score), at.ref.ID)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// position reads what cursor wrote.
func (f Filter) position(bot string) (order order, since int64, last *call.Member, err error) {
	order = newest
	if f.User != "" {
		order = byID
	}
	if f.after == "" {
		return order, 0, nil, nil
	}
	refuse := func(why string) error { return fmt.Errorf("%w: the cursor is %s", session.ErrInvalid, why) }
	text, err := base64.RawURLEncoding.DecodeString(f.after)
	fields := strings.SplitN(string(text), " ", 5)
	if err != nil || len(fields) != 5 {
		return "", 0, nil, refuse("not one that a list returned")
	}
	if order == newest && fields[0] == string(rest) {
		order = rest
	}
	if fields[0] != string(order) || fields[1] != strconv.FormatUint(uint64(f.sum(bot)), 10) {
		return "", 0, nil, refuse("of another bot or filter")
	}
	since, err = strconv.ParseInt(fields[2], 10, 64)
	minute, err2 := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || err2 != nil || since < 0 || minute < 0 || minute > stored.LastMinute || (session.Ref{Bot: bot, ID: fields[4]}).Validate() != nil {
		return "", 0, nil, refuse("damaged")
	}
	return order, since, &call.Member{Name: fields[4], Score: float64(minute)}, nil
}

// sum tells filters apart.
func (f Filter) sum(bot string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(bot + "\x00" + f.State + "\x00" + f.User))
	return h.Sum32()
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
	for i, r := range b.store.readEach(ctx, ask(lua.Status, nil, stored.StatusFields), places) {
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
