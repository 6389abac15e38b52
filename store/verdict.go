package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/botsession/botsession/session"
)

// A Handler is the bot: it handles one event, in a turn. Returning nil commits
// all of the turn; returning an error commits none of it, and the event is
// tried again after a back-off ([RetryAfter] chooses another, [GiveUp] makes it
// a dead letter at once). A panic counts as an error.
//
// ctx ends when the turn is lost, with the cause: [session.ErrFenced] when the
// lease is gone, [ErrMaxTurn], or [ErrShutdown] when Serve's grace is over.
// What a handler does outside its turn may happen twice: a replica that dies in
// the middle of a turn did it, and the one that goes on does it again.
type Handler func(ctx context.Context, t *Turn) error

// A Delivery is a reply to be sent to the platform.
type Delivery struct {
	Ref      session.Ref
	Platform string
	User     string
	Message  session.Message
	Key      string // life and sequence number: the same whenever this reply is sent again
}

// The causes with which a handler's context ends, beside [session.ErrFenced].
var (
	ErrMaxTurn  = errors.New("the turn took longer than BotOptions.MaxTurn")
	ErrShutdown = errors.New("the replica stops")
)

// RetryAfter is an error that asks for the next attempt after d instead of the
// usual back-off. It counts as a failure like any other.
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

// judge says what becomes of something that failed, for the failures-th time
// including this one.
func (o *BotOptions) judge(err error, failures int) (dead bool, wait time.Duration) {
	var v *verdict
	if errors.As(err, &v) {
		if v.dead {
			return true, 0
		}
		if v.chosen {
			return failures >= o.MaxAttempts, v.after
		}
	}
	if failures >= o.MaxAttempts {
		return true, 0
	}
	return false, min(o.Backoff<<min(failures-1, 6), 60*o.Backoff)
}

// protect calls a function of the user's; a panic becomes an error, and its
// stack goes to the log.
func protect(log *slog.Logger, what string, ref session.Ref, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v", what, p)
			log.Error("panic", "in", what, "session", ref.String(), "value", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return f()
}
