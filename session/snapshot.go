package session

import "time"

// A Snapshot is a session at one version, without its chat. Times are the
// server's.
type Snapshot struct {
	Ref      Ref             `json:"ref"`      // Ref names the session.
	Life     int64           `json:"life"`     // Life identifies this life, which began when the session was created or reset. A later life has a greater number.
	Version  int64           `json:"version"`  // Version is 1 at first, and one more with each change.
	State    string          `json:"state"`    // State is the state of the bot's state machine.
	Platform string          `json:"platform"` // Platform is where the user is. It may be empty.
	User     string          `json:"user"`     // User is the platform's name for the user. It may be empty.
	Message  string          `json:"message"`  // Message is the last user message that was handled. It may be empty.
	Intent   *Intent         `json:"intent"`   // Intent is the last predicted intent. Nil means none.
	File     *File           `json:"file"`     // File is the last file, without its bytes. Nil means none.
	Flags    map[string]bool `json:"flags"`    // Flags are the flags that are up.
	Data     map[string]any  `json:"data"`     // Data is the private data, in the canonical form of package codec.
	Seq      int64           `json:"seq"`      // Seq is the number of the chat's last message.
	Created  time.Time       `json:"created"`  // Created is when this life began.
	Active   time.Time       `json:"active"`   // Active is when the session last changed.
	Expires  time.Time       `json:"expires"`  // Expires is when it expires unless it changes. Zero means never.
}

// A Status says who holds a session and what waits in it. It has none of the
// private data. Times are the server's.
type Status struct {
	Ref      Ref       `json:"ref"`              // Ref names the session.
	State    string    `json:"state"`            // State is the state of the bot's state machine.
	Platform string    `json:"platform"`         // Platform is where the user is. It may be empty.
	User     string    `json:"user"`             // User is the platform's name for the user. It may be empty.
	Version  int64     `json:"version"`          // Version is that of Snapshot.
	Messages int64     `json:"messages"`         // Messages is how many messages the chat has.
	Waiting  int64     `json:"waiting"`          // Waiting is how many events are not handled yet, with the one in hand.
	Unsent   int64     `json:"unsent"`           // Unsent is how many replies are not sent yet.
	Since    time.Time `json:"since,omitzero"`   // Since is when the first of what waits was accepted, or the reply made, if Bot.Waiting lists the session; else zero.
	Lease    Lease     `json:"lease"`            // Lease says who holds the session, if Lease.Held(Now).
	Event    Retry     `json:"event"`            // Event says how the first event that waits has failed so far.
	Reply    Retry     `json:"reply"`            // Reply says how the first reply that is unsent has failed so far.
	Created  time.Time `json:"created"`          // Created is when this life began.
	Active   time.Time `json:"active"`           // Active is when the session last changed.
	Expires  time.Time `json:"expires,omitzero"` // Expires is when it expires unless it changes. Zero means never.
	Now      time.Time `json:"now"`              // Now is when the server read this.
	Cursor   string    `json:"cursor,omitempty"` // Cursor is what continues a list after this session. It is empty unless the Status came from one that can be continued.
}

// A Retry says how often an event came back without being handled, or a reply
// without being sent. The zero Retry means never.
type Retry struct {
	Failures   int       `json:"failures,omitempty"`    // Failures is how often the handler, or Send, failed.
	Crashes    int       `json:"crashes,omitempty"`     // Crashes is how often a replica had it in hand and was not heard of again.
	HandedBack int       `json:"handed_back,omitempty"` // HandedBack is how often it came back for a reason of another kind: the replica stopped, or a live Move or Reset came between.
	At         time.Time `json:"at,omitzero"`           // At is when it is tried again. Zero means that it is not held back.
	Since      time.Time `json:"since,omitzero"`        // Since is when the handler, or Send, first put it off without a failure. Zero means never.
	Error      string    `json:"error,omitempty"`       // Error is the text of the last failure, or why it was put off.
}

// Work says what a lease was taken for.
type Work string

// The kinds of work.
const (
	WorkNone   Work = ""       // the session is free
	WorkEvent  Work = "event"  // a handler runs
	WorkReply  Work = "reply"  // replies are being sent
	WorkUpdate Work = "update" // an Update runs
)

// A Lease is a replica's right to work on a session for a while. The zero
// Lease means that nobody has it.
type Lease struct {
	Holder string    `json:"holder,omitempty"` // Holder is the replica's name.
	Work   Work      `json:"work,omitempty"`   // Work is what the replica does with the session.
	Token  string    `json:"token,omitempty"`  // Token identifies this lease: a commit under an older one is refused.
	Since  time.Time `json:"since,omitzero"`   // Since is when it was taken, by the server's clock.
	Until  time.Time `json:"until,omitzero"`   // Until is when it ends unless it is renewed, by the server's clock.
}

// Held reports whether somebody has the lease at the time now, which is by the
// server's clock: see Status.Now.
func (l Lease) Held(now time.Time) bool { return l.Work != WorkNone && now.Before(l.Until) }

// A DeadLetter is an event that was not handled, or a reply that was not sent,
// and is not tried again. If it cannot be read, both Event and Reply are nil.
type DeadLetter struct {
	Ref      Ref       `json:"ref"`             // Ref names the session, which may no longer exist.
	Event    *Event    `json:"event,omitempty"` // Event is the event. It is nil for a reply.
	Reply    *Message  `json:"reply,omitempty"` // Reply is the reply. It is nil for an event.
	Error    string    `json:"error"`           // Error is the text of the last failure.
	Failures int       `json:"failures"`        // Failures is how often the handler, or Send, failed.
	Crashes  int       `json:"crashes"`         // Crashes is how often a replica had it in hand and was not heard of again.
	Holder   string    `json:"holder"`          // Holder is the replica that gave it up, or who skipped it.
	Time     time.Time `json:"time"`            // Time is when it was given up, by the server's clock.
}
