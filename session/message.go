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

// A Query selects a part of the chat history. Begin it with [Last], [All] or
// [After], and narrow it with its methods; the result is always in ascending order. The zero Query is that of All.
//
//	session.Last(20).WithWaiting()                 // the newest 20, and what waits
//	session.All().Since(monday).Until(friday)      // five days
//	session.Last(5).After(100)                     // the newest five behind the hundredth
type Query struct {
	after        int64
	since, until time.Time
	limit        int
	newest       bool
	waiting      bool
}

// Last selects the newest n messages; all of them if n is 0 or less.
func Last(n int) Query { return Query{limit: max(n, 0), newest: true} }

// All selects every message.
func All() Query { return Query{} }

// After selects the first n messages behind the one numbered seq: the next
// page, for a reader who has seen up to seq. Messages that others append
// meanwhile come on later pages, once each. An n of 0 or less selects all of them.
func After(seq int64, n int) Query { return Query{limit: max(n, 0)}.After(seq) }

// After leaves out the messages up to the one numbered seq. A seq of 0 or less
// leaves out none.
func (q Query) After(seq int64) Query { q.after = max(seq, 0); return q }

// Since leaves out the messages before the moment t, and none at it. The zero time leaves out none.
func (q Query) Since(t time.Time) Query { q.since = t; return q }

// Until leaves out the messages behind the moment t, and none at it. The zero time leaves out none.
func (q Query) Until(t time.Time) Query { q.until = t; return q }

// WithWaiting also selects the user messages that were accepted and wait to be
// handled. They come last, are marked [Message.Waiting], and do not count
// against the limit.
func (q Query) WithWaiting() Query { q.waiting = true; return q }

// Bounds returns what the query selects, for whoever carries it out: the messages
// with a greater number than after, from the moment since on and up to the moment
// until, both inclusive, and no bound if they are zero.
func (q Query) Bounds() (after int64, since, until time.Time) { return q.after, q.since, q.until }

// Limit returns how many messages the query selects at most, 0 for all that are
// within its bounds, whether these are the newest of them, and whether it also
// selects what waits.
func (q Query) Limit() (n int, newest, waiting bool) { return q.limit, q.newest, q.waiting }
