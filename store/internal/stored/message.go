package stored

import (
	"slices"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// EncodeMessage writes a message as the list [kind, content]. The kind is twice
// the type's position in [session.MessageTypes], and one more for a message of
// the bot. Seq, Time and Waiting are not part of it: the history's order and
// [DecodeEntry] have them.
//
// It returns [session.ErrInvalid] for a type or an author that there is not, and
// for content that cannot be encoded, or not be read again into an any.
func EncodeMessage(c codec.Codec, m session.Message) (codec.Encoded, error) {
	kind, err := messageKind(m)
	if err != nil {
		return nil, err
	}
	return c.EncodeAny([]any{kind, m.Content})
}

// DecodeMessage reads what [EncodeMessage] wrote. It returns
// [session.ErrCorrupt] for anything else.
func DecodeMessage(b []byte) (session.Message, error) {
	return messageOf(readRow(b, "a message", 2))
}

// DecodeEntry reads an element of the chat history: the time, then the message.
// It returns [session.ErrCorrupt] for anything else.
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

func messageKind(m session.Message) (int64, error) {
	if m.Type == "" {
		m.Type = session.Text
	}
	i := slices.Index(session.MessageTypes, m.Type)
	if i < 0 {
		return 0, invalid("unknown message type %q", m.Type)
	}
	switch m.From {
	case session.FromUser:
		return int64(2 * i), nil
	case session.FromBot:
		return int64(2*i + 1), nil
	}
	return 0, invalid("unknown author %q: want %q or %q", m.From, session.FromUser, session.FromBot)
}

func messageOf(r *row) (session.Message, error) {
	kind := cell[int64](r, 0)
	if r.err != nil {
		return session.Message{}, r.err
	}
	if kind < 0 || kind >= int64(2*len(session.MessageTypes)) {
		return session.Message{}, corrupt("unknown kind of message")
	}
	m := session.Message{From: session.FromUser, Type: session.MessageTypes[kind/2], Content: r.items[1]}
	if kind%2 == 1 {
		m.From = session.FromBot
	}
	return m, nil
}
