package session

import (
	"time"
)

// A Change is everything that one call does to a session; store.Session.Apply
// writes it, all of it or nothing. The zero Change changes nothing. Its parts
// take effect in the order of the fields: first a reset, then moves, data,
// message, intent, file and flags, and the chat last.
type Change struct {
	Reset Reset // Reset begins a new life before everything else: KeepChat or DropChat. Empty means no reset.

	IfVersion int64 // IfVersion is the version that the session must have, else nothing is written. It counts from 1 again when a session is made again. Zero means any version.

	From  string   // From is the state that the session must be in, else nothing is written. Empty means any.
	Moves []string // Moves are the states entered, one after the other. A move lowers FlagIntent and FlagFile.

	Set    map[string]any // Set has the private data to set: values that package codec can encode.
	Delete []string       // Delete has the keys of the private data to delete.

	Message   *string         // Message is the user's last message. Nil leaves it as it is.
	Intent    *Intent         // Intent is the predicted intent, if SetIntent is true.
	SetIntent bool            // SetIntent sets Intent, or none if that is nil, and raises FlagIntent.
	File      *File           // File is the last file, and raises FlagFile. Nil leaves it as it is.
	Flags     map[string]bool // Flags has the flags to raise (true) and to lower (false).

	Chat []Entry        // Chat has the messages to add to the history.
	TTL  *time.Duration // TTL is the session's own time to live: negative means that it never expires, zero that of the bot. Nil leaves it as it is.
}

// Reset says whether a new life keeps the chat: KeepChat or DropChat. Platform
// and user always stay; data, flags, intent, file and last message never do.
type Reset string

// The ways to reset.
const (
	KeepChat Reset = "keep"
	DropChat Reset = "drop"
)

// An Entry is a message to add to the chat.
type Entry struct {
	Message Message // Message is the message. Its Seq, Time and Waiting are ignored.
	Send    bool    // Send has it sent to the user, too.
}
