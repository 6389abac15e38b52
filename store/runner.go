package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/warm"
)

// A runner handles what this replica is handed out, with one handler.
//
// A head, an event or a reply, may come back to a runner in these ways. Each is
// counted or ends by time, so that every head is handled, sent or a dead letter
// in the end:
//
//	its handler, or Send, failed          fails, at most BotOptions.MaxAttempts
//	the handler, or Send, hangs           the same, after Options.MaxTurn
//	it cannot be read, or not written     a dead letter at once, from its stored bytes
//	its handler, or Send, says Later      not counted; at most BotOptions.MaxWait in all
//	Send asked for another moment         the same
//	its replica was not heard of again    crashes, at most crashFactor times MaxAttempts
//	its replica stops                     backs, the same number
//	a live Move came between              backs, each time somewhat later
//	a live Reset fenced it                backs, the same; other resets set all counters to 0
//	the server did not commit             backs, with the back-off of failures
//	Updates came before it                one of them: see lua/lease.lua
//	its session's hash is lost            accepted anew, until its id may be forgotten
type runner struct {
	bot    *Bot
	handle Handler
	serve  ServeOptions
	fault  error // why Serve ended before its ctx, once its loops have

	base     context.Context // of handlers; cancelled when the grace is over
	stop     context.CancelCauseFunc
	calls    context.Context // of scripts, which give sessions back also then
	stopping chan struct{}   // closed when nothing new may begin
	slots    chan struct{}   // one for each session in hand
	due      mailbox         // for dues
	expired  mailbox         // for expiries

	tries    tries         // of eager runs
	patience time.Duration // for so long Accept waits for one

	mu    sync.Mutex
	holds map[*hold]struct{}
	wg    sync.WaitGroup
	turns int // run so far
}

func (b *Bot) newRunner(ctx context.Context, h Handler, serve ServeOptions, slots int) *runner {
	calls := context.WithoutCancel(ctx)
	base, stop := context.WithCancelCause(calls)
	return &runner{
		bot: b, handle: h, serve: serve, base: base, stop: stop, calls: calls, stopping: make(chan struct{}),
		slots: make(chan struct{}, slots), tries: tries{pause: time.Now().Add(warm.Up())}, patience: warm.Patience(), due: newMailbox(), expired: newMailbox(), holds: map[*hold]struct{}{},
	}
}

func (r *runner) isStopping() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}

// spawn runs a hold, with the slot that the caller took.
func (r *runner) spawn(h *hold, s *slot) {
	go func() {
		defer s.leave()
		r.run(h, s)
	}()
}

// spawnClaim takes a session that is due, with the slot that the caller took.
func (r *runner) spawnClaim(at place, s *slot) {
	go func() {
		defer s.leave()
		_, _ = r.claim(at, s)
	}()
}

// askLease asks for a session: to serve it, or for an Update, which may be under an id.
func (b *Bot) askLease(o *BotOptions, at place, mode string, once ids.Digest) request {
	return ask(lua.Lease, []string{
		"id", at.ref.ID, "bot", b.name, "mode", mode, "lease", millis(b.store.opts.Lease), "initial", o.Initial, "ttl", millis(o.TTL),
		"want", o.room(), "once", string(once),
	})
}

// claim leases a session, if it is due and free, and does what there is to do.
// It reports whether there was anything.
func (r *runner) claim(at place, s *slot) (did bool, err error) {
	b := r.bot
	opts := b.current(r.calls)
	began := time.Now()
	answer, err := b.store.do(r.calls, at, b.askLease(opts, at, "serve", ""))
	switch {
	case err == nil:
		h := r.next(at, began, answer.Next())
		if h != nil {
			h.takenOver = answer.Int("crashed") == 1
		}
		r.run(h, s)
		return h != nil, nil
	case errors.Is(err, session.ErrBusy), errors.Is(err, session.ErrNotFound):
		return false, nil
	}
	b.store.about(at.ref).WarnContext(r.calls, "session not leased", "error", err)
	b.postpone(r.calls, "due", at, 10*time.Second, err)
	return false, err
}

// later takes a session up again when what is before it is due: this replica
// knows the moment. The look finds it, too, up to a second later, and so needs
// to find those that come in an hour.
func (r *runner) later(at place, wait time.Duration) {
	if cap(r.slots) == 0 || wait > 10*time.Minute {
		return
	}
	time.AfterFunc(wait+time.Millisecond, func() {
		if !r.isStopping() && r.bot.serving.Load() == r {
			r.bot.wakeFor("due", at)
		}
	})
}

// next turns the last part of a reply into the hold that it hands out, or does
// what else it asks for; nil means that this session is done with.
func (r *runner) next(at place, began time.Time, next reply) *hold {
	switch next.Status() {
	case string(session.WorkEvent), string(session.WorkReply), string(session.WorkUpdate):
		return r.hold(at, began, next)
	case "ended":
		if _, err := r.bot.store.bury(r.calls, at, "ended"); err != nil {
			r.bot.store.about(at.ref).WarnContext(r.calls, "ended session not buried", "error", err)
		}
	case "due":
		r.bot.wakeFor(next.Status(), at)
	}
	return nil
}

// run does everything there is to do for a session, until it is given back.
func (r *runner) run(h *hold, s *slot) {
	for h != nil {
		if h.eager == nil { // else it has begun
			h.slot = s
			h.begin(r.base)
		}
		h = r.once(h)
	}
}

func (r *runner) once(h *hold) *hold {
	r.mu.Lock()
	r.holds[h] = struct{}{}
	r.mu.Unlock()
	returned := false
	defer func() {
		r.mu.Lock()
		delete(r.holds, h)
		r.mu.Unlock()
		h.returned()
		if !returned { // the user's function has ended this goroutine
			r.abandon(h, errGoexit)
		}
		h.cancel(nil)
	}()
	after := r.do(h)
	returned = true
	return after
}

// stuck counts the user's functions that run on after MaxTurn.
func (r *runner) stuck() (n int) {
	r.mu.Lock()
	holds := slices.Collect(maps.Keys(r.holds))
	r.mu.Unlock()
	for _, h := range holds {
		h.mu.Lock()
		if h.overrun {
			n++
		}
		h.mu.Unlock()
	}
	return n
}

func (r *runner) do(h *hold) *hold {
	switch {
	case h.bad != nil:
		return r.failed(h, failed(h.bad))
	case h.work == session.WorkReply:
		return r.deliver(h)
	}
	return r.turn(h)
}

// abandon ends a hold whose user function does not return, as a failure, and
// goes on with the session in that function's place.
func (r *runner) abandon(h *hold, why error) {
	if !h.take() {
		return
	}
	if h.eager != nil && !h.eager.lands() {
		h.ends("lost", why.Error())
		return
	}
	s := h.slot.move()
	defer s.leave()
	h.log().WarnContext(h.context(), "the function does not return, and is left alone", "work", string(h.work), "duration", h.leaveAlone(), "error", why.Error())
	switch h.work {
	case session.WorkReply:
		r.run(r.delivered(h, failed(why)), s)
	case session.WorkUpdate:
		r.release(h, "back", 0, "")
	default:
		r.run(r.failed(h, failed(why)), s)
	}
}

// turn runs the handler on an event and ends the turn as it says.
func (r *runner) turn(h *hold) *hold {
	b := r.bot
	if err := context.Cause(h.ctx); err != nil { // handed out after the replica's end
		return r.release(h, "back", 0, err.Error())
	}
	if why := r.tooOften(h); why != nil {
		return r.bury(h, why.Error())
	}
	if h.event.err != nil {
		return r.bury(h, h.event.err.Error())
	}
	r.mu.Lock()
	r.turns++
	r.mu.Unlock()
	t := newTurn(b, h.opts, h.at.ref, h.rec, h.event, h.attempt(), h.log)
	h.runs(t)
	mark, lower := marked(h.ctx, b.store, h.at.ref, true)
	mark.eager = h.eager
	ctx := h.begins(mark)
	itsOwn := false // the error that the handler returned is that of a verb
	fail := protect(ctx, t.log, "the handler", func() error {
		defer lower()
		err := r.handle(ctx, t)
		if err != nil && t.Err() != nil {
			itsOwn = errors.Is(err, t.Err())
		}
		return err
	})
	change, err := t.end()
	change.trace = b.store.traceOf(ctx)
	switch {
	case !h.take(): // left alone meanwhile: the session is somebody else's now
		return nil
	case fail == nil && err == nil:
		return r.commit(h, change)
	case errors.Is(context.Cause(h.ctx), session.ErrShutdown):
		return r.release(h, "back", 0, session.ErrShutdown.Error())
	case fail == nil || itsOwn && !fail.dead:
		fail = failed(err)
		// What a verb cannot encode it will not be able to encode the next time.
		fail.dead = errors.Is(err, session.ErrInvalid) || errors.Is(err, session.ErrType)
	}
	return r.failed(h, fail)
}

// tooOften returns why a head is not tried again that ended the life of every
// replica it was handed out to, or came back each time.
func (r *runner) tooOften(h *hold) error {
	most := crashFactor * h.opts.MaxAttempts
	switch {
	case h.crashes > most:
		return fmt.Errorf("handed out %d times, and none of those replicas was heard of again", h.crashes)
	case h.backs > most:
		return fmt.Errorf("handed back %d times: because replicas stopped, or live Moves or Resets came between, or the server did not commit", h.backs)
	}
	return nil
}

// failed decides what becomes of a head that could not be handled or sent.
func (r *runner) failed(h *hold, f *failure) *hold {
	if h.eager != nil && !h.eager.lands() { // it fails as the event's turn, or not at all
		h.ends("lost", f.text)
		return nil
	}
	if !f.dead && (f.later || f.chosen && h.work == session.WorkReply) {
		return r.putOff(h, f)
	}
	h.log().WarnContext(h.context(), "attempt failed", "work", string(h.work), "failures", h.fails+1, "outcome", "failed", "duration", h.lasted(), "error", f.text)
	h.mu.Lock()
	h.fails++
	h.mu.Unlock()
	if dead, wait := h.opts.judge(f, h.fails); !dead {
		return r.release(h, "retry", wait, f.text)
	}
	return r.bury(h, f.text)
}

// putOff has a head wait as its handler, or Send, asks. That counts as nothing, and so
// ends by time.
func (r *runner) putOff(h *hold, f *failure) *hold {
	waited, wait := h.waited(), f.after
	if f.later {
		wait = h.opts.pause(waited)
	}
	left := h.opts.MaxWait - waited
	if left <= 0 {
		return r.bury(h, fit(fmt.Sprintf("put off for %v (BotOptions.MaxWait): %s", h.opts.MaxWait, f.text)))
	}
	wait = min(max(wait, 10*time.Millisecond), left)
	h.log().WarnContext(h.context(), "put off", "work", string(h.work), "outcome", "waits", "duration", h.lasted(), "for", wait, "error", f.text)
	return r.release(h, "wait", wait, f.text)
}

// again is the pause after the n-th hand-back of a head that was not to blame.
func again(n int) time.Duration {
	if n < 2 {
		return 0
	}
	return min(5*time.Millisecond<<min(n, 20), time.Minute)
}

// want says whether this runner takes the next event of a session it holds. That
// of an Update never does: its handler is not the bot's.
func (r *runner) want() string {
	if cap(r.slots) == 0 || r.isStopping() {
		return ""
	}
	return r.bot.words(r.bot.options()).room
}

// room is what scripts are told who hand out an event: so many replies, and so
// many bytes of them, may be unsent before turns wait for them.
func (o *BotOptions) room() string {
	return strconv.Itoa(o.InboxLimit) + " " + strconv.Itoa(o.InboxBytes)
}

// commit writes the turn, and returns what comes next for the session.
func (r *runner) commit(h *hold, c written) *hold {
	after, _, err := r.write(h, c, once{})
	switch {
	case err == nil && h.eager != nil && h.eager.dropped():
		h.ends("lost", errDropped.Error())
		return after
	case err == nil:
		h.ends("handled", "")
		return after
	case errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrUnknownOutcome):
		return r.gone(h, err)
	case errors.Is(err, session.ErrWrongState):
		// A live Move came between: the event runs again, on the new state.
		return r.release(h, "back", again(h.backs+1), err.Error())
	case unreadable(err):
		return r.failed(h, failed(err)) // it will not get better
	}
	h.log().ErrorContext(h.context(), "turn not committed", "outcome", "back", "duration", h.lasted(), "error", err)
	return r.release(h, "back", h.opts.backoff(h.backs+1), err.Error()) // the server's failure: nobody is to blame
}

// write commits a turn, by lua/commit.lua or lua/settle.lua. version is the one that it
// made. o is empty, or that of an Update.
func (r *runner) write(h *hold, c written, o once) (after *hold, version int64, err error) {
	b := r.bot
	if h.eager != nil {
		if after, done := h.eager.turn(c); done {
			return after, 0, nil
		}
	}
	if !h.finish() {
		return nil, 0, session.ErrFenced
	}
	digest := ids.Digest("")
	if h.event != nil {
		digest = h.event.digest
	}
	began := time.Now()
	if p, ok := r.plain(h, c, ""); ok {
		answer, err := b.store.do(r.calls, h.at, p.request)
		if err != nil {
			return nil, 0, err
		}
		if answer.Status() == "OK" {
			return r.committed(h, c, p, began, answer.Now()), p.after.Version(), nil
		}
		began = time.Now()
	}
	named, rest := h.opts.wire(c)
	answer, err := b.store.do(r.calls, h.at, ask(lua.Settle, append([]string{
		"id", h.at.ref.ID, "bot", b.name, "token", string(h.token), "digest", string(digest), "want", r.want(), "lease", millis(b.store.opts.Lease),
		"once", string(o.digest), "window", o.window, "destroy", flag(c.destroy),
	}, named...), rest))
	if err != nil {
		return nil, 0, err
	}
	if answer.Status() == "DUPLICATE" {
		return nil, answer.Int("version"), errDuplicate
	}
	first, at := answer.Int("first"), answer.Int("at")
	switch {
	case h.event == nil:
	case at > 0:
		b.store.settle(h.at.ref, h.event, session.Handled, "", numbered(c.chat, first, at))
	default: // it was committed before
		b.store.settle(h.at.ref, h.event, "", "", nil)
	}
	after = r.next(h.at, began, answer.Next())
	if after != nil && after.work == session.WorkReply && answer.Int("backlog") == 0 {
		// All that is to be sent is what this turn said: nothing had to come back.
		after.rec, after.bad = h.rec, nil
		after.parcels = parcelsOf(c, numbered(c.chat, first, at), h)
	}
	return after, answer.Int("version"), nil
}

// committed is what comes after commit: the replies, or nothing more.
func (r *runner) committed(h *hold, c written, p plain, began time.Time, now int64) *hold {
	said := numbered(c.chat, h.known.Seq()+1, p.at)
	if p.after.Free() { // before anybody hears of it, who may go on
		r.bot.store.known.keep(r.bot.store.identity().id, p.after)
	}
	r.bot.store.settle(h.at.ref, h.event, session.Handled, "", said)
	if p.after.Free() {
		return nil
	}
	// The lease counts from at, which the server's clock had passed by then.
	left := time.Duration(p.after.Until()-now) * time.Millisecond
	return &hold{
		runner: r, opts: r.bot.options(), at: h.at, work: session.WorkReply, token: h.token, until: began.Add(left),
		rec: h.rec, known: p.after, parcels: parcelsOf(c, said, h),
	}
}

// numbered returns the turn's messages as the chat has them.
func numbered(chat []entry, first, at int64) []entry {
	all := make([]entry, len(chat))
	for i, e := range chat {
		e.message.Seq, e.message.Time = first+int64(i), time.UnixMilli(at).UTC()
		all[i] = e
	}
	return all
}

// gone is the end of a hold that somebody else has, or may have, by now.
func (r *runner) gone(h *hold, err error) *hold {
	if h.eager != nil && h.eager.dropped() { // nothing is lost: the event runs again, or its caller has the error
		h.ends("lost", err.Error())
		return nil
	}
	h.log().InfoContext(h.context(), "turn lost", "outcome", "lost", "duration", h.lasted(), "error", err)
	h.ends("lost", err.Error())
	if h.inHand && errors.Is(err, errGone) {
		r.acceptAgain(h)
	}
	return nil
}

// acceptAgain accepts an event anew that was in hand when the hash of its session was
// lost, and the event with it. If it has ended otherwise, by a destroy, its id is known.
func (r *runner) acceptAgain(h *hold) {
	b, e := r.bot, h.event
	if b.store.caller.Clock.At(h.at.bucket, time.Now()) >= h.accepted+h.window {
		return // if it has ended otherwise, that may be forgotten by now
	}
	opts := *h.opts
	opts.InboxLimit, opts.InboxBytes = math.MaxInt32, math.MaxInt32 // it was accepted
	answer, err := b.store.do(r.calls, h.at, b.askAccept(&opts, h.at, e, "", false, ""))
	if err != nil {
		h.log().ErrorContext(r.calls, "the session's hash is lost, and with it the event in hand", "error", err)
		return
	}
	h.log().WarnContext(r.calls, "the session's hash is lost; the event in hand was accepted anew")
	if answer.Status() == "OK" {
		b.wakeFor(answer.Next().Status(), h.at)
	}
}

// release gives the session back with its head undone; see lua/release.lua for
// the verdicts.
func (r *runner) release(h *hold, verdict string, wait time.Duration, why string) *hold {
	if !h.finish() {
		return r.gone(h, session.ErrFenced)
	}
	ms := max(wait.Milliseconds(), 0)
	answer, err := r.bot.store.do(r.calls, h.at, ask(lua.Release, []string{
		"id", h.at.ref.ID, "bot", r.bot.name, "token", string(h.token), "work", string(h.work),
		"verdict", verdict, "wait", strconv.FormatInt(ms, 10), "err", fit(why),
	}))
	if err != nil {
		return r.gone(h, err)
	}
	h.ends(map[string]string{"retry": "failed", "wait": "waits", "back": "back"}[verdict], fit(why))
	if ms > 0 {
		r.later(h.at, wait)
	}
	r.bot.wakeFor(answer.Next().Status(), h.at)
	return nil
}
