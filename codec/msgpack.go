package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// A packer writes msgpack. The library's EncodeInt and EncodeUint take the
// shortest form already.
type packer struct {
	*msgpack.Encoder
	buf bytes.Buffer
}

// packers keeps packers with their buffers, but for those that grew large.
var packers = sync.Pool{New: func() any { return &packer{Encoder: msgpack.NewEncoder(nil)} }}

const largePacker = 64 << 10

func newPacker() *packer {
	p := packers.Get().(*packer)
	p.buf.Reset()
	p.buf.WriteByte(byte(Msgpack))
	p.Reset(&p.buf)
	return p
}

func (p *packer) free() {
	if p.buf.Cap() <= largePacker {
		packers.Put(p)
	}
}

// EncodeFloat64 takes four bytes where a float32 is the same number.
func (p *packer) EncodeFloat64(v float64) error {
	if short := float32(v); float64(short) == v {
		return p.EncodeFloat32(short)
	}
	return p.Encoder.EncodeFloat64(v)
}

func (p *packer) key(_ int, name string) error { return p.EncodeString(name) }
func (p *packer) item(int)                     {}
func (p *packer) end(byte)                     {}
func (p *packer) bytes() []byte                { return bytes.Clone(p.buf.Bytes()) }

// An unpacker reads msgpack with the library, and guards against what the
// library lets pass. What it allocates is bounded by what is there, not by the
// lengths that the bytes claim.
type unpacker struct {
	*msgpack.Decoder
	in   bytes.Buffer
	wide bool // an integer over int64 was met
}

// unpack reads one msgpack value and nothing behind it.
func unpack(b []byte) (v any, wide bool, err error) {
	u := &unpacker{Decoder: msgpack.GetDecoder(), in: *bytes.NewBuffer(b)}
	defer msgpack.PutDecoder(u.Decoder)
	u.Reset(&u.in)
	v, err = u.value(0)
	switch {
	case err == nil && u.in.Len() > 0:
		return nil, false, corrupt("%d bytes behind the value", u.in.Len())
	case err == nil:
		return v, u.wide, nil
	case errors.Is(err, ErrCorrupt):
		return nil, false, err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, false, corrupt("msgpack that ends too early")
	}
	return nil, false, corrupt("%w", &refusal{"it is no msgpack", err}) // its text shows some of the bytes
}

// value reads a value that lies within depth lists and maps.
func (u *unpacker) value(depth int) (any, error) {
	code, err := u.PeekCode()
	if err != nil {
		return nil, err
	}
	switch {
	case msgpcode.IsFixedNum(code):
		return u.DecodeInt64()
	case msgpcode.IsString(code):
		b, err := u.run()
		return string(b), err
	case msgpcode.IsFixedArray(code):
		return u.list(depth)
	case msgpcode.IsFixedMap(code):
		return u.object(depth)
	case msgpcode.IsBin(code):
		b, err := u.run()
		return bytes.Clone(b), err
	case msgpcode.IsExt(code):
		return u.time()
	}
	switch code {
	case msgpcode.Nil:
		return nil, u.DecodeNil()
	case msgpcode.False, msgpcode.True:
		return u.DecodeBool()
	case msgpcode.Float, msgpcode.Double:
		return u.DecodeFloat64()
	case msgpcode.Int8, msgpcode.Int16, msgpcode.Int32, msgpcode.Int64, msgpcode.Uint8, msgpcode.Uint16, msgpcode.Uint32:
		return u.DecodeInt64()
	case msgpcode.Uint64:
		return u.uint()
	case msgpcode.Array16, msgpcode.Array32:
		return u.list(depth)
	case msgpcode.Map16, msgpcode.Map32:
		return u.object(depth)
	}
	return nil, corrupt("a byte with which no msgpack value begins")
}

func (u *unpacker) uint() (any, error) {
	n, err := u.DecodeUint64()
	if n <= math.MaxInt64 {
		return int64(n), err
	}
	u.wide = true
	return n, err
}

// run reads the bytes of a string or of binary data, without a copy. The
// library's DecodeString and DecodeBytes allocate before they look, and a pooled
// decoder keeps what DecodeString allocated.
func (u *unpacker) run() ([]byte, error) {
	n, err := u.DecodeBytesLen()
	if err != nil {
		return nil, err
	}
	if n > u.in.Len() {
		return nil, io.ErrUnexpectedEOF
	}
	return u.in.Next(n), nil
}

func (u *unpacker) list(depth int) (any, error) {
	n, err := u.DecodeArrayLen()
	if err := u.room(n, 1, depth, err); err != nil {
		return nil, err
	}
	items := make([]any, 0, min(n, 16)) // more as they are found
	for range n {
		item, err := u.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// object reads a map. A key that is no string, as other writers may have it, is
// read as fmt.Sprint prints it.
func (u *unpacker) object(depth int) (any, error) {
	n, err := u.DecodeMapLen()
	if err := u.room(n, 2, depth, err); err != nil {
		return nil, err
	}
	values := make(map[string]any, min(n, 16))
	for range n {
		key, err := u.value(depth + 1)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			name = fmt.Sprint(key)
		}
		if values[name], err = u.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// room refuses a list or map that is too deep, that claims more items than
// there are bytes for, or whose length could not be read.
func (u *unpacker) room(n, least, depth int, err error) error {
	switch {
	case err != nil:
		return err
	case depth >= maxDepth:
		return corrupt("more than %d lists and maps within each other", maxDepth)
	case n > u.in.Len()/least:
		return corrupt("more items announced than the bytes that are left can hold")
	}
	return nil
}

// time reads a time, the only extension that has a meaning here. The library
// would take extension 13 for one as well, and more nanoseconds than a second has.
func (u *unpacker) time() (any, error) {
	start := u.in
	kind, n, err := u.DecodeExtHeader()
	if err != nil {
		return nil, err
	}
	if kind != -1 {
		return nil, corrupt("an unknown msgpack extension")
	}
	if n > u.in.Len() {
		return nil, io.ErrUnexpectedEOF
	}
	if n == 8 || n == 12 {
		nanos := binary.BigEndian.Uint32(u.in.Bytes())
		if n == 8 {
			nanos >>= 2
		}
		if nanos >= 1e9 {
			return nil, corrupt("a time with more nanoseconds than a second has")
		}
	}
	u.in = start // DecodeTime wants the header, too
	when, err := u.DecodeTime()
	return when.UTC(), err
}
