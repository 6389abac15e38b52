package session

import "time"

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
