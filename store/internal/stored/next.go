package stored

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/store/internal/ids"
)

// What the general scripts compute of a record, and here is computed too, for the
// holder of a session who knows it as a whole:
//
//	Begun      the first lines of lua/accept.lua
//	After      lua/prelude/change.lua, done.lua and onward.lua, and their save in save.lua
//	Sent       lua/sent.lua, and save
//	lifetime   lua/prelude/life.lua
//	EntryAt    stamp and apply, lua/prelude/list.lua and change.lua
//	UnsentElement  outbox_element, lua/prelude/list.lua

// An Ended is what a turn leaves behind.
type Ended struct {
	At         int64    // At is the moment of the turn's end, by the server's clock, ms.
	Changed    bool     // Changed is true if the turn makes a new version.
	Messages   int      // Messages is how many the turn adds to the chat.
	Replies    int      // Replies is how many of them are to be sent.
	ReplyBytes int      // ReplyBytes is how many bytes the replies have in the outbox.
	Lease      int64    // Lease is for how long the holder keeps the session to send them, ms.
	TTL        int64    // TTL is the bot's time to live, ms; 0 for ever.
	Set        []string // Set has the fields that the turn sets, each with its value.
}

// InHand reports whether the event in hand is all that the session has to do, and
// its turn can end with nothing written but what After says: nothing else waits, or
// is to be sent, the end does not come near the moment at which Redis drops the
// keys, and what is remembered of the event until the moment forget is kept.
func (r *Record) InHand(e Ended, forget int64) bool {
	expires, kept := r.lifetime(e.At, e.TTL)
	return r.work == "event" && r.waiting == 1 && r.unsent == 0 && r.ended == 0 && r.pause == 0 && r.listed == 0 &&
		forget <= r.kept && kept && expires >= r.expires && (expires == 0) == (r.expires == 0) && e.At >= r.active
}

// Begun returns the free record as it is when accept's first lines have handed out an
// event: under the token, to that call, with a lease until the moment until. It is false
// if they would not at the moment at.
func (r *Record) Begun(token ids.Token, by ids.Call, at, until int64) (begun *Record, ok bool) {
	if r.work != "free" || r.waiting+r.bytes+r.unsent+r.replyBytes != 0 || at >= r.calm {
		return nil, false
	}
	held := *r
	held.work, held.token, held.holder, held.until, held.waiting = "event", string(token), string(by), until, 1
	return &held, true
}

// Token returns the fencing token of the last hand-out, as a number.
func (r *Record) Token() (token int64) {
	token, _ = strconv.ParseInt(r.token, 10, 64)
	return token
}

// After returns the record as a turn leaves it for which InHand is true.
func (r *Record) After(e Ended) *Record {
	after := *r
	after.hand = ""
	after.fields = r.fields.with(e.Set)
	after.expires, _ = r.lifetime(e.At, e.TTL)
	after.active = e.At
	after.place = Place(after.State(), e.At)
	after.seq += int64(e.Messages)
	after.turns++
	if e.Changed {
		after.version++
	}
	after.waiting, after.bytes = 0, 0
	after.unsent, after.replyBytes = int64(e.Replies), int64(e.ReplyBytes)
	if e.Replies > 0 {
		after.work, after.until, after.calm = "reply", e.At+e.Lease, 0
	} else {
		after.free()
	}
	after.write()
	return &after
}

// Sent returns the record after all of its replies were sent, and false if there is
// more to do for the session, or to write.
func (r *Record) Sent(n int) (after *Record, all bool) {
	if r.work != "reply" || r.waiting != 0 || r.unsent != int64(n) || r.ended != 0 || r.pause != 0 || r.listed != 0 {
		return nil, false
	}
	sent := *r
	sent.unsent, sent.replyBytes = 0, 0
	sent.free()
	sent.write()
	return &sent, true
}

// free gives the session back.
func (r *Record) free() {
	r.work, r.holder, r.until = "free", "-", 0
	r.calm = r.sweep
	if r.expires > 0 {
		r.calm = min(r.expires, r.sweep)
	}
}

// lifetime returns when the session expires if it is idle from at on, and whether
// the moment at which Redis drops its keys stays as it is.
func (r *Record) lifetime(at, bots int64) (expires int64, stays bool) {
	const day, week = 86400000, 604800000
	ttl := bots
	if r.ttl != "-" {
		ttl, _ = strconv.ParseInt(r.ttl, 10, 64)
	}
	if ttl <= 0 {
		return 0, r.net == 0
	}
	least := at + ttl + week
	return at + ttl, least <= r.net && r.net <= least+max(ttl/2, day)
}

// write makes the text from the words.
func (r *Record) write() {
	b := make([]byte, 0, 512) // on the stack, if it is enough
	b = append(append(b, r.work...), ' ')
	b = append(append(b, r.token...), ' ')
	b = append(strconv.AppendInt(b, r.calm, 10), ' ')
	b = append(append(b, r.holder...), ' ')
	for _, n := range [...]int64{r.until, r.waiting, r.bytes, r.unsent, r.replyBytes, r.version, r.seq, r.turns, r.active, r.expires, r.place} {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	r.text = string(append(append(b, "| "...), r.lastingText...))
}

// Holder returns the id of the call that the session was handed out to, or "-".
func (r *Record) Holder() ids.Call { return ids.Call(r.holder) }

// Free reports whether nobody holds the session.
func (r *Record) Free() bool { return r.work == "free" }

// TokenOf returns the fencing token in a rec, also in one that cannot be read otherwise.
func TokenOf(text string) ids.Token {
	_, rest, _ := strings.Cut(text, " ")
	token, _, _ := strings.Cut(rest, " ")
	return ids.Token(token)
}

// Place returns the session's score in the index.
func (r *Record) Place() int64 { return r.place }

// Until returns when the lease ends, in ms; 0 if there is none.
func (r *Record) Until() int64 { return r.until }

// Has reports whether the hash has the field.
func (r *Record) Has(field string) bool {
	_, has := r.fields.find(field)
	return has
}

// Size returns about how many bytes the record keeps in memory.
func (r *Record) Size() int {
	size := len(r.text) + 512
	for _, p := range r.fields {
		size += len(p.field) + len(p.value) + 48
	}
	return size
}

// EntryAt returns a message as the chat has it, said at that moment in ms.
func EntryAt(at int64, message codec.Encoded) string {
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(at))
	var b strings.Builder
	b.Grow(stampSize + len(message))
	b.Write(stamp[8-stampSize:])
	b.Write(message)
	return b.String()
}

// UnsentElement returns a reply as the outbox has it: with the id of the event that it
// is to, behind its extras, and with its entry in the chat.
func UnsentElement(name ids.Reply, to, entry string) string {
	var b strings.Builder
	b.Grow(len(name.Life) + len(to) + len(entry) + 32)
	b.WriteString(name.String())
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(len(to)))
	b.WriteByte(':')
	b.WriteString(to)
	b.WriteString(entry)
	return b.String()
}
