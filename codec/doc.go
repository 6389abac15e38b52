// Package codec turns the values of a session into bytes and back, exactly or
// not at all: what cannot be kept whole is an error, never another value.
//
//	b, err := codec.Msgpack.Encode(map[string]any{"city": "Rome", "days": 3})
//	...
//	var trip struct {
//		City string `json:"city"`
//		Days int8   `json:"days"`
//	}
//	err = codec.Decode(b, &trip)
//
// # What a stored value looks like
//
// The first byte names the codec, the rest is the value:
//
//	m\x82\xa4city\xa4Rome\xa4days\x03      Msgpack, the default: compact
//	j{"city":"Rome","days":3}              JSON: readable with redis-cli
//
// Both are always readable, so a fleet can change its codec while it runs.
//
// # What can be stored
//
// Bools, integers, floats, strings, []byte, time.Time, and slices, arrays, maps,
// structs and pointers of them. Fields have the names of their json tags, and
// honour omitempty, omitzero and "-"; keys of maps are strings, integers, or
// what has a MarshalText. A type with MarshalJSON, or else MarshalText, writes
// itself and is read by its UnmarshalJSON or UnmarshalText, with both codecs; a
// number in its JSON that 64 bits do not hold is an error. The interfaces of the
// msgpack libraries are not asked.
//
// A value has one canonical form, which is what an any reads: nil, bool, int64,
// float64, string, []byte, time.Time, []any or map[string]any. It is the same
// for both codecs. Whatever type is asked for must hold it exactly: 700 is an
// error for an int8, as is -1 for a uint, 3.7 for an int, a string for a []byte.
// Three things give way. A float32 rounds, within its range. A whole float is
// taken by an integer, and an integer up to 1<<53 by a float64. A time keeps the
// instant to the nanosecond, and comes back in UTC.
//
// These cannot be stored: channels, functions and complex numbers; structs that
// export no field, or two of one name; lists and maps within each other more
// than a hundred deep, and so whatever contains itself; with JSON, NaN, the
// infinities, strings that are not UTF-8, and times outside the years 0 to 9999.
// A uint64 over math.MaxInt64 can be stored, and read into a uint64, but not into
// an any.
//
// In JSON an object {"$bytes": base64} is a []byte and {"$time": RFC 3339} a time;
// a key of the value's own that begins with "$" is written with a second one.
//
// # Errors
//
// [ErrInvalid] blames the value that was to be encoded, [ErrType] the Go type that
// was asked for, [ErrCorrupt] the bytes. A method of a user's type that panics is an
// error like one that returns one. No error prints what is stored, or is to be, nor
// keys of maps, nor the text of an error of such a method: that error is found with
// errors.Is and errors.As.
//
// # Backwards compatibility
//
// Everything that was ever written is read for ever, with both codec bytes. Package
// store keeps files of such bytes, beside the stored forms, which are never rewritten.
//
// Msgpack of other writers is read as well: integers of any width, the three
// forms of times, and maps whose keys are no strings, which are read as fmt.Sprint
// prints them. So is their JSON, where a time may be an RFC 3339 string if a
// time.Time is asked for.
package codec
