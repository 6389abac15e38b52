package stored

import (
	"bytes"
	"cmp"
	"strconv"
	"time"

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

// A Letter is an element of the list of dead letters. It has one of its fields Event and
// Reply, or neither if it is damaged.
type Letter struct {
	Stamp string    // Stamp is its time as it is stored, which names it.
	Time  time.Time // Time is when it was written.
	Event *Accepted // Event is what was at the head of the inbox.
	Reply *Unsent   // Reply is what was at the head of the outbox.
	Why   []byte    // Why is what EncodeWhy wrote.
}

// StampOf returns a time as elements of lists have it.
func StampOf(at time.Time) string { return EntryAt(at.UnixMilli(), nil) }

// ReadLetter reads an element of the list of dead letters, which a script made of what was
// at the head of the inbox or of the outbox; lua/prelude/list.lua shows its form. It
// returns [session.ErrCorrupt] for what cannot be read, with the rest of the letter.
func ReadLetter(b []byte) (l Letter, err error) {
	at, rest, err := cut(b)
	if err != nil {
		return l, err
	}
	l.Stamp, l.Time = string(b[:stampSize]), at
	kind := byte(0)
	if len(rest) > 0 {
		kind, rest = rest[0], rest[1:]
	}
	size, rest, _ := bytes.Cut(rest, []byte(":"))
	n, err := strconv.Atoi(string(size))
	if err != nil || n < 0 || n > len(rest) {
		return l, corrupt("a dead letter that does not say how long its reason is")
	}
	l.Why = rest[:n]
	switch kind {
	case 'e':
		a, err := ReadAccepted(rest[n:])
		if err == nil {
			l.Event = &a
		}
		return l, err
	case 'r':
		u, err := ReadUnsent(rest[n:])
		if err == nil {
			l.Reply = &u
		}
		return l, err
	}
	return l, corrupt("a dead letter that is of no event and no reply")
}

// DecodeDeadLetter reads all of an element of the list of dead letters. Ref is left for
// the caller to set. It returns [session.ErrCorrupt] for what cannot be read, with the
// rest of the letter.
func DecodeDeadLetter(b []byte) (d session.DeadLetter, err error) {
	l, damage := ReadLetter(b)
	if l.Why == nil {
		d.Time = l.Time
		return d, damage
	}
	d, err = DecodeWhy(l.Why)
	d.Time = l.Time
	if err = cmp.Or(err, damage); err != nil {
		return d, err
	}
	if l.Event != nil {
		e, _, err := DecodeEvent(l.Event.Event)
		if err == nil {
			d.Event = &e
		}
		return d, err
	}
	m, err := DecodeMessage(l.Reply.Message)
	if err != nil {
		return d, err
	}
	m.Seq, m.Time = l.Reply.Reply.Number, l.Reply.Time
	d.Reply = &m
	return d, nil
}
