package session

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/botsession/botsession/codec"
)

// MessageType says what a message's content is: one of the types below or a
// name of the bot's own, of at most [MaxLabel] bytes and without a NUL.
type MessageType string

// The common message types, with the content that each is meant for.
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
	Seq      int64          `json:"seq,omitempty"`      // Seq is the message's number: 1 for the first of the session, and zero while it waits.
	From     Author         `json:"from"`               // From is who wrote it. Empty means FromBot.
	Type     MessageType    `json:"type"`               // Type says what the content is. Empty means Text.
	Content  any            `json:"content"`            // Content is any value that package codec can encode.
	Metadata map[string]any `json:"metadata,omitempty"` // Metadata is anything else that belongs to the message, in values that package codec can encode. Nil means none.
	Time     time.Time      `json:"time"`               // Time is when it entered the history or, while it waits, was accepted, by the server's clock.
	Waiting  bool           `json:"waiting,omitempty"`  // Waiting is true if it was accepted and is not handled yet: see Query.WithWaiting.
}

// String returns the content as text: a string as it is, nil as the empty
// string, bytes as their number, anything else as JSON.
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

// Decode stores the content in the value that into points to, by the rules of
// package codec: a list in a []string, a map in a struct with json tags. It
// returns [ErrType] if the content does not fit, and [ErrInvalid] if it cannot
// be encoded, which happens only to a message that was never stored; then it
// changes nothing. What it stores shares no memory with the message.
func (m Message) Decode(into any) error { return codec.Convert(m.Content, into) }

// A Query selects a part of the chat history. Make it with [Last], [All] or
// [After], and narrow it with its methods. The result is always in ascending
// order. The zero Query is that of All.
//
//	session.Last(20).WithWaiting()                 // the newest 20, and what waits
//	session.All().Since(monday).Until(friday)      // five days
//	session.Last(5).After(100)                     // the newest five after number 100
type Query struct {
	after        int64
	since, until time.Time
	limit        int
	newest       bool
	waiting      bool
}

// Last selects the newest n messages, or all of them if n is 0 or less.
func Last(n int) Query { return Query{limit: max(n, 0), newest: true} }

// All selects every message.
func All() Query { return Query{} }

// After selects the first n messages after number seq, or all of them if n is
// 0 or less. It is for reading page by page: messages that are added meanwhile
// come on later pages, once each.
func After(seq int64, n int) Query { return Query{limit: max(n, 0)}.After(seq) }

// After leaves out the messages up to number seq; none if seq is 0 or less.
func (q Query) After(seq int64) Query { q.after = max(seq, 0); return q }

// Since leaves out the messages before t; none if t is zero.
func (q Query) Since(t time.Time) Query { q.since = t; return q }

// Until leaves out the messages after t; none if t is zero.
func (q Query) Until(t time.Time) Query { q.until = t; return q }

// WithWaiting also selects the user's messages that were accepted and wait to
// be handled. They come last, with [Message.Waiting], and do not count against
// the limit.
func (q Query) WithWaiting() Query { q.waiting = true; return q }

// Bounds returns the bounds of the query, for a store that carries it out:
// messages have a number greater than after, and a time from since to until,
// both included. A zero value means no bound.
func (q Query) Bounds() (after int64, since, until time.Time) { return q.after, q.since, q.until }

// Limit returns how many messages the query selects at most, 0 for all within
// its bounds; whether these are the newest ones; and whether messages that
// wait are selected, too.
func (q Query) Limit() (n int, newest, waiting bool) { return q.limit, q.newest, q.waiting }
