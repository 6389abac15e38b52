package session

import "time"

// A Snapshot is what a session held at one version.
type Snapshot struct {
	Ref      Ref             `json:"ref"`
	Life     int64           `json:"life"`    // from creation or reset to the next reset, destroy or expiry; a new life has a greater number
	Version  int64           `json:"version"` // one more with each change
	State    string          `json:"state"`
	Platform string          `json:"platform"`
	User     string          `json:"user"`
	Message  string          `json:"message"` // of the last user message that was handled
	Intent   *Intent         `json:"intent"`  // nil: none was set, or nil was
	File     *File           `json:"file"`    // without its bytes
	Flags    map[string]bool `json:"flags"`   // those that are up
	Data     map[string]any  `json:"data"`    // the private data, decoded as package codec says
	Seq      int64           `json:"seq"`     // the sequence number of the chat's last message
	Created  time.Time       `json:"created"` // when this life began
	Active   time.Time       `json:"active"`  // of the last change
	Expires  time.Time       `json:"expires"` // zero: never
}

// Flag reports whether the named flag is up.
func (s Snapshot) Flag(name string) bool { return s.Flags[name] }

// Get returns a value of the private data. A stored nil is found.
func (s Snapshot) Get(key string) (value any, found bool) {
	value, found = s.Data[key]
	return value, found
}

// Status is how a session stands between its replicas: what an operator asks
// about it. It holds none of the private data.
type Status struct {
	Ref      Ref       `json:"ref"`
	State    string    `json:"state"`
	Platform string    `json:"platform"`
	User     string    `json:"user"`
	Version  int64     `json:"version"`
	Messages int64     `json:"messages"` // in the chat history
	Waiting  int64     `json:"waiting"`  // events in the inbox, the one in hand included
	Unsent   int64     `json:"unsent"`   // replies in the outbox
	Lease    Lease     `json:"lease"`
	Event    Retry     `json:"event"` // of the event at the head of the inbox
	Reply    Retry     `json:"reply"` // of the reply at the head of the outbox
	Created  time.Time `json:"created"`
	Active   time.Time `json:"active"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	Now      time.Time `json:"now"`              // the server's clock when it answered
	Cursor   string    `json:"cursor,omitempty"` // Cursor is from where a list goes on behind this session; empty unless it came from one
}

// Retry says how often an event, or a reply, came back unhandled, or unsent.
type Retry struct {
	Failures   int       `json:"failures,omitempty"`    // Failures of the handler, or of Send
	Crashes    int       `json:"crashes,omitempty"`     // Crashes are hand-outs that were never heard of again
	HandedBack int       `json:"handed_back,omitempty"` // HandedBack counts returns for which it was not to blame: the replica stopped, a live Move or Reset came between
	At         time.Time `json:"at,omitzero"`           // At is when it is tried again; zero: it is not put off
	Error      string    `json:"error,omitempty"`       // Error is the text of the last failure
}

// Work says what a lease was taken for.
type Work string

// What a replica can hold a session for.
const (
	WorkNone   Work = ""       // the session is free
	WorkEvent  Work = "event"  // a handler runs
	WorkReply  Work = "reply"  // replies are being sent
	WorkUpdate Work = "update" // an Update runs
)

// A Lease is the right to run turns on a session for a while.
type Lease struct {
	Holder string    `json:"holder,omitempty"` // the replica's name
	Work   Work      `json:"work,omitempty"`
	Token  string    `json:"token,omitempty"` // the fencing token: new with each hand-out, compared at commit
	Until  time.Time `json:"until,omitzero"`
}

// Held reports whether the lease was still good at the moment now.
func (l Lease) Held(now time.Time) bool { return l.Work != WorkNone && now.Before(l.Until) }

// A DeadLetter is an event that failed too often, or a reply that could not be
// sent, with why.
type DeadLetter struct {
	Ref      Ref       `json:"ref"`
	Event    *Event    `json:"event,omitempty"` // set for an event
	Reply    *Message  `json:"reply,omitempty"` // set for a reply
	Error    string    `json:"error"`           // the last error
	Failures int       `json:"failures"`
	Crashes  int       `json:"crashes"`
	Time     time.Time `json:"time"` // when it was given up
}
