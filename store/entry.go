package store

import (
	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// An entry is a message on its way into the chat or out to the platform. What a
// user gave is encoded when it is given; from then on the bytes are the message,
// and each reader gets what they decode to, for itself alone.
type entry struct {
	message session.Message // without its content and metadata, unless that is fixed
	encoded codec.Encoded
	fixed   bool // the content is of a kind that cannot change, and there is no metadata: it needs no decoding
	send    bool // also put it into the outbox
}

// entry encodes a message of the user's.
func (b *Bot) entry(m session.Message, send bool) (entry, error) {
	def(&m.From, session.FromBot)
	def(&m.Type, session.Text)
	encoded, err := b.encodeMessage(m)
	return newEntry(m, encoded, send), err
}

func newEntry(m session.Message, encoded codec.Encoded, send bool) entry {
	e := entry{message: m, encoded: encoded, send: send}
	switch m.Content.(type) {
	case string, bool, nil:
		e.fixed = len(m.Metadata) == 0
	}
	e.message.Metadata = nil
	if !e.fixed {
		e.message.Content = nil
	}
	return e
}

// read returns the message.
func (e entry) read() (session.Message, error) {
	if e.fixed {
		return e.message, nil
	}
	m, err := stored.DecodeMessage(e.encoded)
	m.Seq, m.Time, m.Waiting = e.message.Seq, e.message.Time, e.message.Waiting
	return m, err
}

// An own is what an event itself brings into its session. It was accepted: no
// limit and no codec of this process stands in its way, and one that the
// configured codec cannot write is written by the other.
type own struct {
	chat   []entry
	fields []string // of the hash, each with its value
	file   *string  // its bytes
}

// said returns what an event puts into the chat, in order: the file's name, then the
// text. Most events give one message; a timer gives none.
func said(e session.Event) (chat []session.Message) {
	if e.File != nil {
		chat = append(chat, session.Message{From: session.FromUser, Type: session.FileType, Content: e.File.Name})
	}
	if e.Text != "" {
		chat = append(chat, session.Message{From: session.FromUser, Type: session.Text, Content: e.Text})
	}
	return chat
}

// own returns what the event brings; of its file only the name, unless whole. Messages
// that the chat has already are not among it.
func (s *Store) own(e *event, whole bool) (o own) {
	o.chat = make([]entry, 0, 4) // with room for what the turn says
	for _, m := range said(e.Event) {
		if !e.extras.Told {
			o.chat = append(o.chat, newEntry(m, s.kept(func(c codec.Codec) (codec.Encoded, error) { return stored.EncodeMessage(c, m) }), false))
		}
		// The last of them is e.Message().
		o.fields = []string{stored.FieldMessage, string(s.kept(func(c codec.Codec) (codec.Encoded, error) { return c.Encode(m.Content) }))}
	}
	if e.File != nil && whole {
		bytes := string(e.File.Data)
		o.file = &bytes
		o.fields = append(o.fields, stored.FieldFile, string(s.kept(func(c codec.Codec) (codec.Encoded, error) { return stored.EncodeFile(c, *e.File) })))
	}
	return o
}

// kept encodes what was accepted.
func (s *Store) kept(encode func(codec.Codec) (codec.Encoded, error)) codec.Encoded {
	encoded, err := encode(s.opts.Codec)
	if err != nil { // JSON has no form for some strings
		encoded, _ = encode(codec.Msgpack)
	}
	return encoded
}
