package store

import (
	"encoding/binary"
	"iter"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

// An ending is how an event ended. An empty status means that it is to be looked at.
type ending struct {
	status  session.OutcomeStatus
	why     string
	replies []entry
}

// outcome returns it, with messages that nobody else has.
func (e *ending) outcome() (Outcome, error) {
	o := Outcome{Status: e.status, Reason: e.why}
	for _, reply := range e.replies {
		m, err := reply.read()
		if err != nil {
			return o, err
		}
		o.Replies = append(o.Replies, m)
	}
	return o, nil
}

// size is how many bytes the reason and the replies have.
func (e *ending) size() int {
	size := len(e.why)
	for _, reply := range e.replies {
		size += len(reply.encoded)
	}
	return size
}

// waited is an event that somebody waits for.
type waited struct {
	ref    session.Ref
	digest ids.Digest
}

// record returns what is published of an ending.
func (what waited) record(e ending) []byte {
	size := e.size()
	if size > mostToldBytes {
		e = ending{}
	}
	letter := byte('?')
	switch e.status {
	case session.Handled:
		letter = 'd'
	case session.Dead:
		letter = 'x'
	}
	b := append(make([]byte, 0, size+128), letter)
	b = appendText(append(b, what.digest...), what.ref.String())
	if letter == '?' {
		return b
	}
	b = appendText(b, e.why)
	for _, reply := range e.replies {
		b = binary.AppendUvarint(b, uint64(reply.message.Seq))
		b = binary.AppendUvarint(b, uint64(reply.message.Time.UnixMilli()))
		b = appendText(b, string(reply.encoded))
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// cutNumber, cutText and cutReply take what stands first off a record; ok is false if it
// is not there.
func cutNumber(b string) (n uint64, rest string, ok bool) {
	n, size := binary.Uvarint([]byte(b[:min(len(b), binary.MaxVarintLen64)]))
	if size <= 0 {
		return 0, "", false
	}
	return n, b[size:], true
}

func cutText(b string) (text, rest string, ok bool) {
	n, b, ok := cutNumber(b)
	if !ok || n > uint64(len(b)) {
		return "", "", false
	}
	return b[:n], b[n:], true
}

func cutReply(b string) (reply entry, rest string, ok bool) {
	seq, b, ok1 := cutNumber(b)
	ms, b, ok2 := cutNumber(b)
	encoded, b, ok3 := cutText(b)
	reply.message.Seq, reply.message.Time, reply.encoded = int64(seq), time.UnixMilli(int64(ms)).UTC(), []byte(encoded)
	_, err := reply.read()
	return reply, b, ok1 && ok2 && ok3 && err == nil
}

// readEnding reads what record wrote.
func readEnding(b string) (what waited, e ending, ok bool) {
	if len(b) < 1+ids.DigestSize {
		return what, e, false
	}
	letter, b := b[0], b[1:]
	what.digest, b = ids.Digest(b[:ids.DigestSize]), b[ids.DigestSize:]
	name, b, ok := cutText(b)
	what.ref.Bot, what.ref.ID, _ = strings.Cut(name, "/")
	if !ok || what.ref.Validate() != nil {
		return what, e, false
	}
	switch letter {
	case '?':
		return what, e, b == ""
	case 'd':
		e.status = session.Handled
	case 'x':
		e.status = session.Dead
	default:
		return what, e, false
	}
	e.why, b, ok = cutText(b)
	for ok && b != "" {
		var reply entry
		reply, b, ok = cutReply(b)
		e.replies = append(e.replies, reply)
	}
	return what, e, ok
}

// records are the records of a message, up to one that cannot be read.
func records(message string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for message != "" {
			record, rest, ok := cutText(message)
			if !ok || !yield(record) {
				return
			}
			message = rest
		}
	}
}
