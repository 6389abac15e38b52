package session

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/botsession/botsession/codec"
)

// MessageType says what a message's content is: one of those below, or a name of
// the bot's own, of at most [MaxLabel] bytes and without a NUL.
type MessageType string

// The message types that are known everywhere. Their text is what the framework
// calls them.
const (
	Text      MessageType = "str"        // a string
	Markdown  MessageType = "markdown"   // a string
	HTML      MessageType = "html"       // a string
	FileType  MessageType = "file"       // the file's name
	Image     MessageType = "image"      // bytes, or a URL
	DataFrame MessageType = "dataframe"  // rows: a list of maps, or any table form
	Plotly    MessageType = "plotly"     // a figure, as JSON text or as a map
	Location  MessageType = "location"   // a map with latitude and longitude
	Choices   MessageType = "options"    // a list of strings to choose from
	Audio     MessageType = "audio"      // bytes, or a URL
	RAGAnswer MessageType = "rag_answer" // a map with the answer and its sources
)

// Author says who wrote a message.
type Author string

// The two sides of a chat.
const (
	FromUser Author = "user"
	FromBot  Author = "bot"
)

// A Message is one entry of the chat history.
type Message struct {
	Seq      int64          `json:"seq,omitempty"`      // Seq is the message's number: 1 for the first of the session; zero while it waits.
	From     Author         `json:"from"`               // From is who wrote it. Empty means FromBot.
	Type     MessageType    `json:"type"`               // Type says what the content is. Empty means Text.
	Content  any            `json:"content"`            // Content is any value that the codec can encode.
	Metadata map[string]any `json:"metadata,omitempty"` // Metadata is whatever else belongs to the message: any values that the codec can encode. Nil means none.
	Time     time.Time      `json:"time"`               // Time is when it entered the history, by the server's clock; of one that waits, when it was accepted.
	Waiting  bool           `json:"waiting,omitempty"`  // Waiting says that it was accepted, and not handled yet.
}

// String returns the content as text: a string as it is, anything else as JSON.
func (m Message) String() string {
	switch c := m.Content.(type) {
	case string:
		return c
	case []byte:
		return fmt.Sprintf("(%d bytes)", len(c))
	case nil:
		return ""
	}
	text, err := json.Marshal(m.Content)
	if err != nil {
		return fmt.Sprint(m.Content)
	}
	return string(text)
}

// Decode stores the content in the value that into points to, as package codec
// decodes it: a list into a []string, a map into a struct with json tags, exactly or
// not at all. It returns [ErrType] if the content does not fit, and [ErrInvalid] if
// it has no encoding, which happens only to a message that was never stored; then
// what into points to is left alone. What it fills shares no memory with the
// content, nor with what another Decode fills.
func (m Message) Decode(into any) error { return codec.Convert(m.Content, into) }

// A Query selects a part of the chat history. Build it with [Last], [All],
// [After] or [Until]; the result is always in ascending order. The zero Query
// selects every message.
type Query struct {
	After   int64     // After is the sequence number behind which the selection begins
	Until   time.Time // Until is the last moment of the selection, inclusive; zero means no end
	Limit   int       // Limit is the most messages that are selected; 0 or less means no limit
	Newest  bool      // Newest counts Limit from the end of the selection, not from its beginning
	Waiting bool      // Waiting appends, behind the limit, the user messages that wait in the inbox
}

// Last selects the newest n messages; all of them if n is 0 or less.
func Last(n int) Query { return Query{Limit: max(n, 0), Newest: true} }

// All selects every message.
func All() Query { return Query{} }

// After selects the first n messages behind the one numbered seq: the next
// page, for a reader who has seen up to seq. Messages that others append
// meanwhile come on later pages, once each. An n of 0 or less selects all of them.
func After(seq int64, n int) Query { return Query{After: seq, Limit: max(n, 0)} }

// Until selects every message up to the moment t, inclusive.
func Until(t time.Time) Query { return Query{Until: t} }

// WithWaiting also selects the user messages that were accepted and wait to be
// handled. They come last, are marked [Message.Waiting], and do not count
// against the limit.
func (q Query) WithWaiting() Query { q.Waiting = true; return q }
