package session

import (
	"time"
)

// A Change is everything that one call or one turn does to a session. It is
// written by one script, whole or not at all. The zero Change changes nothing.
//
// Its parts take effect in the order of the fields: a reset first, then moves,
// data, intent, file and flags, and the chat last.
type Change struct {
	Reset   Reset // begin a new life first; empty means no reset
	Destroy bool  // end the life once everything else is done and sent

	// IfVersion is a guard: the version that the session must have, as a Snapshot,
	// an Apply or an Update told. Zero means any. It is for Session.Apply, which
	// returns ErrChanged for another version. A session that was destroyed or has
	// expired, and was made again, counts from 1 again.
	IfVersion int64

	From  string   // a guard: the state that the session must be in; empty means any
	Moves []string // the states entered, one after the other. A move lowers FlagIntent and FlagFile

	Set    map[string]any // private data
	Delete []string       // private data

	Message   *string         // the user's last message
	Intent    *Intent         // taken only with SetIntent
	SetIntent bool            // set Intent, even nil, and raise FlagIntent
	File      *File           // set the file and raise FlagFile; nil leaves it
	Flags     map[string]bool // up or down

	Chat []Entry        // append to the history
	TTL  *time.Duration // a time to live of the session's own; negative means for ever, zero back to the bot's
}

// Reset says what a new life keeps of the old one: KeepChat or DropChat. Platform
// and user stay in any case; data, flags, intent, file and message never do.
type Reset string

// What a reset does with the chat.
const (
	KeepChat Reset = "keep"
	DropChat Reset = "drop"
)

// An Entry is a message to append to the chat.
type Entry struct {
	Message Message
	Send    bool // also put it into the outbox
}
