package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/botsession/botsession/session"
)

// A Handler is the bot: it handles one event, in a turn. If it returns nil,
// everything that it did to the turn is committed. If it returns an error or
// panics, or its goroutine ends (runtime.Goexit), nothing is committed, and
// the event is tried again after a back-off, until it has failed
// [BotOptions.MaxAttempts] times and becomes a dead letter. [RetryAfter]
// chooses the pause, [Later] puts the event off without a failure, and [GiveUp]
// makes it a dead letter at once. Up to 2,000 bytes of the error's text are kept.
// Handlers of many sessions run at once; of one session, one at a time.
//
// ctx ends when the turn is lost, and context.Cause says why:
// [session.ErrFenced] if the lease is lost, [session.ErrMaxTurn], or
// [session.ErrShutdown] if Serve's grace is over. A handler that goes on after
// ErrMaxTurn is not waited for: its turn has failed, and what it still does to
// the turn is dropped. What a handler does outside of its turn may happen
// twice, because after a replica died another one runs the handler again.
//
// In a handler, change its own session by the Turn. With ctx, or one made from
// it, the calls on that session that would wait for the turn or end it return
// [session.ErrInTurn]: [Bot.Update], [Receipt.Wait], and the methods of
// [Session] that move, reset or destroy it. With another ctx they are not
// recognised, and Update waits until that ctx ends.
type Handler func(ctx context.Context, t *Turn) error

var errNoHandler = errors.New("the handler is nil")

// A Delivery is a reply to be sent to the platform.
type Delivery struct {
	Ref      session.Ref     // Ref names the session.
	Platform string          // Platform is the session's platform. It may be empty.
	User     string          // User is the session's user, by the platform's name. It may be empty.
	Message  session.Message // Message is the reply, with its metadata.
	EventID  string          // EventID is the id of the event whose turn made the reply. It is empty for a reply of an Update or of a Session.
	Attempt  int             // Attempt is 1 at first, and one more for each time that Send failed or its replica died.
	Key      string          // Key identifies the reply within its session. It is the same each time that the reply is sent, so a platform can drop what it got before.
}

// RetryAfter returns an error with which a Handler or Send asks to be tried
// again after d, instead of after the back-off. From a Handler it counts as a
// failure like any other. From Send it does not, because the platform asked
// for the pause; a reply that is put off for [BotOptions.MaxWait] in all becomes
// a dead letter.
func RetryAfter(d time.Duration, err error) error {
	return &verdict{err: err, after: max(d, 0), chosen: true}
}

// Later returns an error with which a Handler or Send puts its event or reply
// off because of something that is nobody's fault and ends at no known moment:
// the model's provider is down, say. It counts as no failure. The first pause is
// [BotOptions.Backoff], and the next ones double up to a minute. What is put off
// for [BotOptions.MaxWait] in all becomes a dead letter. Meanwhile the session's
// next events wait behind an event, and turns go on before a reply.
func Later(err error) error { return &verdict{err: err, later: true} }

// GiveUp returns an error with which a Handler or Send makes its event or
// reply a dead letter at once.
func GiveUp(err error) error { return &verdict{err: err, dead: true} }

type verdict struct {
	err    error
	after  time.Duration
	chosen bool
	later  bool
	dead   bool
}

func (v *verdict) Error() string {
	if v.err == nil {
		return "no reason given"
	}
	return v.err.Error()
}

func (v *verdict) Unwrap() error { return v.err }

// A failure is what is kept of an error that a user's function returned, or of
// its panic. The error itself may do anything when it is asked: it is asked
// once, under protect, and goes no further.
type failure struct {
	text   string        // of the error, made fit to be stored
	dead   bool          // it will not get better
	after  time.Duration // until the next attempt, if chosen
	chosen bool
	later  bool // it is nobody's
}

func failed(err error) *failure { return &failure{text: fit(err.Error())} }

// hopeless is a failure that another attempt would meet again.
func hopeless(err error) *failure { return &failure{text: fit(err.Error()), dead: true} }

// judge says what becomes of something that failed, for the failures-th time
// including this one.
func (o *BotOptions) judge(f *failure, failures int) (dead bool, wait time.Duration) {
	switch {
	case f.dead, failures >= o.MaxAttempts:
		return true, 0
	case f.chosen:
		return false, f.after
	}
	return false, o.backoff(failures)
}

// backoff is the pause after the n-th failure in a row.
func (o *BotOptions) backoff(n int) time.Duration {
	first := min(o.Backoff, math.MaxInt64>>6) // more than four years, and no more bits are free
	return min(first<<min(n-1, 6), 60*first)
}

// pause is for how long something is put off that was put off for the time waited in
// all: the pauses are Backoff, twice as much, four times as much, up to a minute.
func (o *BotOptions) pause(waited time.Duration) time.Duration {
	return min(min(waited, time.Minute)+min(o.Backoff, time.Minute), time.Minute)
}

// maxError is how much of an error's text is kept.
const maxError = 2000

// fit makes a text fit to be stored by any codec: valid UTF-8, and cut between
// two letters if it is too long.
func fit(text string) string {
	cut := len(text) > maxError
	if cut {
		text = text[:maxError]
		for i := 1; i < utf8.UTFMax; i++ { // a letter that the cut went through
			if r, size := utf8.DecodeLastRuneInString(text); r != utf8.RuneError || size != 1 {
				break
			}
			if b := text[len(text)-1]; b < utf8.RuneSelf {
				break
			}
			text = text[:len(text)-1]
		}
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if cut {
		text += "…"
	}
	return text
}

// protect calls a function of the user's, and returns how it failed, or nil. A
// panic is a failure; its stack goes to the log. It does not come back from a
// function that ends its goroutine (runtime.Goexit). log is asked for only then: it
// is made anew for each hold.
func protect(ctx context.Context, log func() *slog.Logger, what string, f func() error) (fail *failure) {
	defer func() {
		if p := recover(); p != nil {
			fail = &failure{text: fit(fmt.Sprintf("%s panicked: %v", what, p))}
			log().ErrorContext(ctx, "panic", "in", what, "error", fail.text, "stack", string(debug.Stack()))
		}
	}()
	return taken(what, f())
}

// taken asks an error of the user's everything that is to be known of it.
func taken(what string, err error) (f *failure) {
	if err == nil {
		return nil
	}
	defer func() { // a nil pointer as an error is the usual reason
		if recover() != nil {
			f = &failure{text: fmt.Sprintf("%s returned a %T, which panics when it is read", what, err)}
		}
	}()
	f = &failure{}
	var v *verdict
	if errors.As(err, &v) {
		f.dead, f.after, f.chosen, f.later = v.dead, v.after, v.chosen, v.later
	}
	f.text = fit(err.Error())
	return f
}

// errGoexit is the failure of a function that ended its goroutine.
var errGoexit = errors.New("it ended its goroutine (runtime.Goexit)")
