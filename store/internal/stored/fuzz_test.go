package stored

import (
	"errors"
	"testing"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// same compares canonical values: not a number is itself here.
var same = cmp.Options{cmpopts.EquateNaNs(), cmpopts.EquateEmpty()}

func seeds(f *testing.F) {
	f.Helper()
	for _, form := range forms() {
		for _, c := range codecs {
			b, err := form.write(c)
			if err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(b))
		}
	}
}

func FuzzMessage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMessage(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			encoded, err := EncodeMessage(codec.Codec(b[0]), m)
			back, err2 := DecodeMessage(encoded)
			if diff := cmp.Diff(m, back, same); err != nil || err2 != nil || diff != "" {
				t.Fatal(err, err2, diff)
			}
		}
		if i, err := DecodeIntent(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			encoded, err := EncodeIntent(codec.Codec(b[0]), i)
			back, err2 := DecodeIntent(encoded)
			if diff := cmp.Diff(i, back, same); err != nil || err2 != nil || diff != "" {
				t.Fatal(err, err2, diff)
			}
		}
		if e, payload, err := DecodeEvent(b); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else {
			if _, err := EncodeEvent(codec.Msgpack, e); err != nil {
				wantErr(t, err, session.ErrInvalid)
			}
			if payload != nil {
				var v any
				if err := codec.Decode(payload, &v); err != nil {
					t.Fatal(err)
				}
			}
		}
		if file, err := DecodeFile(b); err == nil {
			if _, err := EncodeFile(codec.Codec(b[0]), *file); err != nil {
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
	f.Add("rec", []byte(leastRecord), "d:a", []byte("m\x01"))
	f.Add("intent", []byte("m\xc0"), "file", []byte(`j["a","b",1]`))
	f.Add("rec", []byte("free | 1 1"), "f:x", []byte("1"))
	f.Add("hand", []byte("0123456789abcdef1 2 m"), "retry", []byte("1 2 3 4 5 -1"))
	f.Add("hand", []byte("00000000000000000  "), "hand", []byte("0123456789abcdef1 2 \xff"))
	f.Fuzz(func(t *testing.T, field1 string, value1 []byte, field2 string, value2 []byte) {
		r, err := ReadRecord(someRef, []string{
			FieldRecord, leastRecord, FieldState, "s", field1, string(value1), field2, string(value2),
		})
		if err != nil {
			if !errors.Is(err, session.ErrCorrupt) && !errors.Is(err, session.ErrNewerLayout) && !errors.Is(err, session.ErrUnsupported) {
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
		if element, err := r.Hand(); err != nil {
			wantErr(t, err, session.ErrCorrupt)
		} else if element != "" {
			if _, err := ReadAccepted([]byte(element)); err != nil { // as for flags that are not known
				wantErr(t, err, session.ErrCorrupt)
			}
		}
	})
}
