package codec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
)

// A Record is a session's hash as it is stored. Reading one checks the numbers;
// the encoded values are decoded only when they are asked for.
type Record struct {
	ref    session.Ref
	fields map[string]string
}

// ReadRecord takes what HGETALL answered: field, value, field, value, as raw
// bytes. It answers:
//
//   - [session.ErrNotFound] for no fields at all;
//   - [session.ErrNewerLayout] for a layout that this version does not know;
//   - a [session.CorruptError] for a field without a value, for a number that is
//     none, and when the layout, the life, the version or the state is missing.
func ReadRecord(ref session.Ref, pairs []string) (*Record, error) {
	r := &Record{ref: ref, fields: make(map[string]string, len(pairs)/2)}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("session %s: %w", ref, session.ErrNotFound)
	}
	if len(pairs)%2 == 1 {
		return nil, r.corrupt(pairs[len(pairs)-1], errors.New("a field without a value"))
	}
	for i := 0; i < len(pairs); i += 2 {
		r.fields[pairs[i]] = pairs[i+1]
	}
	if layout, err := strconv.ParseInt(r.fields[FieldLayout], 10, 64); err == nil && layout > Layout {
		return nil, fmt.Errorf("session %s: %w: %d, this version reads up to %d", ref, session.ErrNewerLayout, layout, Layout)
	}
	for _, field := range []string{FieldLayout, FieldLife, FieldVersion, FieldState} {
		if r.fields[field] == "" {
			return nil, r.corrupt(field, errors.New("it is missing"))
		}
	}
	for _, field := range numberFields {
		text, ok := r.fields[field]
		if _, err := strconv.ParseInt(text, 10, 64); ok && err != nil {
			return nil, r.corrupt(field, fmt.Errorf("%q is no integer of 64 bits", text))
		}
	}
	return r, nil
}

func (r *Record) corrupt(field string, reason error) error {
	return &session.CorruptError{Ref: r.ref, Field: field, Reason: reason}
}

// number returns a field that ReadRecord has checked; 0 where it is absent.
func (r *Record) number(field string) int64 {
	n, _ := strconv.ParseInt(r.fields[field], 10, 64)
	return n
}

// moment returns a field of milliseconds as a time in UTC; 0 gives the zero time.
func (r *Record) moment(field string) time.Time {
	if ms := r.number(field); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// Ref returns what the session is named by.
func (r *Record) Ref() session.Ref { return r.ref }

// Life returns the number of the life.
func (r *Record) Life() int64 { return r.number(FieldLife) }

// Version returns the number of changes so far.
func (r *Record) Version() int64 { return r.number(FieldVersion) }

// Seq returns the sequence number of the chat's last message.
func (r *Record) Seq() int64 { return r.number(FieldSeq) }

// Turns returns the number of events handled in this life.
func (r *Record) Turns() int64 { return r.number(FieldTurns) }

// State returns the current state's name.
func (r *Record) State() string { return r.fields[FieldState] }

// Platform returns where the session's first event came from.
func (r *Record) Platform() string { return r.fields[FieldPlatform] }

// User returns the platform's name for the user.
func (r *Record) User() string { return r.fields[FieldUser] }

// Error returns the text of the last error, empty if there was none.
func (r *Record) Error() string { return r.fields[FieldError] }

// Flag reports whether the named flag is up.
func (r *Record) Flag(name string) bool {
	_, up := r.fields[PrefixFlag+name]
	return up
}

// Message returns the last user message that was handled. It answers a
// [session.CorruptError] when it cannot be read, as do the two below.
func (r *Record) Message() (string, error) {
	return read(r, FieldMessage, func(b []byte) (text string, err error) {
		err = Decode(b, &text)
		return text, err
	})
}

// Intent returns the last predicted intent: nil if there was none, or nil was set.
func (r *Record) Intent() (*session.Intent, error) { return read(r, FieldIntent, DecodeIntent) }

// File returns the last file, without its bytes; nil if there was none.
func (r *Record) File() (*session.File, error) { return read(r, FieldFile, DecodeFile) }

// read decodes a field; one that is absent gives the zero value.
func read[T any](r *Record, field string, decode func([]byte) (T, error)) (T, error) {
	var zero T
	text, ok := r.fields[field]
	if !ok {
		return zero, nil
	}
	v, err := decode([]byte(text))
	if err != nil {
		return zero, r.corrupt(field, err)
	}
	return v, nil
}

// Value returns a value of the private data as it is stored, for [Decode].
func (r *Record) Value(key string) (value Encoded, found bool) {
	text, found := r.fields[PrefixData+key]
	if !found {
		return nil, false
	}
	return Encoded(text), true
}

// Keys returns the keys of the private data, sorted.
func (r *Record) Keys() []string { return r.names(PrefixData) }

// names returns what lies behind a prefix, sorted.
func (r *Record) names(prefix string) []string {
	var names []string
	for field := range r.fields {
		if name, ok := strings.CutPrefix(field, prefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Ended reports whether the session was ended by its own turn, and waits to be
// buried.
func (r *Record) Ended() bool { return r.fields[FieldEnd] == "1" }
