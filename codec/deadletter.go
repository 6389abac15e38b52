package codec

import (
	"time"

	"github.com/botsession/botsession/session"
)

// EncodeDeadLetter writes a dead letter as the list [event, reply, error,
// failures, crashes]. The event is as [Codec.EncodeEvent] has it, without its
// file's bytes; the reply is [kind, content, seq, time]; what it is not is nil.
// Ref and Time are not part of it: the key and [DecodeDeadLetter] have them.
func (c Codec) EncodeDeadLetter(d session.DeadLetter) (Encoded, error) {
	var event, reply any
	if d.Event != nil {
		e := *d.Event
		if e.File != nil {
			e.File = &session.File{Name: e.File.Name, Type: e.File.Type, Size: sizeOf(*e.File)}
		}
		items, err := c.eventRow(e)
		if err != nil {
			return nil, err
		}
		event = items
	}
	if d.Reply != nil {
		kind, err := messageKind(*d.Reply)
		if err != nil {
			return nil, err
		}
		var at any
		if !d.Reply.Time.IsZero() {
			at = d.Reply.Time
		}
		reply = []any{kind, d.Reply.Content, d.Reply.Seq, at}
	}
	return c.encodeCanonical([]any{event, reply, d.Error, d.Failures, d.Crashes})
}

// DecodeDeadLetter reads an element of the list of dead letters: the time, then
// what [Codec.EncodeDeadLetter] wrote. Ref is left for the caller to set. It
// answers [session.ErrCorrupt] for anything else.
func DecodeDeadLetter(b []byte) (session.DeadLetter, error) {
	at, b, err := cut(b)
	if err != nil {
		return session.DeadLetter{}, err
	}
	d, err := deadLetterOf(readRow(b, "a dead letter", 5))
	if err != nil {
		return session.DeadLetter{}, err
	}
	d.Time = at
	return d, nil
}

func deadLetterOf(r *row) (session.DeadLetter, error) {
	d := session.DeadLetter{
		Error:    cell[string](r, 2),
		Failures: int(cell[int64](r, 3)),
		Crashes:  int(cell[int64](r, 4)),
	}
	if r.err != nil {
		return d, r.err
	}
	if r.items[0] != nil {
		e, _, err := eventOf(asRow(r.items[0], "an event", 8))
		if err != nil {
			return d, err
		}
		d.Event = &e
	}
	if r.items[1] != nil {
		reply := asRow(r.items[1], "a reply", 4)
		m, err := messageOf(reply)
		if err != nil {
			return d, err
		}
		m.Seq, m.Time = cell[int64](reply, 2), optional[time.Time](reply, 3)
		if reply.err != nil {
			return d, reply.err
		}
		d.Reply = &m
	}
	return d, nil
}
