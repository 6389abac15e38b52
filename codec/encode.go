package codec

import "time"

// A writer writes one value piece by piece, with the methods of a
// msgpack.Encoder. Each item of a list is announced with its index, each value
// of a map by its key; then the list or map is ended.
type writer interface {
	EncodeNil() error
	EncodeBool(bool) error
	EncodeInt(int64) error
	EncodeUint(uint64) error
	EncodeFloat64(float64) error
	EncodeString(string) error
	EncodeBytes([]byte) error
	EncodeTime(time.Time) error
	EncodeArrayLen(n int) error
	EncodeMapLen(n int) error
	item(i int)
	key(i int, name string) error
	end(bracket byte)
	bytes() []byte
}

// An encoder walks a value and tells a writer about it.
type encoder struct {
	out       writer
	canonical bool // refuse what cannot be read into an any
}

// value writes v, which lies within depth lists and maps.
func (e encoder) value(v any, depth int) error {
	v, err := shape(v)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case bool:
		return e.out.EncodeBool(v)
	case int64:
		return e.out.EncodeInt(v)
	case uint64: // more than an int64 holds
		if e.canonical {
			return invalid("an integer over 64 bits with a sign, which would not be read again")
		}
		return e.out.EncodeUint(v)
	case float64:
		return e.out.EncodeFloat64(v)
	case string:
		return e.out.EncodeString(v)
	case []byte:
		return e.out.EncodeBytes(v)
	case time.Time:
		return e.out.EncodeTime(v)
	case []any:
		return e.list(v, depth)
	case members:
		return e.members(v, depth)
	}
	return e.out.EncodeNil()
}

func (e encoder) list(items []any, depth int) error {
	if depth >= maxDepth {
		return errTooDeep()
	}
	if err := e.out.EncodeArrayLen(len(items)); err != nil {
		return err
	}
	for i, item := range items {
		e.out.item(i)
		if err := e.value(item, depth+1); err != nil {
			return err
		}
	}
	e.out.end(']')
	return nil
}

func (e encoder) members(all members, depth int) error {
	if depth >= maxDepth {
		return errTooDeep()
	}
	if err := e.out.EncodeMapLen(len(all)); err != nil {
		return err
	}
	for i, m := range all {
		if err := e.out.key(i, m.name); err != nil {
			return err
		}
		if err := e.value(m.value, depth+1); err != nil {
			return err
		}
	}
	e.out.end('}')
	return nil
}

func errTooDeep() error {
	return invalid("more than %d lists and maps within each other, or a value that contains itself", maxDepth)
}
