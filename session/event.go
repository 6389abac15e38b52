package session

import (
	"fmt"
	"time"
)

// An Event is what reached the bot for one session: usually a message of its
// user, else a file, a press of a button, a timer, anything.
type Event struct {
	ID       string    `json:"id"`                 // the platform's own id of the delivery; 1 to 512 bytes. Two deliveries with one id are one event
	Kind     string    `json:"kind,omitempty"`     // free, for the handler to tell events apart; empty for a plain message
	Text     string    `json:"text,omitempty"`     // the user's message, if there is one: it goes into the chat
	File     *File     `json:"file,omitempty"`     // the user's file, if there is one: its name goes into the chat
	Payload  any       `json:"payload,omitempty"`  // any value that the codec can encode; read it with Turn.Payload
	Platform string    `json:"platform,omitempty"` // where it came from; the session keeps that of its first event
	User     string    `json:"user,omitempty"`     // the platform's name for the user; the session keeps that of its first event
	Time     time.Time `json:"time,omitzero"`      // when the platform says it happened; never used for ordering
}

// Validate answers [ErrInvalid] for an event that no session can accept.
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

// Message returns what the event leaves as the session's last message: its
// text, else its file's name, else nothing.
func (e Event) Message() string {
	if e.Text == "" && e.File != nil {
		return e.File.Name
	}
	return e.Text
}

// OutcomeStatus says how an event ended.
type OutcomeStatus string

// How an event can end.
const (
	Handled OutcomeStatus = "handled"
	Dead    OutcomeStatus = "dead"    // it failed too often, or cannot be handled at all
	Dropped OutcomeStatus = "dropped" // its session was destroyed before
)

// A File is the last file that a user sent.
type File struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"` // the media type, as the platform gave it
	Size int64  `json:"size"`           // bytes; set from Data when it is stored
	Data []byte `json:"-"`              // nil in a Snapshot: Session.File and Turn.File read it
}
