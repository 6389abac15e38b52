package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
)

// A runner handles what this replica is handed out, with one handler.
type runner struct {
	bot    *Bot
	handle Handler

	base     context.Context // of handlers; cancelled when the grace is over
	stop     context.CancelCauseFunc
	calls    context.Context // of scripts, which give sessions back also then
	stopping chan struct{}   // closed when nothing new may begin
	slots    chan struct{}   // one for each session in hand

	mu    sync.Mutex
	holds map[*hold]struct{}
	wg    sync.WaitGroup
	turns int // run so far
}

func (b *Bot) newRunner(ctx context.Context, h Handler, slots int) *runner {
	calls := context.WithoutCancel(ctx)
	base, stop := context.WithCancelCause(calls)
	return &runner{
		bot: b, handle: h, base: base, stop: stop, calls: calls, stopping: make(chan struct{}),
		slots: make(chan struct{}, slots), holds: map[*hold]struct{}{},
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

// tryEnter takes a slot, if there is one and the replica does not stop.
func (r *runner) tryEnter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isStopping() {
		return false
	}
	select {
	case r.slots <- struct{}{}:
		r.wg.Add(1)
		return true
	default:
		return false
	}
}

// enter waits for a slot. It reports whether it got one.
func (r *runner) enter(ctx context.Context) bool {
	for {
		if r.tryEnter() {
			return true
		}
		if r.isStopping() || !sleep(ctx, 5*time.Millisecond) {
			return false
		}
	}
}

func (r *runner) leave() {
	<-r.slots
	r.wg.Done()
}

// spawn runs a hold, with the slot that the caller took.
func (r *runner) spawn(h *hold) {
	go func() {
		defer r.leave()
		r.run(h)
	}()
}

// spawnClaim takes a session that is due, with the slot that the caller took.
func (r *runner) spawnClaim(at place) {
	go func() {
		defer r.leave()
		_, _ = r.claim(at)
	}()
}

// claim leases a session, if it is due and free, and does what there is to do.
// It reports whether there was anything.
func (r *runner) claim(at place) (did bool, err error) {
	b := r.bot
	began := time.Now()
	answer, err := b.store.do(r.calls, lua.Lease, at, at.ref.ID, b.name, "serve", millis(b.opts.Lease), b.opts.Initial, millis(b.opts.TTL))
	switch {
	case err == nil:
		h := r.next(at, began, answer.list(2))
		r.run(h)
		return h != nil, nil
	case errors.Is(err, session.ErrBusy), errors.Is(err, session.ErrNotFound):
		return false, nil
	}
	b.store.log.Warn("session not leased", "session", at.ref.String(), "error", err)
	b.postpone(r.calls, "due", at, 10*time.Second, err)
	return false, err
}

// next turns the last part of a reply into the hold that it hands out, or does
// what else it asks for; nil means that this session is done with.
func (r *runner) next(at place, began time.Time, next reply) *hold {
	switch next.text(0) {
	case string(session.WorkEvent), string(session.WorkReply), string(session.WorkUpdate):
		return r.hold(at, began, next)
	case "ended":
		if _, err := r.bot.store.bury(r.calls, at, "ended"); err != nil {
			r.bot.store.log.Warn("ended session not buried", "session", at.ref.String(), "error", err)
		}
	case "due":
		r.bot.wakeFor(next, at)
	}
	return nil
}

// run does everything there is to do for a session, until it is given back.
func (r *runner) run(h *hold) {
	for h != nil {
		h.begin(r.base)
		r.mu.Lock()
		r.holds[h] = struct{}{}
		r.mu.Unlock()
		after := r.once(h)
		r.mu.Lock()
		delete(r.holds, h)
		r.mu.Unlock()
		h = after
	}
}

func (r *runner) once(h *hold) *hold {
	defer h.cancel(nil)
	if h.bad != nil {
		return r.release(h, "retry", r.bot.opts.Lease, h.bad)
	}
	if h.work == session.WorkReply {
		return r.deliver(h)
	}
	return r.turn(h)
}

// turn runs the handler on an event and ends the turn as it says.
func (r *runner) turn(h *hold) *hold {
	b := r.bot
	if err := context.Cause(h.ctx); err != nil { // handed out after the replica's end
		return r.release(h, "back", 0, err)
	}
	if why := errors.Join(r.tooManyCrashes(h), h.event.err); why != nil {
		return r.bury(h, why)
	}
	r.mu.Lock()
	r.turns++
	r.mu.Unlock()
	t := newTurn(b, h.at.ref, h.rec, h.event, 1+h.fails+h.crashes)
	err := protect(b.store.log, "handler", h.at.ref, func() error { return r.handle(h.ctx, t) })
	if err == nil {
		err = t.Err()
	}
	switch {
	case !h.take(): // abandoned meanwhile: it is somebody else's now
		return nil
	case err == nil:
		return r.commit(h, t)
	case errors.Is(context.Cause(h.ctx), ErrShutdown):
		return r.release(h, "back", 0, err)
	}
	return r.failed(h, err)
}

// tooManyCrashes answers why a head is not tried again that ended the life of
// every replica it was handed out to.
func (r *runner) tooManyCrashes(h *hold) error {
	if h.crashes <= crashFactor*r.bot.opts.MaxAttempts {
		return nil
	}
	return fmt.Errorf("handed out %d times, and none of those replicas was heard of again", h.crashes)
}

// failed decides what becomes of a head that could not be handled or sent.
func (r *runner) failed(h *hold, err error) *hold {
	r.bot.store.log.Warn("turn failed", "session", h.at.ref.String(), "work", string(h.work), "failures", h.fails+1, "error", err)
	h.fails++
	if dead, wait := r.bot.opts.judge(err, h.fails); !dead {
		return r.release(h, "retry", wait, err)
	}
	return r.bury(h, err)
}

// want says whether this runner takes the next event of a session it holds. That
// of an Update never does: its handler is not the bot's.
func (r *runner) want() string { return flag(cap(r.slots) > 0 && !r.isStopping()) }

// commit writes the turn, and returns what comes next for the session.
func (r *runner) commit(h *hold, t *Turn) *hold {
	change, dirty := t.end()
	wired, err := r.bot.wire(change, dirty)
	if err != nil { // too large, or no encoding: the handler's own failure
		return r.failed(h, err)
	}
	after, err := r.write(h, change, wired)
	switch {
	case err == nil:
		return after
	case errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrUnknownOutcome):
		return r.gone(h, err)
	case errors.Is(err, session.ErrWrongState):
		// A live Move came between: the event runs again, on the new state.
		return r.release(h, "back", 0, err)
	case errors.Is(err, session.ErrCorrupt), errors.Is(err, session.ErrNewerLayout):
		return r.failed(h, err) // it will not get better
	}
	r.bot.store.log.Error("turn not committed", "session", h.at.ref.String(), "error", err)
	return r.release(h, "back", r.bot.opts.Backoff, err) // the server's failure: nobody is to blame
}

// write commits a turn by the script of that name: see lua/commit.lua.
func (r *runner) write(h *hold, change session.Change, wired []string) (after *hold, err error) {
	b := r.bot
	if !h.finish() {
		return nil, session.ErrFenced
	}
	digest := ""
	if h.event != nil {
		digest = h.event.digest
	}
	began := time.Now()
	args := append([]string{h.at.ref.ID, b.name, h.token, digest, r.want(), millis(b.opts.Lease)}, wired...)
	answer, err := b.store.do(r.calls, lua.Commit, h.at, args...)
	if err != nil {
		return nil, err
	}
	chat := numbered(change.Chat, answer)
	if h.event != nil {
		h.event.settle(Outcome{Status: Handled, Replies: ofBot(chat)})
	}
	after = r.next(h.at, began, answer.list(4))
	if after != nil && after.work == session.WorkReply && answer.int(3) == 0 {
		// All that is to be sent is what this turn said: nothing had to come back.
		after.rec, after.bad = h.rec, nil
		after.parcels = parcelsOf(change, chat, h)
	}
	return after, nil
}

// numbered returns the turn's messages as the chat has them.
func numbered(entries []session.Entry, answer reply) []session.Message {
	chat := make([]session.Message, len(entries))
	for i, e := range entries {
		chat[i] = e.Message
		chat[i].Seq, chat[i].Time = answer.int(2)+int64(i), time.UnixMilli(answer.int(1)).UTC()
	}
	return chat
}

// parcelsOf returns those that are to be sent, without reading them back.
func parcelsOf(change session.Change, chat []session.Message, h *hold) []parcel {
	life := fmt.Sprint(h.rec.Life())
	if change.Reset != nil {
		life = h.token
	}
	var parcels []parcel
	for i, e := range change.Chat {
		if e.Send {
			parcels = append(parcels, parcel{life: life, seq: chat[i].Seq, message: chat[i]})
		}
	}
	return parcels
}

// gone is the end of a hold that somebody else has, or may have, by now.
func (r *runner) gone(h *hold, err error) *hold {
	r.bot.store.log.Info("turn lost", "session", h.at.ref.String(), "error", err)
	return nil
}

// release gives the session back with its head undone.
func (r *runner) release(h *hold, verdict string, wait time.Duration, why error) *hold {
	if !h.finish() {
		return r.gone(h, why)
	}
	text := ""
	if why != nil {
		text = why.Error()
	}
	answer, err := r.bot.store.do(r.calls, lua.Release, h.at, h.at.ref.ID, h.token, string(h.work), verdict, strconv.FormatInt(max(wait.Milliseconds(), 0), 10), clip(text))
	if err != nil {
		return r.gone(h, err)
	}
	r.bot.wakeFor(answer.list(2), h.at)
	return nil
}

// maxError is how much of an error's text is kept.
const maxError = 2000

func clip(text string) string {
	if len(text) > maxError {
		return text[:maxError] + "…"
	}
	return text
}

// bury makes the head of the inbox or of the outbox a dead letter.
func (r *runner) bury(h *hold, why error) *hold {
	b := r.bot
	if !h.finish() {
		return r.gone(h, why)
	}
	letter := session.DeadLetter{Ref: h.at.ref, Error: clip(why.Error()), Failures: h.fails, Crashes: h.crashes, Time: b.store.clock.now(h.at.bucket)}
	digest := ""
	var change session.Change
	if h.work == session.WorkReply {
		letter.Reply = &h.parcels[0].message
	} else {
		digest = h.event.digest
		e := h.event.Event
		letter.Event = &e
		if h.event.err == nil {
			change = newTurn(b, h.at.ref, h.rec, h.event, 1).change
			change.From, change.File = "", nil
		}
	}
	encoded, err := b.store.opts.Codec.EncodeDeadLetter(letter)
	if err != nil {
		encoded, err = b.store.opts.Codec.EncodeDeadLetter(session.DeadLetter{Error: letter.Error, Failures: h.fails, Crashes: h.crashes})
	}
	wired, err2 := b.wire(change, !change.Empty())
	if err = errors.Join(err, err2); err != nil {
		return r.gone(h, err)
	}
	began := time.Now()
	args := append([]string{h.at.ref.ID, h.token, digest, r.want(), millis(b.opts.Lease), string(encoded), millis(deadLife)}, wired...)
	answer, err := b.store.do(r.calls, lua.Dead, h.at, args...)
	if err != nil {
		return r.gone(h, err)
	}
	b.store.log.Error("dead letter", "session", h.at.ref.String(), "work", string(h.work), "error", why)
	if h.event != nil {
		h.event.settle(Outcome{Status: Dead, Error: letter.Error})
	}
	if b.opts.Dead != nil {
		_ = protect(b.store.log, "Dead", h.at.ref, func() error { b.opts.Dead(r.calls, letter); return nil })
	}
	return r.next(h.at, began, answer.list(2))
}

// deliver sends the replies that wait, in order, and notes them.
func (r *runner) deliver(h *hold) *hold {
	b := r.bot
	sent := ""
	var failure error
	for i := range h.parcels {
		p := &h.parcels[i]
		if failure = r.send(h, p); failure != nil {
			h.parcels = h.parcels[i:]
			break
		}
		sent = p.name()
		h.fails, h.crashes = 0, 0 // those were the first one's
	}
	if !h.take() {
		return nil
	}
	if failure != nil && sent == "" {
		return r.unsent(h, failure)
	}
	if !h.finish() {
		return r.gone(h, session.ErrFenced)
	}
	began := time.Now()
	answer, err := b.store.do(r.calls, lua.Sent, h.at, h.at.ref.ID, h.token, sent, r.want(), millis(b.opts.Lease))
	if err != nil {
		return r.gone(h, err)
	}
	after := r.next(h.at, began, answer.list(2))
	if failure == nil || after == nil || after.work != session.WorkReply {
		return after
	}
	after.begin(r.base)
	defer after.cancel(nil)
	return r.unsent(after, failure)
}

// unsent ends the hold on replies the first of which could not be sent.
func (r *runner) unsent(h *hold, failure error) *hold {
	if errors.Is(context.Cause(h.ctx), ErrShutdown) {
		return r.release(h, "back", 0, failure)
	}
	return r.failed(h, failure)
}

// send gives one reply to the platform.
func (r *runner) send(h *hold, p *parcel) error {
	b := r.bot
	if why := errors.Join(r.tooManyCrashes(h), p.err); why != nil {
		return GiveUp(why)
	}
	if b.opts.Send == nil {
		return errors.New("a reply waits, and this replica's BotOptions have no Send")
	}
	if err := context.Cause(h.ctx); err != nil {
		return err
	}
	h.extend()
	d := Delivery{Ref: h.at.ref, Platform: h.rec.Platform(), User: h.rec.User(), Message: p.message, Key: strings.ReplaceAll(p.name(), ":", "-")}
	return protect(b.store.log, "Send", h.at.ref, func() error { return b.opts.Send(h.ctx, d) })
}
