package session

import "time"

// Next is what a session does next: the event at the head of its inbox and the reply at
// the head of its outbox.
type Next struct {
	Event    *Event    `json:"event,omitempty"`     // Event is the event that is handled next, or is in hand. It is nil if there is none.
	Accepted time.Time `json:"accepted,omitzero"`   // Accepted is when that was accepted, by the server's clock.
	Reply    *Message  `json:"reply,omitempty"`     // Reply is the reply that is sent next, or is being sent. It is nil if there is none.
	ReplyKey string    `json:"reply_key,omitempty"` // ReplyKey is the reply's Delivery.Key.
}

// An Act is something that was done to a session, or to a whole bot, by hand. The
// server keeps the last ones: see Bot.Audit of package store.
type Act struct {
	Time   time.Time `json:"time"`             // Time is when it was done, by the server's clock.
	Ref    Ref       `json:"ref"`              // Ref names the session. Its ID is empty if it was done to the bot.
	Verb   string    `json:"verb"`             // Verb is what was done: the name of the method, in lower case, such as skip.
	Object string    `json:"object,omitempty"` // Object names what it was done to within the session, such as an event's id. It may be empty.
	By     string    `json:"by"`               // By is who did it.
	Reason string    `json:"reason,omitempty"` // Reason is why. It may be empty.
}
