package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/botsession/botsession/codec"
)

// The errors of this project, each in one group by who must do what. Compare
// with [errors.Is]; those that carry more ([StateError], [CorruptError]) are found
// with [errors.As]. An error's text holds no content (text, payload, data, file).
//
// A webhook that got an error from Accept asks only whether it is [ErrInvalid],
// which there is about the event alone. What it returns stands at each group.

// Fix the input. A webhook returns 400 and logs it: the event can never be
// accepted, and is lost.
var (
	// ErrInvalid says that the caller's input cannot be right whatever is stored:
	// an empty name, an over-long id, a value that has no encoding.
	ErrInvalid = codec.ErrInvalid

	// ErrTooLarge is the [ErrInvalid] of a value, a message, an event, a file, a
	// change, or a session's data over the size limit.
	ErrTooLarge error = kind{"too large", ErrInvalid}
)

// Fix the program. A webhook returns 500, or 503: the platform delivers again,
// to a program that may be mended by then.
var (
	// ErrInTurn says that a call from within a turn would wait for that same turn,
	// or end it.
	ErrInTurn = errors.New("called from within a turn of the same session")

	// ErrType says that what is stored does not fit the Go type that was asked
	// for, or that this is not a pointer. It is not an [ErrInvalid].
	ErrType = codec.ErrType

	// ErrReadOnly says that a call writes, and the store was opened to look only.
	ErrReadOnly = errors.New("the store is read-only")

	// ErrExists says that what was to be made is there already.
	ErrExists = errors.New("exists already")
)

// Try again. A webhook returns 503, and the platform delivers again.
var (
	// ErrInboxFull says that the session has as many events waiting as it may
	// have. Nothing was recorded; the same event can be accepted later.
	ErrInboxFull = errors.New("inbox full")

	// ErrBusy says that other turns held the session until the context ended.
	ErrBusy = errors.New("busy: another turn holds the session")

	// ErrUnknownOutcome says that no answer came, and the call may have been
	// applied. It is joined with the cause. What had not happened by the time of
	// this error never will: the request carried a deadline that has passed.
	ErrUnknownOutcome = errors.New("unknown outcome: the call may have been applied")

	// ErrNotAcked is the [ErrUnknownOutcome] of a write that is done, but not as
	// safe as the store's options Acks and Fsync ask: a fail-over, or a crash of
	// the server's machine, may undo it. What is missing follows.
	ErrNotAcked error = kind{"not acknowledged", ErrUnknownOutcome}
)

// Look again. A webhook returns 503, and the platform delivers again.
var (
	// ErrNotFound says that there is no such session (or event, or bot): it was
	// never created, was destroyed, or has expired. Nothing was written.
	ErrNotFound = errors.New("not found")

	// ErrWrongState says that a move's From is not the session's state. A
	// [StateError] carries the state that was found. Nothing was written.
	ErrWrongState = errors.New("wrong state")

	// ErrChanged says that a change's IfVersion is not the session's version, which
	// follows. Nothing was written.
	ErrChanged = errors.New("changed meanwhile")

	// ErrFenced says that the caller no longer holds the session: its lease ended
	// and another replica took over, or the session was reset or destroyed
	// meanwhile. Nothing was written, and nothing will be.
	ErrFenced = errors.New("fenced: the session is no longer held")
)

// Ask an operator. A webhook returns 503 and logs it.
var (
	// ErrUnsupported says that the server, or the data on it, is not what this
	// library can work with: too old, without a command that is needed, or
	// divided in another way than this process knows.
	ErrUnsupported = errors.New("not supported")

	// ErrNoPermission is the [ErrUnsupported] of a user without the right to a
	// command, whose name follows. Nothing was done.
	ErrNoPermission error = kind{"the user lacks the right to a command", ErrUnsupported}

	// ErrCorrupt says that what is stored cannot be read as what it should be. A
	// [CorruptError] carries the session, the field and the reason.
	ErrCorrupt = codec.ErrCorrupt

	// ErrNewerLayout says that the stored form was written by a newer version of
	// this library, which this one neither reads nor changes.
	ErrNewerLayout = errors.New("stored in a newer layout")
)

// The causes with which the context of a handler ends, beside [ErrFenced]. No
// call returns them alone, and no webhook gets them.
var (
	// ErrMaxTurn says that the turn took longer than Options.MaxTurn.
	ErrMaxTurn = errors.New("the turn took longer than Options.MaxTurn")

	// ErrShutdown says that the replica stops, and Serve's grace is over.
	ErrShutdown = errors.New("the replica stops")
)

// The ends of an event that was not handled. Outcome.Err returns them, with
// the reason; no call fails with them, and no webhook gets them.
var (
	// ErrDead says that the event failed too often, or could not be handled at
	// all: it is a dead letter.
	ErrDead = errors.New("the event is a dead letter")

	// ErrDropped says that the event's session was destroyed before the event was
	// handled.
	ErrDropped = errors.New("the event was dropped: its session was destroyed")
)

// A kind is an error that is also a more general one.
type kind struct {
	text string
	of   error
}

func (k kind) Error() string { return k.text }
func (k kind) Unwrap() error { return k.of }

// A StateError is the [ErrWrongState] of one session.
type StateError struct {
	Ref   Ref
	Want  string // the state that the move starts from
	Found string // the state that the session is in
}

func (e *StateError) Error() string {
	return fmt.Sprintf("%v: session %s is in %q, not in %q", ErrWrongState, e.Ref, e.Found, e.Want)
}

// Unwrap makes errors.Is(err, ErrWrongState) hold.
func (e *StateError) Unwrap() error { return ErrWrongState }

// A CorruptError is the [ErrCorrupt] of one stored field.
type CorruptError struct {
	Ref    Ref    // zero where it is not known yet
	Field  string // the hash field, or the name of the list
	Reason error  // Reason says what is wrong, and holds no content
}

func (e *CorruptError) Error() string {
	reason := strings.TrimPrefix(fmt.Sprint(e.Reason), ErrCorrupt.Error()+": ")
	if e.Ref == (Ref{}) {
		return fmt.Sprintf("%v: field %q: %v", ErrCorrupt, e.Field, reason)
	}
	return fmt.Sprintf("%v: session %s: field %q: %v", ErrCorrupt, e.Ref, e.Field, reason)
}

// Unwrap makes errors.Is hold for ErrCorrupt and for the reason.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Reason} }
