package session

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of this project. Compare with [errors.Is]; those that carry more
// ([StateError], [CorruptError]) are found with [errors.As].
var (
	// ErrNotFound: no such session (or event, or bot): it was never created, was
	// destroyed, or has expired. Nothing was written.
	ErrNotFound = errors.New("not found")

	// ErrExists: what was to be made is there already.
	ErrExists = errors.New("exists already")

	// ErrWrongState: a move whose From is not the session's state. A
	// [StateError] carries the state that was found. Nothing was written.
	ErrWrongState = errors.New("wrong state")

	// ErrFenced: the caller no longer holds the session. Its lease ended and
	// another replica took over, or the session was reset or destroyed
	// meanwhile. Nothing was written, and nothing will be.
	ErrFenced = errors.New("fenced: the session is no longer held")

	// ErrBusy: another replica's turn held the session until the context ended.
	ErrBusy = errors.New("busy: another turn holds the session")

	// ErrInboxFull: the session has as many events waiting as it may have.
	// Nothing was recorded; the same event can be accepted later.
	ErrInboxFull = errors.New("inbox full")

	// ErrTooLarge: a value, a message, an event or a file over the size limit.
	ErrTooLarge = errors.New("too large")

	// ErrUnknownOutcome: no answer came, and the call may have been applied. It
	// is joined with the cause. What had not happened by the time of this error
	// never will: the request carried a deadline that has passed.
	ErrUnknownOutcome = errors.New("unknown outcome: the call may have been applied")

	// ErrCorrupt: what is stored cannot be read as what it should be. A
	// [CorruptError] carries the session, the field and the reason.
	ErrCorrupt = errors.New("corrupt")

	// ErrNewerLayout: the stored form was written by a newer version of this
	// library, which this one neither reads nor changes.
	ErrNewerLayout = errors.New("stored in a newer layout")

	// ErrType: what is stored does not fit the Go type that was asked for. The
	// program is to be mended, or what is stored.
	ErrType = errors.New("wrong type")

	// ErrInTurn: a call from within a turn of the same session that would wait for
	// that turn, or end it.
	ErrInTurn = errors.New("called from within a turn of the same session")

	// ErrReadOnly: a call that writes, on a store that was opened to look only.
	ErrReadOnly = errors.New("the store is read-only")

	// ErrUnsupported: the server cannot do what is needed: it is too old, or
	// lacks a command or a right.
	ErrUnsupported = errors.New("not supported by the server")

	// ErrMaxTurn is the cause with which a handler's context ends when the turn
	// took longer than BotOptions.MaxTurn.
	ErrMaxTurn = errors.New("the turn took longer than BotOptions.MaxTurn")

	// ErrShutdown is the cause with which a handler's context ends when Serve's
	// grace is over.
	ErrShutdown = errors.New("the replica stops")

	// ErrInvalid: the caller's input cannot be right whatever is stored: an
	// empty name, an over-long id, a value that has no encoding.
	ErrInvalid = errors.New("invalid")
)

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
	Reason error
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
