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
	"github.com/botsession/botsession/store/internal/stored"
)

// A Receipt stands for one accepted event, which will be handled once. It is
// safe for concurrent use.
type Receipt struct {
	Ref       session.Ref // Ref names the session.
	EventID   string      // EventID is the id of the event.
	Duplicate bool        // Duplicate is true if an event with this id had been accepted before. It is false in what Bot.Receipt returns.
	Created   bool        // Created is true if accepting the event created the session. It is false in what Bot.Receipt returns.

	bot      *Bot
	at       place
	digest   ids.Digest
	accepted time.Time // just before this process accepted the event; zero if that is not sure
	here     *promise  // of the turn, if it was handed to this process
	err      error
}

// A promise is an outcome that another goroutine will know.
type promise struct {
	done chan struct{} // closed when the rest is set; never, if the turn ends elsewhere
	ending
}

func newPromise() *promise { return &promise{done: make(chan struct{})} }

// Receipt returns the receipt of an event that any process accepted earlier.
// It does no I/O.
func (b *Bot) Receipt(id, eventID string) *Receipt {
	at, err := b.place(id)
	return &Receipt{Ref: session.Ref{Bot: b.name, ID: id}, EventID: eventID, bot: b, at: at, digest: ids.DigestOf(eventID), err: err}
}

// An Outcome says how an event ended. All who wait for the event get the same
// one, but Replies is empty once the chat does not hold them any more.
type Outcome struct {
	Status  session.OutcomeStatus // Status is one of session.Handled, session.Dead and session.Dropped.
	Replies []session.Message     // Replies are the messages that the bot added to the chat in the event's turn, in order.
	Reason  string                // Reason is the text of the last failure if Status is session.Dead, else empty.
}

// Err returns nil if the event was handled, [session.ErrDead] with the reason
// if it became a dead letter, and [session.ErrDropped] if its session was
// destroyed.
func (o Outcome) Err() error {
	switch {
	case o.Status == session.Handled:
		return nil
	case o.Status == session.Dropped:
		return session.ErrDropped
	case o.Reason == "":
		return session.ErrDead
	}
	return fmt.Errorf("%w: %s", session.ErrDead, o.Reason)
}

// Wait waits until the event has been handled or has become a dead letter, and
// returns how it ended. It returns when the turn is committed, which is before
// its replies are sent; how soon, and what it costs, is in the package comment under
// Waiting for an event. ctx ends the waiting alone, not the event: Wait then
// returns the cause, and with it what the trouble was, such as a server that
// cannot be reached or that no replica serves the bot.
//
// It returns [session.ErrNotFound] for an event that was never accepted or
// whose [BotOptions.DedupeWindow] is over, and [session.ErrInTurn] if ctx is
// that of a turn of the same session.
func (r *Receipt) Wait(ctx context.Context) (Outcome, error) {
	if r.err != nil {
		return Outcome{}, fmt.Errorf("wait: %w", r.err)
	}
	err := r.bot.store.inTurn(ctx, r.Ref, true)
	var o Outcome
	if err == nil {
		o, err = r.wait(ctx)
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("wait for event %q of %s: %w", r.EventID, r.Ref, err)
	}
	return o, nil
}

// wait hears of a turn in this process at once, and of one elsewhere if this process
// accepted the event: then whoever ends it knows whom to tell (told.go). It looks when it
// may not have been told: until what it hears is complete, when that was interrupted, and
// every few seconds in any case. For an event that perhaps another process accepted it
// looks all the time.
func (r *Receipt) wait(ctx context.Context) (Outcome, error) {
	s := r.bot.store
	what := waited{r.Ref, r.digest}
	w := s.told.enter(what, r.accepted)
	defer s.told.leave(what, w)
	var here <-chan struct{}
	pause := time.Duration(0)
	if r.here != nil {
		here, pause = r.here.done, longestPause
	}
	looks, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan glance, 1)
	seen := r.accepted // when the event waited for certain
	net := false       // the timer was set for a look that only makes sure
	looking, more := false, false
	timer := time.NewTimer(pause)
	defer timer.Stop()
	begin := func() {
		if looking {
			more = true // the one under way may have come too early
			return
		}
		looking, net = true, false
		timer.Stop()
		go func() {
			began := time.Now()
			o, done, err := r.look(looks)
			looked <- glance{o, done, err, began}
		}()
	}
	var trouble error
	for {
		select {
		case <-here:
			return r.here.outcome()
		case e := <-w.ended:
			return e.outcome()
		case <-ctx.Done():
			return Outcome{}, r.gaveUp(ctx, trouble)
		case <-s.ended:
			return Outcome{}, s.usable()
		case <-w.look:
			begin()
		case <-timer.C:
			if net || !s.told.covers(seen) {
				begin()
				continue
			}
			net = true
			timer.Reset(s.lookAgain())
		case l := <-looked:
			// Until this process ends the turn that it has in hand, an event that was lost with its
			// session's hash is accepted anew by it.
			lost := here != nil && errors.Is(l.err, session.ErrNotFound) && time.Since(r.accepted) < s.opts.MaxTurn
			if l.done || l.err != nil && !passing(l.err) && !lost {
				return l.outcome, l.err
			}
			looking, trouble, seen = false, l.err, time.Time{}
			if l.err == nil && !r.accepted.IsZero() {
				seen = l.began
				s.beTold()
			}
			if more {
				more = false
				begin()
				continue
			}
			pause = min(max(pause*3/2, 2*time.Millisecond), longestPause)
			timer.Reset(pause)
		}
	}
}

// A glance is what one look for an outcome found.
type glance struct {
	outcome Outcome
	done    bool
	err     error
	began   time.Time
}

// longestPause is the longest time between two looks for an outcome of which nobody may
// tell.
const longestPause = 200 * time.Millisecond

// lookAgain is when the next look is for one of which somebody should.
func (s *Store) lookAgain() time.Duration {
	least := s.told.patience
	return least + s.caller.Jitter(least*5/8, "wait")
}

// passing tells whether an error is of the moment: of the network, or of a
// server that will be back.
func passing(err error) bool {
	if errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrNoPermission) || unreadable(err) {
		return false
	}
	return call.Passing(err)
}

// gaveUp says why a wait that ctx has ended was in vain.
func (r *Receipt) gaveUp(ctx context.Context, trouble error) error {
	err := causes.Join(context.Cause(ctx), trouble)
	if trouble != nil {
		return err
	}
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	if names, e := r.bot.replicas(ask); e == nil && len(names) == 0 {
		return fmt.Errorf("%w: no replica serves %s, or none has room", err, r.Ref.Bot)
	}
	return err
}

// look reads what is known of the event, once.
func (r *Receipt) look(ctx context.Context) (o Outcome, done bool, err error) {
	answer, err := r.bot.store.do(ctx, r.at, ask(lua.Outcome, []string{"digest", string(r.digest)}))
	if err != nil {
		return o, false, err
	}
	switch answer.Status() {
	case "DROPPED":
		return Outcome{Status: session.Dropped}, true, nil
	case "DEAD":
		o.Status = session.Dead
		if why := answer.Text("why"); why != "" {
			letter, fault := stored.DecodeWhy([]byte(why))
			if o.Reason = letter.Error; fault != nil {
				err = &session.CorruptError{Ref: r.Ref, Field: "letters", Reason: fault}
			}
		}
		return o, true, err
	case "HANDLED":
		o.Status = session.Handled
		for i, element := range answer.Texts("messages") {
			m, err := stored.DecodeEntry([]byte(element))
			if err != nil {
				return o, true, &session.CorruptError{Ref: r.Ref, Field: "history", Reason: err}
			}
			if m.Seq = answer.Int("first") + int64(i); m.From == session.FromBot {
				o.Replies = append(o.Replies, m)
			}
		}
		return o, true, nil
	}
	return o, false, nil // it waits
}
