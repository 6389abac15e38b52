// Package session defines the data of bot sessions and the errors of this
// project. It does no I/O: package store keeps sessions in Redis.
//
// A session belongs to one user of one bot and is named by a [Ref]. It is in
// one state of the bot's state machine and has the user's last message, the
// intent that was predicted from it, the last file, named flags, private data
// and the chat history. A [Snapshot] is all of that at one version, without the
// chat.
//
// # The life of a turn
//
// A session changes when something reaches it: a message, a file, a timer. That
// is an [Event]. One replica of the bot handles it, in a turn. What the turn did
// is written by one commit, all of it or nothing:
//
//	webhook                 replica that holds the lease                 platform
//	   │                                 │                                  │
//	   │ Event{ID: "u-981", Text: "hi"}  │                                  │
//	   ├──── accepted, once ────────────▶│                                  │
//	   │                                 │ Snapshot at version 7            │
//	   │                                 │   handler: SetIntent, Move,      │
//	   │                                 │            Set, Reply            │
//	   │                                 │ commit: version 8,               │
//	   │                                 │            the event is gone,    │
//	   │                                 │            its replies are kept  │
//	   │                                 ├──── replies, in order ──────────▶│
//	   │                                 │ noted as sent; the next event    │
//
// Nobody sees anything of a turn before the commit, and everybody all of it
// after.
//
// # What a move does
//
// A predicted intent and a file are meant to cause one transition. Setting
// either raises a flag ([FlagIntent], [FlagFile]); a move lowers both, and so
// does the end of a turn. The intent itself can still be read: only its flag is
// down. So the intent that led to a state causes no further transition there,
// unless it is predicted again.
//
// # The chat
//
// The chat history holds the user's messages and the bot's replies in the order
// in which they were handled: each message and then the replies to it. Messages
// are numbered from 1; the numbers do not restart while the session lives.
//
// # Errors
//
// Compare errors with errors.Is. Those that carry more, [StateError] and
// [CorruptError], are found with errors.As. The text of an error never has
// content of a session: no message, payload, data or file. The errors are
// grouped by who has to do what, with what a webhook returns to the platform
// when Accept failed. All that it must ask is whether the error is [ErrInvalid]:
//
//	switch {
//	case err == nil:
//		w.WriteHeader(http.StatusOK)
//	case errors.Is(err, session.ErrInvalid): // this event can never be accepted
//		w.WriteHeader(http.StatusBadRequest)
//	default: // the platform delivers it again
//		w.WriteHeader(http.StatusServiceUnavailable)
//	}
package session
