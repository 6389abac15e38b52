package codec

import (
	"bytes"
	"fmt"
	"reflect"
)

// maxDepth is how many lists and maps may lie within each other. Deeper values
// are neither written nor read, so a value that contains itself is an error.
const maxDepth = 100

// A Codec is a way to write values. Its byte is the first one of every value
// that it writes, so the values of both can always be read. The zero Codec is
// [Msgpack].
type Codec byte

// The codecs.
const (
	Msgpack Codec = 'm' // compact
	JSON    Codec = 'j' // readable with redis-cli
)

// String returns "msgpack" or "json".
func (c Codec) String() string {
	switch c {
	case 0, Msgpack:
		return "msgpack"
	case JSON:
		return "json"
	}
	return fmt.Sprintf("Codec(%q)", byte(c))
}

// Encoded is a value as it is stored: the codec's byte, then the value in its
// encoding. It can be given as a value, or within one: it is written as what
// it holds.
type Encoded []byte

// Encode returns v encoded. It returns [ErrInvalid], with the reason, for a
// value that cannot be stored: see the package comment.
func (c Codec) Encode(v any) (Encoded, error) {
	if e, ok := v.(Encoded); ok {
		if len(e) == 0 || !Codec(e[0]).known() {
			return nil, invalid("an Encoded that no codec wrote")
		}
		return e, nil
	}
	return c.encode(v, encoder{})
}

// EncodeAny is [Codec.Encode] for a value that [DecodeAny] will read. It also
// returns [ErrInvalid] for a value that does not fit into an any: an integer
// over math.MaxInt64.
func (c Codec) EncodeAny(v any) (Encoded, error) {
	e, ok := v.(Encoded)
	if !ok {
		return c.encode(v, encoder{canonical: true})
	}
	if _, err := DecodeAny(e); err != nil {
		return nil, invalid("an Encoded that cannot be read into an any: %v", err)
	}
	return e, nil
}

func (c Codec) encode(v any, e encoder) (Encoded, error) {
	switch c {
	case 0, Msgpack:
		p := newPacker()
		defer p.free()
		e.out = p
	case JSON:
		e.out = &jsonWriter{buf: append(make([]byte, 0, 64), byte(JSON))}
	default:
		return nil, invalid("unknown codec %q", byte(c))
	}
	if err := e.value(v, 0); err != nil {
		return nil, err
	}
	return e.out.bytes(), nil
}

func (c Codec) known() bool { return c == Msgpack || c == JSON }

// Decode reads a value that either codec wrote, and stores it in the value
// that into points to, which it replaces. It returns [ErrCorrupt] for bytes
// that no codec writes, and [ErrType], with what is stored and where, for a
// value that does not fit or an into that is not a pointer; then it changes
// nothing. What it stores shares no memory with b.
func Decode(b []byte, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%w: decode into %T: want a pointer that is not nil", ErrType, into)
	}
	v, wide, err := parse(b)
	if err != nil {
		return err
	}
	switch into := into.(type) {
	case *Encoded:
		*into = bytes.Clone(b)
		return nil
	case *any:
		if !wide {
			*into = v
			return nil
		}
	}
	fresh := reflect.New(target.Type().Elem()).Elem()
	if bad := (filler{Codec(b[0]), wide}).fill(fresh, v); bad != nil {
		return bad.error()
	}
	target.Elem().Set(fresh)
	return nil
}

// Convert stores v in the value that into points to, as if v had been encoded
// and decoded: a []any in a []string, a map in a struct with json tags. It
// returns [ErrType] for a value that does not fit, and [ErrInvalid] for one
// that cannot be encoded; then it changes nothing. What it stores shares no
// memory with v.
func Convert(v, into any) error {
	b, err := Msgpack.Encode(v) // any string, any float, any time
	if err != nil {
		return err
	}
	return Decode(b, into)
}

// DecodeAny returns a value that either codec wrote, in its canonical form:
// nil, bool, int64, float64, string, []byte, time.Time, []any or
// map[string]any. It returns [ErrCorrupt] for bytes that no codec writes, and
// for a number that does not fit.
func DecodeAny(b []byte) (any, error) {
	v, wide, err := parse(b)
	if err == nil && wide {
		err = corrupt("it holds a number that neither an int64 nor a float64 can hold")
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// parse reads a value in its canonical form: nil, bool, int64, float64, string,
// []byte, time.Time, []any or map[string]any. A number that an int64 or a
// float64 cannot hold stays a uint64 or a json.Number, and wide is set.
func parse(b []byte) (v any, wide bool, err error) {
	if len(b) == 0 {
		return nil, false, corrupt("no bytes at all")
	}
	switch Codec(b[0]) {
	case Msgpack:
		return unpack(b[1:])
	case JSON:
		return parseJSON(b[1:], false)
	}
	return nil, false, corrupt("no codec wrote it")
}
