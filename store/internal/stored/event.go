package stored

import (
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

// An Accepted is an element of the inbox: an event that waits to be handled.
type Accepted struct {
	Digest ids.Digest
	Time   time.Time // Time is when it was accepted.
	Extras
	Event codec.Encoded // Event is what EncodeEvent wrote.
}

// AcceptedHead is how many bytes an element of the inbox has before its event and its
// extras, but for their flags.
const AcceptedHead = ids.DigestSize + stampSize + 1

// ReadAccepted reads an element of the inbox; lua/prelude/list.lua shows its form. It
// returns [session.ErrCorrupt] for one that is too short.
func ReadAccepted(b []byte) (a Accepted, err error) {
	if len(b) < AcceptedHead {
		return a, corrupt("an inbox element of %d bytes", len(b))
	}
	a.Digest = ids.Digest(b[:ids.DigestSize])
	if a.Time, b, err = cut(b[ids.DigestSize:]); err != nil {
		return a, err
	}
	a.Extras, b, err = readExtras(b)
	a.Event = b
	return a, err
}

// EncodeEvent writes all of an event, its file's bytes included, as the list
// [id, kind, text, file, payload, platform, user, time]. The file is the list
// [name, type, size, bytes] or nil; the payload is an encoded value, as bytes,
// or nil; the time keeps its nanoseconds, and is nil where it is zero.
//
// It returns [session.ErrInvalid] for a payload that cannot be encoded, or not
// be read again into an any.
func EncodeEvent(c codec.Codec, e session.Event) (codec.Encoded, error) {
	items, err := eventRow(c, e)
	if err != nil {
		return nil, err
	}
	return c.Encode(items)
}

func eventRow(c codec.Codec, e session.Event) ([]any, error) {
	var file, payload, at any
	if e.File != nil {
		file = []any{e.File.Name, e.File.Type, sizeOf(*e.File), e.File.Data}
	}
	if e.Payload != nil {
		b, err := c.EncodeAny(e.Payload)
		if err != nil {
			return nil, err
		}
		payload = []byte(b)
	}
	if !e.Time.IsZero() {
		at = e.Time
	}
	return []any{e.ID, e.Kind, e.Text, file, payload, e.Platform, e.User, at}, nil
}

// DecodeEvent reads what [EncodeEvent] wrote. The payload comes twice: in
// e as an any, and encoded, to be decoded into a type of the caller's; without a
// payload both are nil. The time is in UTC. It returns [session.ErrCorrupt] for
// anything that is no event.
func DecodeEvent(b []byte) (e session.Event, payload codec.Encoded, err error) {
	return eventOf(readRow(b, "an event", 8))
}

func eventOf(r *row) (e session.Event, payload codec.Encoded, err error) {
	e = session.Event{
		ID:       cell[string](r, 0),
		Kind:     cell[string](r, 1),
		Text:     cell[string](r, 2),
		Platform: cell[string](r, 5),
		User:     cell[string](r, 6),
		Time:     optional[time.Time](r, 7),
	}
	payload = optional[[]byte](r, 4)
	if r.err != nil {
		return session.Event{}, nil, r.err
	}
	if r.items[3] != nil {
		file := asRow(r.items[3], "an event's file", 4)
		data := optional[[]byte](file, 3)
		if e.File, err = fileOf(file); err != nil {
			return session.Event{}, nil, err
		}
		e.File.Data = data
	}
	if payload != nil {
		if e.Payload, err = codec.DecodeAny(payload); err != nil {
			return session.Event{}, nil, err
		}
	}
	return e, payload, nil
}
