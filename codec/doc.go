// Package codec turns the values of a session into bytes and back, exactly: a
// value that would come back as another one is an error.
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
// The first byte is the codec, the rest is the value:
//
//	m\x82\xa4city\xa4Rome\xa4days\x03      Msgpack, the default: compact
//	j{"city":"Rome","days":3}              JSON: readable with redis-cli
//
// Both can always be read, so programs can change the codec at any time.
//
// # What can be stored
//
// Bools, integers, floats, strings, []byte, time.Time, and slices, arrays, maps,
// structs and pointers of them. Struct fields have the names of their json tags,
// with omitempty, omitzero and "-"; map keys are strings, integers, or types with
// a MarshalText method. With both codecs a type that has MarshalJSON, or else
// MarshalText, is written by it, and read by UnmarshalJSON or UnmarshalText; a
// number in its JSON must fit into 64 bits. The interfaces of msgpack libraries
// are not used.
//
// A value has one canonical form, the same with both codecs, which is what it is
// when it is read into an any: nil, bool, int64, float64, string, []byte,
// time.Time, []any or map[string]any. Any other type must hold the value exactly:
// it is an error to read 700 into an int8, -1 into a uint, 3.7 into an int, or a
// string into a []byte. There are three exceptions. A float32 rounds, within its
// range. An integer takes a whole float, and a float64 takes an integer up to
// 1<<53. A time keeps its instant, to the nanosecond, and comes back in UTC.
//
// These cannot be stored: channels, functions and complex numbers; structs that
// export no field, or two of the same name; lists and maps nested more than a
// hundred deep, and so whatever contains itself; with JSON, also NaN and the
// infinities, strings that are not UTF-8, and times outside the years 0 to 9999.
// A uint64 over math.MaxInt64 can be stored and read into a uint64, but not into
// an any.
//
// In JSON an object {"$bytes": base64} is a []byte and {"$time": RFC 3339} a time;
// a key of a value that begins with "$" itself is written with a second "$".
//
// # Errors
//
// [ErrInvalid] is about the value to encode, [ErrType] about the Go type to decode
// into, [ErrCorrupt] about the bytes. A MarshalJSON or similar method that panics is
// treated as if it had returned an error. The text of an error never has values or
// map keys, nor the text of such a method's error, which errors.Is and errors.As
// find.
//
// # Backwards compatibility
//
// Every version reads what any earlier one wrote, with both codecs. Package store
// has files of such bytes, which are never rewritten, and tests that they are read.
//
// Msgpack of other writers can be read, too: integers of any width, all three forms
// of times, and maps with keys that are not strings, which become what fmt.Sprint
// prints. So can their JSON, where an RFC 3339 string can be read into a time.Time.
package codec
