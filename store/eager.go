package store

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// An eager run is a handler that runs before its event is accepted, on the record of
// the free session that this process knows. If the record is still the same when the
// handler has returned, commit writes the event and its turn in one trip.
//
// Anything else first has the event accepted, as always: that what the turn does is
// more than commit writes, that the handler fails, takes longer than warm.Patience, or
// reads the session. The run then becomes the event's turn, under a lease, if and only
// if this very call was handed this event, and the record that it replaced is byte for
// byte the one that the run began with; accept shows that by leaving the hash out. Else
// the run is dropped, what it did and its failure with it, and the event is handled
// like any other: so its handler runs twice, and one of the runs leaves nothing behind.
type eager struct {
	bot    *Bot
	runner *runner
	slot   *slot
	ctx    context.Context // Accept's
	at     place
	id     ids.Call // of the one call that the trip and accept are
	opts   *BotOptions
	event  *event
	free   *stored.Record // the session as the run found it
	hold   *hold

	mu      chan struct{} // a lock that is held while the server is asked: a channel, on which a simulation can wait
	fate    fate
	receipt *Receipt
	err     error
	done    chan struct{} // closed when Accept can return
}

// A fate is what has become of an eager run.
type fate int

const (
	runPending fate = iota // its event is not accepted
	runKept                // it is the event's turn
	runDropped             // it is nothing: the event is handled otherwise, or was not accepted
)

// errDropped is why the context of an eager run ends that is dropped.
var errDropped = fmt.Errorf("%w: the session has changed since the handler began, before the event was accepted; the event is handled anew", session.ErrFenced)

// acceptEagerly runs the handler, and returns when the event is accepted.
func (b *Bot) acceptEagerly(ctx context.Context, r *runner, s *slot, at place, e *event, opts *BotOptions, free *stored.Record) (*Receipt, error) {
	g := &eager{
		bot: b, runner: r, slot: s, ctx: ctx, at: at, id: b.store.caller.NewID(), opts: opts, event: e, free: free, mu: make(chan struct{}, 1), done: make(chan struct{}),
		receipt: &Receipt{Ref: at.ref, EventID: e.ID, bot: b, at: at, digest: e.digest},
	}
	g.hold = &hold{runner: r, opts: opts, at: at, work: session.WorkEvent, rec: free, event: e, eager: g, window: e.window, slot: s}
	e.promise = newPromise()
	g.hold.begin(r.base)
	r.spawn(g.hold, s)
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case <-g.done:
	case <-timer.C:
		g.lands()
	case <-ctx.Done():
		g.giveUp()
	}
	<-g.done
	if g.err != nil {
		return nil, g.err
	}
	return g.receipt, nil
}

// turn writes the event and its turn in one trip. done is false if the event must be
// accepted first, or is.
func (g *eager) turn(c written) (after *hold, done bool) {
	g.mu <- struct{}{}
	defer func() { <-g.mu }()
	if g.fate != runPending {
		return nil, false
	}
	h, caller := g.hold, g.bot.store.caller
	began := time.Now()
	now := max(caller.Clock.At(g.at.bucket, began), g.free.Active())
	token := ids.Token(strconv.FormatInt(max(g.free.Token()+1, now*1000), 10))
	begun, ok := g.free.Begun(token, g.id, now, now+g.bot.store.opts.Lease.Milliseconds())
	if !ok {
		return nil, false
	}
	h.token, h.accepted = token, now
	h.known = begun
	p, ok := g.runner.plain(h, c, g.free.Text())
	if !ok {
		h.known = nil
		return nil, false
	}
	p.request.id = g.id
	answer, err := g.bot.store.do(g.ctx, g.at, p.request)
	switch {
	case err != nil:
		g.drop(err)
		return nil, true
	case answer.Status() != "OK":
		h.known = nil
		return nil, false
	}
	g.receipt.here = g.event.promise
	after = g.runner.committed(h, c, p, began, answer.Now())
	g.end(runKept)
	return after, true
}

// lands has the event accepted, if it is not yet, and reports whether the run is its
// turn now.
func (g *eager) lands() bool {
	g.mu <- struct{}{}
	defer func() { <-g.mu }()
	if g.fate == runPending {
		g.accept()
	}
	return g.fate == runKept
}

// accept has the event accepted, with mu held.
func (g *eager) accept() {
	b, h := g.bot, g.hold
	want := ""
	if !g.runner.isStopping() {
		want = b.words(g.opts).room
	}
	q := b.askAccept(g.opts, g.at, g.event, want, true, g.free.Text())
	q.id = g.id
	began := time.Now()
	answer, err := b.store.do(g.ctx, g.at, q)
	if err != nil {
		g.drop(err)
		return
	}
	if answer.Status() != "OK" {
		g.receipt.Duplicate = true
		g.drop(nil)
		return
	}
	g.receipt.accepted = began
	next := answer.Next()
	if next.Status() == "hand" && len(next.Texts("hash")) == 0 {
		if known, err := g.free.With(next.Text("rec")); err == nil {
			h.mu.Lock()
			h.token, h.known, h.inHand, h.accepted, h.until = stored.TokenOf(next.Text("rec")), known, true, answer.Now(), began.Add(b.store.opts.Lease)
			h.mu.Unlock()
			h.leased()
			g.receipt.here = g.event.promise
			g.end(runKept)
			return
		}
	}
	g.event.promise = nil
	g.receipt.Created = answer.Int("created") == 1
	again := *g.event // the run's goroutine may still read the other
	g.receipt.here = b.goOn(g.runner, g.slot.move(), g.at, began, answer, &again, nil)
	g.drop(nil)
}

// giveUp ends a run whose event nobody asks for any more: it was not accepted.
func (g *eager) giveUp() {
	g.mu <- struct{}{}
	defer func() { <-g.mu }()
	if g.fate == runPending {
		g.drop(context.Cause(g.ctx))
	}
}

// drop ends the run, with mu held: what it still does changes nothing.
func (g *eager) drop(err error) {
	g.err = err
	g.hold.cancel(errDropped)
	g.hold.leaveAlone()
	g.slot.move().leave() // it may never return
	g.end(runDropped)
}

// end notes what has become of the run, with mu held.
func (g *eager) end(f fate) {
	g.fate = f
	g.runner.tries.note(f == runKept)
	close(g.done)
}

// dropped reports whether the run is nothing.
func (g *eager) dropped() bool {
	g.mu <- struct{}{}
	defer func() { <-g.mu }()
	return g.fate == runDropped
}

// landed has the event accepted of an eager run whose handler calls with its ctx for the
// run's own session: what it reads must not be older than its lease. It returns an error
// if the run is not the event's turn.
func (s *Store) landed(ctx context.Context, ref session.Ref) error {
	for m := markOf(ctx); m != nil; m = markOf(m.Context) {
		if m.eager != nil && m.ref == ref && !m.over.Load() && m.store.same(s) && !m.eager.lands() {
			return errDropped
		}
	}
	return nil
}

// tries are the last eager runs of a runner.
type tries struct {
	mu    sync.Mutex
	pause time.Time // pause is until when there are none.
	last  [1000]bool
	n     int // n is how many there were.
	won   int // won is how many of the last became their event's turn.
}

// tooFew is after how many runs it is asked whether they are worth it.
const tooFew = 100

// may reports whether an event may be run eagerly.
func (t *tries) may() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !time.Now().Before(t.pause)
}

// note notes how a run ended. If less than half of the last thousand became a turn,
// there is none for a minute, and then the counting begins anew.
func (t *tries) note(won bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.n % len(t.last)
	if t.n >= len(t.last) && t.last[at] {
		t.won--
	}
	t.last[at] = won
	if won {
		t.won++
	}
	if t.n++; t.n >= tooFew && 2*t.won < min(t.n, len(t.last)) {
		t.pause, t.n, t.won = time.Now().Add(time.Minute), 0, 0
	}
}

// rate is how many of a hundred became their event's turn.
func (t *tries) rate() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return 100 * t.won / max(min(t.n, len(t.last)), 1)
}
