package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
)

// A hold is one session in this replica's hands, from a hand-out until it is
// given back: with an event to handle, replies to send, or an Update to run.
type hold struct {
	runner  *runner
	at      place
	work    session.Work
	token   string
	fails   int // of what is at the head
	crashes int
	rec     *codec.Record
	bad     error // the hash could not be read
	event   *event
	parcels []parcel

	ctx    context.Context // the handler's; its cause says why it ended
	cancel context.CancelCauseFunc
	ended  atomic.Bool // by the handler's goroutine or by abandon, whichever was first

	mu      sync.Mutex
	until   time.Time // locally; the server's lease ends no earlier
	turnEnd time.Time // MaxTurn
	renew   *time.Timer
	guard   *time.Timer // fires before the lease can end
	renewal sync.WaitGroup
	stopped bool
	lost    bool
}

// A parcel is one reply on its way out.
type parcel struct {
	life    string
	seq     int64
	message session.Message
	err     error // it could not be decoded
}

// name is how the outbox knows the parcel.
func (p parcel) name() string { return p.life + ":" + strconv.FormatInt(p.seq, 10) }

// hold reads a hand-out. The lease counts from before the request was first
// sent, so that it never ends later here than on the server.
func (r *runner) hold(at place, began time.Time, next reply) *hold {
	h := &hold{
		runner: r, at: at, work: session.Work(next.text(0)), token: next.text(1),
		fails: int(next.int(2)), crashes: int(next.int(3)), until: began.Add(r.bot.opts.Lease),
	}
	h.rec, h.bad = codec.ReadRecord(at.ref, next.texts(5))
	switch h.work {
	case session.WorkEvent:
		if elements := next.texts(4); len(elements) > 0 {
			h.event = decodeElement(elements[0])
		}
	case session.WorkReply:
		for _, element := range next.texts(4) {
			h.parcels = append(h.parcels, decodeParcel(element))
		}
	}
	return h
}

// decodeParcel reads an element of the outbox: life, ':', number, ':', message.
func decodeParcel(element string) (p parcel) {
	life, rest, ok := strings.Cut(element, ":")
	number, body, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		p.err = fmt.Errorf("%w: an outbox element without life and number", session.ErrCorrupt)
		return p
	}
	p.life, p.seq = life, reply{number}.int(0)
	if p.message, p.err = codec.DecodeEntry([]byte(body)); p.err == nil {
		p.message.Seq = p.seq
	}
	return p
}

// begin starts the renewals and the context of what is to be done.
func (h *hold) begin(parent context.Context) context.Context {
	h.ctx, h.cancel = context.WithCancelCause(parent)
	overdue := func() { h.lose(errors.New("the lease could not be renewed in time")) }
	h.mu.Lock()
	h.turnEnd = time.Now().Add(h.runner.bot.opts.MaxTurn)
	h.renew = time.AfterFunc(h.nextRenewal(), h.tick)
	left := time.Until(h.limit())
	h.guard = time.AfterFunc(left, overdue)
	h.mu.Unlock()
	if left <= 0 { // the answer took that long: nothing is begun any more
		overdue()
	}
	return h.ctx
}

// extend gives what is done next, one reply of several, its full MaxTurn.
func (h *hold) extend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turnEnd = time.Now().Add(h.runner.bot.opts.MaxTurn)
}

// limit is when the holder must have stopped: a tenth of the lease before its end.
func (h *hold) limit() time.Time { return h.until.Add(-h.runner.bot.opts.Lease / 10) }

// nextRenewal is a third of the lease away, or at the end of MaxTurn.
func (h *hold) nextRenewal() time.Duration {
	return min(h.runner.bot.opts.Lease/3, max(time.Until(h.turnEnd), 0))
}

// tick renews the lease, or ends a turn that takes too long.
func (h *hold) tick() {
	h.mu.Lock()
	if h.stopped || h.lost {
		h.mu.Unlock()
		return
	}
	if !time.Now().Before(h.turnEnd) {
		h.mu.Unlock()
		h.cancel(ErrMaxTurn) // and from here on the lease is left to run out
		return
	}
	h.renewal.Add(1)
	limit := h.limit()
	h.mu.Unlock()
	defer h.renewal.Done()

	began := time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	b := h.runner.bot
	_, err := b.store.do(ctx, lua.Renew, h.at, h.token, millis(b.opts.Lease))
	switch {
	case err == nil:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.until = began.Add(b.opts.Lease)
		if !h.stopped {
			h.guard.Reset(time.Until(h.limit()))
			h.renew.Reset(h.nextRenewal())
		}
	case errors.Is(err, session.ErrFenced):
		h.lose(nil)
	default: // the guard ends it, if no later renewal succeeds
		b.store.log.Warn("lease not renewed", "session", h.at.ref.String(), "error", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.stopped {
			h.renew.Reset(min(h.nextRenewal(), b.opts.Lease/10))
		}
	}
}

// lose ends what runs under a lease that is gone. Nothing of it is committed.
func (h *hold) lose(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.lost = true
		h.cancel(errors.Join(session.ErrFenced, why))
	}
}

// finish ends the renewals, so that none crosses the script that gives the
// session back, and reports whether the session is still in our hands.
func (h *hold) finish() bool {
	h.mu.Lock()
	h.stopped = true
	h.renew.Stop()
	h.guard.Stop()
	h.mu.Unlock()
	h.renewal.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.lost
}

// take makes the caller the one who ends this hold. The handler's goroutine
// takes it when the handler returns; abandon takes it from a handler that does
// not return.
func (h *hold) take() bool { return h.ended.CompareAndSwap(false, true) }
