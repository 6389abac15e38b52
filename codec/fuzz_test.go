package codec

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// same compares canonical values: not a number is itself here.
var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()}

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
	for _, g := range goldens() {
		for _, c := range codecs {
			b, err := g.write(c)
			if err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(b))
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

// known fails for an error that is neither of the two that Decode answers.
func known(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, session.ErrCorrupt) && !errors.Is(err, session.ErrInvalid) && !errors.Is(err, session.ErrType) {
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

func FuzzMessage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMessage(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			encoded, err := Codec(b[0]).EncodeMessage(m)
			back, err2 := DecodeMessage(encoded)
			if diff := cmp.Diff(m, back, same); err != nil || err2 != nil || diff != "" {
				t.Fatal(err, err2, diff)
			}
		}
		if i, err := DecodeIntent(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			encoded, err := Codec(b[0]).EncodeIntent(i)
			back, err2 := DecodeIntent(encoded)
			if diff := cmp.Diff(i, back, same); err != nil || err2 != nil || diff != "" {
				t.Fatal(err, err2, diff)
			}
		}
		if e, payload, err := DecodeEvent(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			known(t, Decode(payload, new(target)))
			_, err := Msgpack.EncodeEvent(e)
			known(t, err)
		}
		if file, err := DecodeFile(b); err == nil {
			if _, err := Codec(b[0]).EncodeFile(*file); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range []error{second(DecodeEntry(b)), second(DecodeDeadLetter(b))} {
			if err != nil {
				wantErr(t, err, session.ErrCorrupt)
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add("head", []byte("1 1 8 0 0 0 0 0 0 - 0 1"), "d:a", []byte("m\x01"))
	f.Add("intent", []byte("m\xc0"), "file", []byte(`j["a","b",1]`))
	f.Add("head", []byte("2 1"), "f:x", []byte("1"))
	f.Add("lease", []byte("1 9223372036854775807 event a#b 0 0 0"), "retry", []byte("1 2 3 4 5 -1"))
	f.Fuzz(func(t *testing.T, field1 string, value1 []byte, field2 string, value2 []byte) {
		r, err := ReadRecord(someRef, []string{
			FieldHead, leastHead, FieldLease, leastLease, FieldState, "s", field1, string(value1), field2, string(value2),
		})
		if err != nil {
			if !errors.Is(err, session.ErrCorrupt) && !errors.Is(err, session.ErrNewerLayout) {
				t.Fatal(err)
			}
			return
		}
		s, err := r.Snapshot()
		if err != nil {
			wantErr(t, err, session.ErrCorrupt)
		}
		if s.Data == nil || s.Flags == nil || s.State == "" {
			t.Fatalf("%+v", s)
		}
		r.Status()
	})
}
