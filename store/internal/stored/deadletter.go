package stored

import (
	"bytes"
	"strconv"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// EncodeWhy writes why a letter is dead: the list [error, failures, crashes, holder].
func EncodeWhy(c codec.Codec, d session.DeadLetter) (codec.Encoded, error) {
	return c.EncodeAny([]any{d.Error, d.Failures, d.Crashes, d.Holder})
}

// DecodeWhy reads what [EncodeWhy] wrote. It returns [session.ErrCorrupt]
// for anything else.
func DecodeWhy(b []byte) (d session.DeadLetter, err error) {
	r := readRow(b, "why a letter is dead", 4)
	d = session.DeadLetter{Error: cell[string](r, 0), Failures: int(cell[int64](r, 1)), Crashes: int(cell[int64](r, 2)), Holder: cell[string](r, 3)}
	return d, r.err
}

// DecodeDeadLetter reads an element of the list of dead letters, which a script made
// of what was at the head of the inbox or of the outbox; lua/prelude/list.lua shows
// its form. Ref is left for the caller to set. It returns [session.ErrCorrupt] for
// what cannot be read, with the rest of the letter.
func DecodeDeadLetter(b []byte) (d session.DeadLetter, err error) {
	at, b, err := cut(b)
	if err != nil {
		return d, err
	}
	kind, rest := byte(0), b
	if len(b) > 0 {
		kind, rest = b[0], b[1:]
	}
	size, rest, _ := bytes.Cut(rest, []byte(":"))
	n, err := strconv.Atoi(string(size))
	if err != nil || n < 0 || n > len(rest) {
		return d, corrupt("a dead letter that does not say how long its reason is")
	}
	d, err = DecodeWhy(rest[:n])
	d.Time = at
	if err != nil {
		return d, err
	}
	head := rest[n:]
	switch kind {
	case 'e':
		a, err := ReadAccepted(head)
		if err != nil {
			return d, err
		}
		e, _, err := DecodeEvent(a.Event)
		if err != nil {
			return d, err
		}
		d.Event = &e
		return d, nil
	case 'r':
		u, err := ReadUnsent(head)
		if err != nil {
			return d, err
		}
		m, err := DecodeMessage(u.Message)
		if err != nil {
			return d, err
		}
		m.Seq, m.Time = u.Reply.Number, u.Time
		d.Reply = &m
		return d, nil
	}
	return d, corrupt("a dead letter that is of no event and no reply")
}
