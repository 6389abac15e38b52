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

// A Handler is the bot: it handles one event, in a turn. Returning nil commits
// all of the turn; returning an error commits none of it, and the event is
// tried again after a back-off ([RetryAfter] chooses another, [GiveUp] makes it
// a dead letter at once). A panic counts as an error, and so does a goroutine
// that ends (runtime.Goexit). Of an error only its text is kept, up to 2,000
// bytes of it.
//
// ctx ends when the turn is lost, with the cause: [session.ErrFenced] when the
// lease is gone, [session.ErrMaxTurn], or [session.ErrShutdown] when Serve's
// grace is over. A handler that does not return soon after
// [session.ErrMaxTurn] is left alone: its turn has failed, and whatever it does
// to it afterwards is dropped. What a handler does outside its turn may happen
// twice: a replica that dies in the middle of a turn did it, and the one that
// goes on does it again.
//
// With this ctx, or one made from it, calls that would wait for this turn, or
// end it, return [session.ErrInTurn]: on its own session [Bot.Update],
// [Receipt.Wait], and the [Session]'s Reset, Destroy and Move.
type Handler func(ctx context.Context, t *Turn) error

var errNoHandler = errors.New("the handler is nil")

// A Delivery is a reply to be sent to the platform.
type Delivery struct {
	Ref      session.Ref     // Ref names the session.
	Platform string          // Platform is that of the session; it may be empty.
	User     string          // User is that of the session; it may be empty.
	Message  session.Message // Message is the reply, with its metadata.
	EventID  string          // EventID is the id of the event that was handled when this was said; empty for a reply of an Update or of a live Session.
	Attempt  int             // Attempt is 1 when this reply is given to Send for the first time, and one more for each time that Send failed or was never heard of again.
	Key      string          // Key is the same whenever this reply is sent again, and of no other reply of the session: the life and the sequence number.
}

// RetryAfter is an error that asks for the next attempt after d instead of the
// usual back-off. A handler's counts as a failure like any other. That of Send
// does not: the platform asked for it. It ends after [BotOptions.MaxWait], when
// the reply becomes a dead letter.
func RetryAfter(d time.Duration, err error) error {
	return &verdict{err: err, after: max(d, 0), chosen: true}
}

// GiveUp is an error that makes the event, or the reply, a dead letter at once.
func GiveUp(err error) error { return &verdict{err: err, dead: true} }

type verdict struct {
	err    error
	after  time.Duration
	chosen bool
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
func protect(log func() *slog.Logger, what string, f func() error) (fail *failure) {
	defer func() {
		if p := recover(); p != nil {
			fail = &failure{text: fit(fmt.Sprintf("%s panicked: %v", what, p))}
			log().Error("panic", "in", what, "error", fail.text, "stack", string(debug.Stack()))
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
		f.dead, f.after, f.chosen = v.dead, v.after, v.chosen
	}
	f.text = fit(err.Error())
	return f
}

// errGoexit is the failure of a function that ended its goroutine.
var errGoexit = errors.New("it ended its goroutine (runtime.Goexit)")
