package store

import (
	"context"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// Heads are how a session stands and what is first of what waits in it, at one moment.
type Heads struct {
	Status      session.Status   `json:"status,omitzero"`     // Status is what [Session.Status] returns.
	Event       *session.Event   `json:"event,omitempty"`     // Event is the first of the events that are not handled yet, which may be in hand. Nil if there is none.
	Accepted    time.Time        `json:"accepted,omitzero"`   // Accepted is when Event was accepted, by the server's clock. Zero if there is none.
	Reply       *session.Message `json:"reply,omitempty"`     // Reply is the first of the replies that are not sent yet; its Time is when it was made. Nil if there is none.
	ReplyKey    string           `json:"reply_key,omitempty"` // ReplyKey is the reply's Delivery.Key.
	InboxBytes  int64            `json:"inbox_bytes"`         // InboxBytes is how many bytes the events have, which BotOptions.InboxBytes limits.
	OutboxBytes int64            `json:"outbox_bytes"`        // OutboxBytes is how many bytes the replies have.
}

// Heads returns how the session stands and what is first in it. Where an event or a
// reply cannot be decoded, Heads returns the rest with [session.ErrCorrupt].
func (s *Session) Heads(ctx context.Context) (h Heads, err error) {
	defer s.wrap("heads of", &err)
	r, rec, err := s.heads(ctx)
	if err != nil {
		return Heads{}, err
	}
	h.Status = rec.Status()
	h.Status.Messages, h.Status.Waiting, h.Status.Unsent, h.Status.Now = r.Int("messages"), r.Int("waiting"), r.Int("unsent"), time.UnixMilli(r.Now())
	h.InboxBytes, h.OutboxBytes = rec.Bytes()
	e, accepted, err1 := s.nextEvent(r)
	if e != nil {
		h.Event = &e.Event
	}
	h.Accepted = accepted
	u, m, err2 := s.nextReply(r)
	if u != nil {
		h.Reply, h.ReplyKey = &m, u.Reply.String()
	}
	return h, causes.Join(err1, err2)
}

// heads reads what Heads returns.
func (s *Session) heads(ctx context.Context) (reply, *stored.Record, error) {
	r, err := s.read(ctx, ask(lua.Heads, nil, stored.StatusFields))
	if err != nil {
		return reply{}, nil, err
	}
	rec, err := stored.ReadRecord(s.ref, present(stored.StatusFields, r.List("values")))
	return r, rec, err
}

// nextEvent reads the event in a reply of the script heads, and when it was accepted; nil
// if there is none.
func (s *Session) nextEvent(r reply) (*event, time.Time, error) {
	element := r.Text("event")
	if element == "" {
		return nil, time.Time{}, nil
	}
	a, err := stored.ReadAccepted([]byte(element))
	if err != nil {
		return nil, time.Time{}, &session.CorruptError{Ref: s.ref, Field: "inbox", Reason: err}
	}
	e, _, err := stored.DecodeEvent(a.Event)
	if err != nil {
		return nil, time.Time{}, &session.CorruptError{Ref: s.ref, Field: "inbox", Reason: err}
	}
	return &event{Event: e, digest: a.Digest, extras: a.Extras, encoded: a.Event}, a.Time, nil
}

// nextReply reads the reply likewise.
func (s *Session) nextReply(r reply) (*stored.Unsent, session.Message, error) {
	element := r.Text("reply")
	if element == "" {
		return nil, session.Message{}, nil
	}
	u, err := stored.ReadUnsent([]byte(element))
	if err != nil {
		return nil, session.Message{}, &session.CorruptError{Ref: s.ref, Field: "outbox", Reason: err}
	}
	m, err := stored.DecodeMessage(u.Message)
	if err != nil {
		return nil, session.Message{}, &session.CorruptError{Ref: s.ref, Field: "outbox", Reason: err}
	}
	m.Seq, m.Time = u.Reply.Number, u.Time
	return &u, m, nil
}
