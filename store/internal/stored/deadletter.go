package stored

import (
	"bytes"
	"strconv"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// A dead letter is an element of a list, made by a script of what was at the head
// of the inbox or of the outbox, so that no codec and no limit stands in its way:
//
//	6 bytes of time, 'e' or 'r', the length of why in decimal, ':', why, the head as it was stored
//
// why is the encoded list [error, failures, crashes].

// EncodeWhy writes why a letter is dead: the list [error, failures, crashes].
func EncodeWhy(c codec.Codec, d session.DeadLetter) (codec.Encoded, error) {
	return c.EncodeAny([]any{d.Error, d.Failures, d.Crashes})
}

// DecodeWhy reads what [EncodeWhy] wrote. It returns [session.ErrCorrupt]
// for anything else.
func DecodeWhy(b []byte) (text string, failures, crashes int, err error) {
	r := readRow(b, "why a letter is dead", 3)
	text, failures, crashes = cell[string](r, 0), int(cell[int64](r, 1)), int(cell[int64](r, 2))
	return text, failures, crashes, r.err
}

// DecodeDeadLetter reads an element of the list of dead letters. Ref is left for
// the caller to set. It returns [session.ErrCorrupt] for what cannot be read, with
// the rest of the letter.
func DecodeDeadLetter(b []byte) (d session.DeadLetter, err error) {
	at, b, err := cut(b)
	if err != nil {
		return d, err
	}
	d.Time = at
	kind, rest := byte(0), b
	if len(b) > 0 {
		kind, rest = b[0], b[1:]
	}
	size, rest, _ := bytes.Cut(rest, []byte(":"))
	n, err := strconv.Atoi(string(size))
	if err != nil || n < 0 || n > len(rest) {
		return d, corrupt("a dead letter that does not say how long its reason is")
	}
	if d.Error, d.Failures, d.Crashes, err = DecodeWhy(rest[:n]); err != nil {
		return d, err
	}
	head := rest[n:]
	switch kind {
	case 'e':
		if len(head) < EventHead {
			return d, corrupt("a dead letter's event of %d bytes", len(head))
		}
		e, _, err := DecodeEvent(head[EventHead:])
		if err == nil {
			d.Event = &e
		}
		return d, err
	case 'r':
		_, number, _, body, err := CutReply(head)
		if err != nil {
			return d, err
		}
		m, err := DecodeEntry(body)
		if err != nil {
			return d, err
		}
		m.Seq = number
		d.Reply = &m
		return d, nil
	}
	return d, corrupt("a dead letter that is of no event and no reply")
}

// EventHead is what stands before an event in the inbox: 16 bytes of digest, and
// 6 of time.
const EventHead = 16 + 6

// CutReply splits an element of the outbox, which is
//
//	life, ':', number, ':', n, ':', n bytes of the event's id, an element of the chat
//
// where n is in decimal, and 0 for a reply to no event. It returns
// [session.ErrCorrupt] for anything else.
func CutReply(b []byte) (life string, number int64, event string, entry []byte, err error) {
	parts := bytes.SplitN(b, []byte(":"), 4)
	if len(parts) < 4 {
		return "", 0, "", nil, corrupt("a reply without life, number and the length of its event's id")
	}
	number, err = strconv.ParseInt(string(parts[1]), 10, 64)
	if err != nil {
		return "", 0, "", nil, corrupt("a reply whose number is no integer")
	}
	n, err := strconv.Atoi(string(parts[2]))
	if err != nil || n < 0 || n > len(parts[3]) {
		return "", 0, "", nil, corrupt("a reply that does not say how long its event's id is")
	}
	return string(parts[0]), number, string(parts[3][:n]), parts[3][n:], nil
}
