package codec

import (
	"time"

	"github.com/botsession/botsession/session"
)

// EncodeEvent writes all of an event, its file's bytes included, as the list
// [id, kind, text, file, payload, platform, user, time]. The file is the list
// [name, type, size, bytes] or nil; the payload is an encoded value, as bytes,
// or nil; the time keeps its nanoseconds, and is nil where it is zero.
//
// It answers [session.ErrInvalid] for a payload that cannot be encoded, or not
// be read again into an any.
func (c Codec) EncodeEvent(e session.Event) (Encoded, error) {
	items, err := c.eventRow(e)
	if err != nil {
		return nil, err
	}
	return c.Encode(items)
}

func (c Codec) eventRow(e session.Event) ([]any, error) {
	var file, payload, at any
	if e.File != nil {
		file = []any{e.File.Name, e.File.Type, sizeOf(*e.File), e.File.Data}
	}
	if e.Payload != nil {
		b, err := c.encodePayload(e.Payload)
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

func (c Codec) encodePayload(v any) (Encoded, error) {
	e, ok := v.(Encoded)
	if !ok {
		return c.encodeCanonical(v)
	}
	if _, err := parseCanonical(e); err != nil {
		return nil, invalid("an Encoded that cannot be read into an any: %v", err)
	}
	return e, nil
}

// DecodeEvent reads what [Codec.EncodeEvent] wrote. The payload comes twice: in
// e as an any, and encoded, to be decoded into a type of the caller's; without a
// payload both are nil. The time is in UTC. It answers [session.ErrCorrupt] for
// anything that is no event.
func DecodeEvent(b []byte) (e session.Event, payload Encoded, err error) {
	return eventOf(readRow(b, "an event", 8))
}

func eventOf(r *row) (e session.Event, payload Encoded, err error) {
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
		if e.Payload, err = parseCanonical(payload); err != nil {
			return session.Event{}, nil, err
		}
	}
	return e, payload, nil
}
