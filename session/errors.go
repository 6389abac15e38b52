package session

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/botsession/botsession/codec"
)

// Fix the input. A webhook returns 400 and logs it: the event can never be
// accepted.
var (
	// ErrInvalid says that an argument cannot be right, whatever is stored: an empty
	// name, an id that is too long, a value that cannot be encoded.
	ErrInvalid = codec.ErrInvalid

	// ErrTooLarge is an [ErrInvalid]: a value, message, event, file, change or
	// session's data is over the size limit.
	ErrTooLarge error = kind{"too large", ErrInvalid}
)

// Fix the program. A webhook returns 503: the platform delivers again, perhaps
// to a program that is fixed.
var (
	// ErrInTurn says that a call from within a turn would wait for that same turn,
	// or end it.
	ErrInTurn = errors.New("called from within a turn of the same session")

	// ErrType says that a stored value does not fit the Go type that it is to be
	// read into, or that what was given for that is not a pointer. It is not an
	// [ErrInvalid].
	ErrType = codec.ErrType

	// ErrReadOnly says that the call writes, and the store was opened with
	// Options.ReadOnly.
	ErrReadOnly = errors.New("the store is read-only")

	// ErrExists says that this process serves the bot already.
	ErrExists = errors.New("exists already")
)

// Try again. A webhook returns 503, and the platform delivers again.
var (
	// ErrInboxFull says that as many events wait for the session as
	// BotOptions.InboxLimit and InboxBytes allow. The same event can be accepted
	// later.
	ErrInboxFull = errors.New("inbox full")

	// ErrBusy says that other turns held the session until ctx ended.
	ErrBusy = errors.New("busy: another turn holds the session")

	// ErrUnknownOutcome says that the server did not reply, so the call may have
	// been applied. The cause is joined with it. If the call was not applied before
	// this error was returned, it never will be: its request has a deadline, which
	// has passed.
	ErrUnknownOutcome = errors.New("unknown outcome: the call may have been applied")

	// ErrNotAcked is an [ErrUnknownOutcome]: the call was applied, but is not as
	// safe as Options.Acks and Fsync ask, so a fail-over, or a crash of the server's
	// machine, may undo it. The text says what is missing.
	ErrNotAcked error = kind{"not acknowledged", ErrUnknownOutcome}
)

// Look again. A webhook returns 503, and the platform delivers again.
var (
	// ErrNotFound says that there is no such session, event or bot: it was never
	// created, was destroyed, or has expired. Nothing was written.
	ErrNotFound = errors.New("not found")

	// ErrWrongState says that the session is not in the state that the call
	// requires. A [StateError] has the state that it is in. Nothing was written.
	ErrWrongState = errors.New("wrong state")

	// ErrChanged says that the session is not as the call requires: it is at another
	// version, has another event or reply at its head, or another holder. The text
	// says which. Nothing was written.
	ErrChanged = errors.New("changed meanwhile")

	// ErrInHand says that a replica has the event or the reply in hand. An
	// [InHandError] has its name and since when. Nothing was written.
	ErrInHand = errors.New("in hand")

	// ErrFenced says that the caller no longer holds the session: its lease ended
	// and another replica took over, or the session was reset or destroyed
	// meanwhile. Nothing was written, and nothing will be.
	ErrFenced = errors.New("fenced: the session is no longer held")
)

// Ask an operator. A webhook returns 503 and logs it.
var (
	// ErrUnsupported says that the library cannot work with the server or with the
	// data on it: it is too old, lacks a command, or is divided into other buckets.
	ErrUnsupported = errors.New("not supported")

	// ErrNoPermission is an [ErrUnsupported]: the Redis user lacks the right to a
	// command, which the text names. Nothing was written.
	ErrNoPermission error = kind{"the user lacks the right to a command", ErrUnsupported}

	// ErrCorrupt says that stored data cannot be read. A [CorruptError] has the
	// session, the field and the reason.
	ErrCorrupt = codec.ErrCorrupt

	// ErrNewerLayout says that the data was written by a newer version of this
	// library. This version neither reads nor changes it.
	ErrNewerLayout = errors.New("stored in a newer layout")
)

// The causes with which the context of a handler ends, beside [ErrFenced]:
// context.Cause returns them. A webhook never gets them.
var (
	// ErrMaxTurn says that the turn took longer than Options.MaxTurn.
	ErrMaxTurn = errors.New("the turn took longer than Options.MaxTurn")

	// ErrShutdown says that the replica stops and ServeOptions.Grace is over.
	ErrShutdown = errors.New("the replica stops")
)

// The ways in which an event ends that was not handled: Outcome.Err returns
// them. A webhook never gets them.
var (
	// ErrDead says that the event became a dead letter: it failed too often, or could
	// not be handled at all.
	ErrDead = errors.New("the event is a dead letter")

	// ErrDropped says that the event was dropped before it was handled: its session
	// was destroyed, or somebody dropped what waited.
	ErrDropped = errors.New("the event was dropped: its session was destroyed, or what waited was dropped by hand")
)

// A kind is an error that is also a more general one.
type kind struct {
	text string
	of   error
}

func (k kind) Error() string { return k.text }
func (k kind) Unwrap() error { return k.of }

// A StateError is an [ErrWrongState] with the states.
type StateError struct {
	Ref   Ref    // Ref names the session.
	Want  string // Want is the state that the call requires.
	Found string // Found is the state that the session is in.
}

// Error returns both states.
func (e *StateError) Error() string {
	return fmt.Sprintf("%v: session %s is in %q, not in %q", ErrWrongState, e.Ref, e.Found, e.Want)
}

// Unwrap makes errors.Is find ErrWrongState.
func (e *StateError) Unwrap() error { return ErrWrongState }

// An InHandError is an [ErrInHand] with the holder.
type InHandError struct {
	Ref    Ref       // Ref names the session.
	Holder string    // Holder is the name of the replica.
	Since  time.Time // Since is when it was handed out, by the server's clock.
}

// Error returns the holder and since when.
func (e *InHandError) Error() string {
	return fmt.Sprintf("%v: %s has it since %s", ErrInHand, e.Holder, e.Since.UTC().Format(time.RFC3339))
}

// Unwrap makes errors.Is find ErrInHand.
func (e *InHandError) Unwrap() error { return ErrInHand }

// A CorruptError is an [ErrCorrupt] that says what cannot be read.
type CorruptError struct {
	Ref    Ref    // Ref names the session. It is zero if that is not known.
	Field  string // Field is the hash field, the list or the key that cannot be read.
	Reason error  // Reason says what is wrong, without any content.
}

// Error returns the session, the field and the reason.
func (e *CorruptError) Error() string {
	reason := strings.TrimPrefix(fmt.Sprint(e.Reason), ErrCorrupt.Error()+": ")
	if e.Ref == (Ref{}) {
		return fmt.Sprintf("%v: field %q: %v", ErrCorrupt, e.Field, reason)
	}
	return fmt.Sprintf("%v: session %s: field %q: %v", ErrCorrupt, e.Ref, e.Field, reason)
}

// Unwrap makes errors.Is find ErrCorrupt and the reason.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Reason} }
