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
		parts := bytes.SplitN(head, []byte(":"), 3)
		if len(parts) < 3 {
			return d, corrupt("a dead letter's reply without life and number")
		}
		m, err := DecodeEntry(parts[2])
		if err != nil {
			return d, err
		}
		if m.Seq, err = strconv.ParseInt(string(parts[1]), 10, 64); err != nil {
			return d, corrupt("a dead letter's reply whose number is no integer")
		}
		d.Reply = &m
		return d, nil
	}
	return d, corrupt("a dead letter that is of no event and no reply")
}

// EventHead is what stands before an event in the inbox: 16 bytes of digest, and
// 6 of time.
const EventHead = 16 + 6
