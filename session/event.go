package session

import (
	"fmt"
	"time"
)

// An Event is what reached the bot for one session: a message of its user, a
// file, a pressed button, a timer, or anything else.
type Event struct {
	ID       string    `json:"id"`                 // ID is the platform's id of the delivery, 1 to 512 bytes. Two deliveries to one session with the same id are one event.
	Kind     string    `json:"kind,omitempty"`     // Kind is any name by which the handler tells events apart. It is usually empty for a plain message.
	Text     string    `json:"text,omitempty"`     // Text is the user's message, which goes into the chat. It may be empty.
	File     *File     `json:"file,omitempty"`     // File is the user's file, whose name goes into the chat. Nil means none.
	Payload  any       `json:"payload,omitempty"`  // Payload is any other value that package codec can encode. Turn.Payload reads it. Nil means none.
	Platform string    `json:"platform,omitempty"` // Platform is where the event came from. The session keeps that of its first event.
	User     string    `json:"user,omitempty"`     // User is the platform's name for the user. The session keeps that of its first event.
	Time     time.Time `json:"time,omitzero"`      // Time is when it happened, as the platform says. It is never used for ordering, and may be zero.
}

// Validate returns [ErrInvalid] if no session can accept the event: it has no
// ID, a name is too long, or its File has no name. How large an event may be
// is a matter of the store.
func (e Event) Validate() error {
	if e.ID == "" {
		return fmt.Errorf("%w: the event has no id: use the platform's id of the delivery, or crypto/rand.Text() where there is none", ErrInvalid)
	}
	if err := validLength("event id", e.ID, 1, MaxID); err != nil {
		return err
	}
	if err := ValidLabel("event kind", e.Kind); err != nil {
		return err
	}
	if err := ValidLabel("platform", e.Platform); err != nil {
		return err
	}
	if err := ValidLabel("user", e.User); err != nil {
		return err
	}
	if e.File != nil && e.File.Name == "" {
		return fmt.Errorf("%w: event %q: its file has no name", ErrInvalid, e.ID)
	}
	return nil
}

// Message returns what becomes the session's last message: the event's text
// or, if that is empty, its file's name. It may be empty.
func (e Event) Message() string {
	if e.Text == "" && e.File != nil {
		return e.File.Name
	}
	return e.Text
}

// OutcomeStatus says how an event ended.
type OutcomeStatus string

// The ways in which an event ends.
const (
	Handled OutcomeStatus = "handled" // its turn was committed
	Dead    OutcomeStatus = "dead"    // it failed too often, or cannot be handled at all
	Dropped OutcomeStatus = "dropped" // its session was destroyed before its turn
)

// A File is a file that the user sent.
type File struct {
	Name string `json:"name"`           // Name is the file's name. It must not be empty.
	Type string `json:"type,omitempty"` // Type is the media type, as the platform gave it. It may be empty.
	Size int64  `json:"size"`           // Size is the number of bytes. It is set from Data when the file is stored.
	Data []byte `json:"-"`              // Data is the content. It is nil in a Snapshot: Turn.File and Session.File of package store read it.
}
