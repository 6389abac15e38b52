package codec

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type target struct {
	A int8              `json:"a"`
	B *uint16           `json:"b"`
	C []float32         `json:"c"`
	D map[string]string `json:"d"`
	E any               `json:"e"`
	F time.Time         `json:"f"`
	G []byte            `json:"g"`
	H map[int]*target   `json:"h"`
	I [2]bool           `json:"i"`
	J Encoded           `json:"j"`
}

func seeds(f *testing.F) {
	f.Helper()
	for _, v := range []any{
		nil, true, []int64{0, -1, 200, -200, 1 << 40, -1 << 40}, []float64{0.5, 0.1, 3, 1e300}, "perché no?", []byte{0, 255, 'x'},
		instant, time.Time{}, map[string]any{"a": []any{nil, "b"}, "$c": instant}, Inner{Count: 3},
	} {
		for _, c := range codecs {
			f.Add([]byte(mustEncode(f, c, v)))
		}
	}
	sixteen := uint16(16)
	whole := target{A: -1, B: &sixteen, C: []float32{0.1}, D: map[string]string{"k": "v"}, F: instant, G: []byte{1}, H: map[int]*target{-1: nil, 2: {}}}
	for _, c := range codecs {
		f.Add([]byte(mustEncode(f, c, whole)))
		f.Add([]byte(mustEncode(f, c, uint64(math.MaxUint64))))
	}
	f.Add([]byte("m\xdd\xff\xff\xff\xff"))
	f.Add([]byte(`j{"$$a":{"$bytes":"aGk="},"b":1e999}`))
	f.Add(bytes.Repeat([]byte("\x91"), 200))
}

// known fails for an error that is neither of the two that Decode returns.
func known(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrType) {
		t.Fatalf("neither corrupt nor invalid: %v", err)
	}
}

// again encodes a value that was decoded with the codec it came in, and decodes
// it into a value of the same type.
func again[T any](t *testing.T, c Codec, v T) T {
	t.Helper()
	var back T
	if err := Decode(mustEncode(t, c, v), &back); err != nil {
		t.Fatalf("what was read cannot be read again: %v", err)
	}
	return back
}

func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		err := Decode(b, &v)
		if known(t, err); err == nil {
			if diff := cmp.Diff(v, again(t, Codec(b[0]), v), cmpopts.EquateNaNs()); diff != "" {
				t.Fatal(diff)
			}
		}
		var s target
		err = Decode(b, &s)
		if known(t, err); err == nil {
			if diff := cmp.Diff(s, again(t, Codec(b[0]), s), cmpopts.EquateNaNs()); diff != "" {
				t.Fatal(diff)
			}
		}
		for _, into := range []any{new(int8), new(float32), new([]string), new(map[uint8]any), new([4]byte), new(Encoded), new(everything)} {
			known(t, Decode(b, into))
		}
	})
}
