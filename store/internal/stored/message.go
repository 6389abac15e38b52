package stored

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

// EncodeMessage writes a message as the list [kind, content, metadata, type], of
// which the last two are left out where they say nothing. The kind is twice the
// type's position in messageTypes, and one more for a message of the bot. For a
// type that is not there it is that of a text, and type is its name; else type is
// missing. The metadata is a map, or nil. Seq, Time and Waiting are not part of it:
// the history's order and [DecodeEntry] have them.
//
// It returns [session.ErrInvalid] for an author that there is not, for a type that
// is too long or holds a NUL, and for content or metadata that cannot be encoded,
// or not be read again into an any.
func EncodeMessage(c codec.Codec, m session.Message) (codec.Encoded, error) {
	kind, name, err := messageKind(m)
	if err != nil {
		return nil, err
	}
	items := []any{kind, m.Content}
	if len(m.Metadata) > 0 {
		items = append(items, m.Metadata)
	}
	if name != "" {
		if len(items) == 2 {
			items = append(items, nil)
		}
		items = append(items, name)
	}
	return c.EncodeAny(items)
}

// DecodeMessage reads what [EncodeMessage] wrote. It returns
// [session.ErrCorrupt] for anything else.
func DecodeMessage(b []byte) (session.Message, error) {
	return messageOf(readRow(b, "a message", 2))
}

// DecodeEntry reads an element of the chat history; lua/prelude/list.lua shows its
// form. It returns [session.ErrCorrupt] for anything else.
func DecodeEntry(b []byte) (session.Message, error) {
	at, b, err := cut(b)
	if err != nil {
		return session.Message{}, err
	}
	m, err := DecodeMessage(b)
	if err != nil {
		return session.Message{}, err
	}
	m.Time = at
	return m, nil
}

// An Unsent is an element of the outbox: a reply that waits to be sent.
type Unsent struct {
	Reply ids.Reply
	Extras
	EventID string        // EventID is of the event whose turn made it; empty if there is none.
	Time    time.Time     // Time is that of the message in the chat.
	Message codec.Encoded // Message is what EncodeMessage wrote.
}

// ReadUnsent reads an element of the outbox; lua/prelude/list.lua shows its form. It
// returns [session.ErrCorrupt] for anything else, but does not decode the message.
func ReadUnsent(b []byte) (u Unsent, err error) {
	parts := bytes.SplitN(b, []byte(":"), 4)
	if len(parts) < 4 {
		return u, corrupt("a reply without life, number and the length of its event's id")
	}
	number, err := strconv.ParseInt(string(parts[1]), 10, 64)
	if err != nil {
		return u, corrupt("a reply whose number is no integer")
	}
	n, err := strconv.Atoi(string(parts[2]))
	if err != nil || n < 0 || n > len(parts[3]) {
		return u, corrupt("a reply that does not say how long its event's id is")
	}
	extras, event, err := readExtras(parts[3][:n])
	if err != nil {
		return u, err
	}
	at, message, err := cut(parts[3][n:])
	if err != nil {
		return u, err
	}
	return Unsent{Reply: ids.Reply{Life: string(parts[0]), Number: number}, Extras: extras, EventID: string(event), Time: at, Message: message}, nil
}

// messageTypes are the types that are stored as a number, their position here. New
// ones go to the end.
var messageTypes = [...]session.MessageType{
	session.Text, session.Markdown, session.HTML, session.FileType, session.Image, session.DataFrame,
	session.Plotly, session.Location, session.Choices, session.Audio, session.RAGAnswer,
}

// messageKind returns a message's kind, and its type's name if that has no number.
func messageKind(m session.Message) (kind int64, name string, err error) {
	if m.Type == "" {
		m.Type = session.Text
	}
	i := slices.Index(messageTypes[:], m.Type)
	if i < 0 {
		if err := session.ValidLabel("message type", string(m.Type)); err != nil {
			return 0, "", err
		}
		i, name = 0, string(m.Type)
	}
	switch m.From {
	case session.FromUser:
		return int64(2 * i), name, nil
	case session.FromBot:
		return int64(2*i + 1), name, nil
	}
	return 0, "", invalid("unknown author %q: want %q or %q", m.From, session.FromUser, session.FromBot)
}

func messageOf(r *row) (session.Message, error) {
	kind := cell[int64](r, 0)
	if r.err != nil {
		return session.Message{}, r.err
	}
	if kind < 0 || kind >= int64(2*len(messageTypes)) {
		return session.Message{}, corrupt("unknown kind of message")
	}
	m := session.Message{From: session.FromUser, Type: messageTypes[kind/2], Content: r.items[1]}
	if kind%2 == 1 {
		m.From = session.FromBot
	}
	if len(r.items) > 2 {
		if m.Metadata = optional[map[string]any](r, 2); len(m.Metadata) == 0 {
			m.Metadata = nil
		}
	}
	if len(r.items) > 3 {
		name := cell[string](r, 3)
		if r.err == nil && (name == "" || session.ValidLabel("message type", name) != nil) {
			r.err = corrupt("a message of a type that none can have")
		}
		m.Type = session.MessageType(name)
	}
	if r.err != nil {
		return session.Message{}, r.err
	}
	return m, nil
}
