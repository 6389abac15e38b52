// Package session holds what a bot session is: plain data and its errors,
// without Redis. Package store keeps sessions; this package says what is kept.
//
// A session belongs to one user of one bot and is named by a [Ref]. It is in
// one state of the bot's state machine and carries the user's last message,
// the intent that was predicted from it, the last file, named flags, private
// data and the chat history. A [Snapshot] is all of that but the chat, as it
// was at one version.
//
// # The life of a turn
//
// A session changes when something reaches it: a message, a file, a timer. That
// is an [Event]. One replica of the bot handles it, in a turn, which ends in one
// [Change] that is written whole or not at all:
//
//	webhook                 replica that holds the lease                 platform
//	   │                                 │                                  │
//	   │ Event{ID: "u-981", Text: "hi"}  │                                  │
//	   ├──── accepted, once ────────────▶│                                  │
//	   │                                 │ Snapshot at version 7            │
//	   │                                 │   handler: SetIntent, Move,      │
//	   │                                 │            Set, Reply            │
//	   │                                 │ Change ──▶ committed: version 8, │
//	   │                                 │            the event is gone,    │
//	   │                                 │            its replies are kept  │
//	   │                                 ├──── replies, in order ──────────▶│
//	   │                                 │ noted as sent; the next event    │
//
// Until the commit nothing of a turn shows; after it, all of it does.
//
// # What a move does
//
// A predicted intent and a file are there to fire one transition. Setting
// either raises a flag ([FlagIntent], [FlagFile]); a move lowers both, and so
// does the end of a turn. The intent itself stays readable: only its flag is
// down. So the intent that led from one state to the next does not fire again
// there, unless it is predicted again.
//
// # The chat
//
// The chat history holds the user's messages and the bot's replies in the order
// in which they were handled: the message first, then what was replied to it.
// Each entry has a sequence number, which never restarts while the session
// lives; that, with the life's number, is the key under which a platform can
// recognise a reply that it is given twice.
package session
