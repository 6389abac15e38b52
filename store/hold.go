package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// A hold is one session in this replica's hands, from a hand-out until it is
// given back: with an event to handle, replies to send, or an Update to run.
//
// It ends once: by the goroutine that runs the user's function, when that has
// returned, or by another one, which leaves a function alone that does not.
type hold struct {
	runner   *runner
	opts     *BotOptions // the one copy of the bot's settings that all of this hold goes by
	slot     *slot       // nil where no slot is taken
	at       place
	work     session.Work
	token    ids.Token
	fails    int // of what is at the head, as are the three that follow
	crashes  int
	backs    int            // hand-backs that count as no failure
	since    time.Time      // when it was first put off; zero if it was not
	rec      *stored.Record // the session as it was handed out
	bad      error          // the hash could not be read
	event    *event
	eager    *eager // the run that began before the event was accepted; else nil
	inHand   bool   // the event waits in the session's hash, and is lost with it
	accepted int64  // when it was accepted, by the server's clock, ms; of an event
	window   int64  // for how long its id is remembered, ms; of an event in hand
	turn     *Turn  // that runs on the event
	parcels  []parcel
	began    time.Time // of the handler, or of the reply that is being sent

	takenOver bool      // a replica had the session, and was not heard of again
	observed  *observed // the attempt that an Observer was told of; nil if it has ended
	begun     bool      // an Observer was told of one

	ctx    context.Context // the user function's; its cause says why it ended
	cancel context.CancelCauseFunc
	ended  atomic.Bool // see take

	mu      sync.Mutex
	until   time.Time   // locally; the server's lease ends no earlier
	turnEnd time.Time   // MaxTurn
	hung    *time.Timer // until the next line about a function that was left alone
	back    bool        // the user's function does not run any more
	overrun bool        // MaxTurn is over, and the user's function was told
	renew   *time.Timer
	guard   *time.Timer // fires before the lease can end
	renewal sync.WaitGroup
	stopped bool
	lost    bool
	known   *stored.Record // the session as it is stored, if nobody else has changed it; else nil
	sent    int            // parcels that Send has taken
}

// attempt is which one of the head this is, from 1; hand-backs for which it was
// not to blame do not count.
func (h *hold) attempt() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return 1 + h.fails + h.crashes
}

// log returns the store's logger with what each line about this hold says.
func (h *hold) log() *slog.Logger {
	log := h.runner.bot.store.about(h.at.ref).With("attempt", h.attempt())
	if h.event != nil {
		return log.With("event", h.event.ID)
	}
	if n := h.taken(); n < len(h.parcels) {
		return log.With("reply", h.parcels[n].name.String())
	}
	return log
}

// runs notes the turn that the user's function is given.
func (h *hold) runs(t *Turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn = t
}

// leaveAlone ends the turn of a function that does not return: what it still does
// to it changes nothing. It returns for how long the function has run. While it runs on, a
// line of the log says so from time to time.
func (h *hold) leaveAlone() time.Duration {
	h.mu.Lock()
	t := h.turn
	if !h.back {
		h.hung = time.AfterFunc(h.runner.bot.store.remind, h.stillRuns)
	}
	h.mu.Unlock()
	if t != nil {
		t.close()
	}
	return h.lasted()
}

func (h *hold) stillRuns() {
	h.log().WarnContext(h.ctx, "the function that was left alone has still not returned", "work", string(h.work), "duration", h.lasted())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hung != nil {
		h.hung.Reset(h.runner.bot.store.remind)
	}
}

// returned notes that the user's function does not run any more.
func (h *hold) returned() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.back = true
	if h.hung != nil {
		h.hung.Stop()
		h.hung = nil
	}
}

// lasted is for how long the user's function has run, or ran.
func (h *hold) lasted() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.began.IsZero() {
		return 0
	}
	return time.Since(h.began)
}

// context is that of the attempt, as an Observer made it, for what is logged.
func (h *hold) context() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.observed != nil {
		return h.observed.ctx
	}
	return h.ctx
}

// took notes that Send has taken a reply, and reports whether the hold is still
// the caller's. The counters were those of the first reply.
func (h *hold) took() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended.Load() {
		return false
	}
	h.sent++
	h.fails, h.crashes, h.backs, h.since = 0, 0, 0, time.Time{}
	return true
}

// taken returns how many of the replies Send has taken.
func (h *hold) taken() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// hold reads a hand-out. The lease counts from before the request was first
// sent, so that it never ends later here than on the server.
func (r *runner) hold(at place, began time.Time, next reply) *hold {
	r.bot.store.known.forget(at.ref)
	h := &hold{
		runner: r, opts: r.bot.options(), at: at, work: session.Work(next.Status()), token: ids.Token(next.Text("token")), fails: int(next.Int("fails")),
		crashes: int(next.Int("crashes")), backs: int(next.Int("backs")), until: began.Add(r.bot.store.opts.Lease),
	}
	if ms := next.Int("since"); ms > 0 {
		h.since = time.UnixMilli(ms)
	}
	h.rec, h.bad = stored.ReadRecord(at.ref, next.Texts("hash"))
	switch h.work {
	case session.WorkEvent:
		h.event = &event{err: fmt.Errorf("%w: the inbox is empty", session.ErrCorrupt)}
		if elements := next.Texts("head"); len(elements) > 0 {
			h.event = decodeElement(elements[0])
			h.accepted = h.event.at
		}
	case session.WorkReply:
		for _, element := range next.Texts("head") {
			h.parcels = append(h.parcels, decodeParcel(element))
		}
	}
	return h
}

// inHand reads a hand-out by accept's first lines: of the event e, on the record that
// this process knew, or on the hash that came with it.
func (r *runner) inHand(at place, began time.Time, answer reply, e *event, known *stored.Record) *hold {
	r.bot.store.known.forget(at.ref)
	next := answer.Next()
	h := &hold{
		runner: r, opts: r.bot.options(), at: at, work: session.WorkEvent, until: began.Add(r.bot.store.opts.Lease),
		token: stored.TokenOf(next.Text("rec")), event: e, inHand: true, accepted: answer.Now(), window: e.window,
	}
	if hash := next.Texts("hash"); len(hash) > 0 {
		known, h.bad = stored.ReadRecord(at.ref, hash)
	}
	if known == nil && h.bad == nil {
		h.bad = &session.CorruptError{Ref: at.ref, Field: stored.FieldRecord, Reason: errors.New("the session came without its hash")}
	}
	if h.bad == nil {
		h.rec, h.bad = known.With(next.Text("rec"))
	}
	if h.bad == nil {
		h.known = h.rec
	}
	return h
}

// waited is for how long the head has been put off.
func (h *hold) waited() time.Duration {
	if h.since.IsZero() {
		return 0
	}
	return max(h.runner.bot.store.caller.Clock.Now(h.at.bucket).Sub(h.since), 0)
}

// A parcel is one reply on its way out.
type parcel struct {
	name  ids.Reply
	event string // the id of the event whose turn made it; empty if there is none
	trace string // what it has brought along of a trace; see traceOf
	entry
	err error // its place in the outbox could not be read
}

// decodeParcel reads an element of the outbox.
func decodeParcel(element string) parcel {
	u, err := stored.ReadUnsent([]byte(element))
	return parcel{name: u.Reply, event: u.EventID, trace: u.Trace, err: err, entry: entry{encoded: u.Message, message: session.Message{Seq: u.Reply.Number, Time: u.Time}}}
}

// begin starts the renewals and the context of what is to be done. An eager run has
// no lease yet.
func (h *hold) begin(parent context.Context) context.Context {
	h.ctx, h.cancel = context.WithCancelCause(parent)
	h.mu.Lock()
	h.began = time.Now()
	h.turnEnd = h.began.Add(h.runner.bot.store.opts.MaxTurn)
	h.mu.Unlock()
	if h.eager == nil {
		h.leased()
	}
	return h.ctx
}

// leased starts the renewals.
func (h *hold) leased() {
	overdue := func() { h.lose(errors.New("the lease could not be renewed in time")) }
	h.mu.Lock()
	h.renew = time.AfterFunc(h.nextRenewal(), h.tick)
	left := time.Until(h.limit())
	h.guard = time.AfterFunc(left, overdue)
	h.mu.Unlock()
	if left <= 0 { // the answer took that long: nothing is begun any more
		overdue()
	}
}

// extend gives what is done next, one reply of several, its full MaxTurn. It
// reports whether there is still time for it.
func (h *hold) extend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.overrun {
		return false
	}
	h.began = time.Now()
	h.turnEnd = h.began.Add(h.runner.bot.store.opts.MaxTurn)
	return true
}

// limit is when the holder must have stopped: a tenth of the lease before its end.
func (h *hold) limit() time.Time { return h.until.Add(-h.runner.bot.store.opts.Lease / 10) }

// nextRenewal is a third of the lease away, or at the end of MaxTurn.
func (h *hold) nextRenewal() time.Duration {
	return min(h.runner.bot.store.opts.Lease/3, max(time.Until(h.turnEnd), 0))
}

// tick renews the lease, or ends a turn that takes too long: first by telling
// the user's function, then, if that does not return, by leaving it alone.
func (h *hold) tick() {
	h.mu.Lock()
	if h.stopped || h.lost {
		h.mu.Unlock()
		return
	}
	if !time.Now().Before(h.turnEnd) {
		if h.overrun {
			h.mu.Unlock()
			go h.runner.abandon(h, session.ErrMaxTurn)
			return
		}
		h.overrun = true
		h.turnEnd = time.Now().Add(min(h.runner.bot.store.opts.Lease/4, time.Second))
		h.renew.Reset(time.Until(h.turnEnd))
		h.mu.Unlock()
		h.cancel(session.ErrMaxTurn)
		return
	}
	h.renewal.Add(1)
	limit := h.limit()
	h.mu.Unlock()
	defer h.renewal.Done()

	began, log := time.Now(), h.log() // of this attempt: the guard, which fires at limit too, may end it
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	b := h.runner.bot
	_, err := b.store.do(ctx, h.at, ask(lua.Renew, []string{"id", h.at.ref.ID, "bot", b.name, "token", string(h.token), "lease", millis(b.store.opts.Lease)}))
	switch {
	case err == nil:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.until = began.Add(b.store.opts.Lease)
		h.known = nil // the record is another one now
		if !h.stopped {
			h.guard.Reset(time.Until(h.limit()))
			h.renew.Reset(h.nextRenewal())
		}
	case errors.Is(err, session.ErrFenced):
		h.lose(nil)
	default: // the guard ends it, if no later renewal succeeds
		log.WarnContext(h.context(), "lease not renewed", "error", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.stopped {
			h.renew.Reset(min(h.nextRenewal(), b.store.opts.Lease/10))
		}
	}
}

// lose ends what runs under a lease that is gone. Nothing of it is committed.
func (h *hold) lose(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.lost = true
		h.cancel(causes.Join(session.ErrFenced, why))
	}
}

// finish ends the renewals, so that none crosses the script that gives the
// session back, and reports whether the session is still in our hands. The event of an
// eager run is accepted now, if it is not yet.
func (h *hold) finish() bool {
	if h.eager != nil && !h.eager.lands() {
		return false
	}
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

// take makes the caller the one who ends this hold.
func (h *hold) take() bool {
	h.mu.Lock() // so that it does not cross took
	defer h.mu.Unlock()
	return h.ended.CompareAndSwap(false, true)
}
