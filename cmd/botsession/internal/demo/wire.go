package demo

import (
	"time"

	"github.com/botsession/botsession/session"
)

// What the processes of the demo say to each other, in JSON.

// replicaConfig is the line that the demo writes to a replica.
type replicaConfig struct {
	Name      string        `json:"name"`
	Redis     string        `json:"redis"`
	Namespace string        `json:"namespace"`
	Bot       string        `json:"bot"`
	Platform  string        `json:"platform"` // where the replies go
	Lease     time.Duration `json:"lease"`
	Work      time.Duration `json:"work"` // how long the handler takes
	Verbose   bool          `json:"verbose"`
	Trouble   bool          `json:"trouble"` // the bot is the one of Trouble
}

// replicaHello is the line that a replica writes when it serves.
type replicaHello struct {
	Address string `json:"address"` // of its webhook
}

// webhookEvent is what the platform posts to a replica.
type webhookEvent struct {
	Session string   `json:"session"`
	ID      string   `json:"id"`
	Text    string   `json:"text"`
	Payload *payload `json:"payload,omitempty"`
}

// payload is what the dialogue says of a turn. A real bot has to find it out.
type payload struct {
	Intent string            `json:"intent"`
	Slots  map[string]string `json:"slots"`
	Reply  string            `json:"reply"`
}

// webhookResponse is what a replica returns when it has accepted an event; without a
// demo, when the event's turn is over.
type webhookResponse struct {
	Duplicate bool                  `json:"duplicate"`
	Outcome   session.OutcomeStatus `json:"outcome,omitempty"` // without a demo
	Replies   []string              `json:"replies,omitempty"` // without a demo
	Reason    string                `json:"reason,omitempty"`  // of a dead letter
}

// postedReply is what a replica posts to the platform.
type postedReply struct {
	Session   string `json:"session"`
	Key       string `json:"key"` // the same for each copy of a reply
	Text      string `json:"text"`
	TakenOver bool   `json:"taken_over"` // another replica had the turn in hand before, and died or froze
}

// maxBody is how many bytes of a request's body are read.
const maxBody = 4 * maxLine
