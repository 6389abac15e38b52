package codec

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var codecs = []Codec{Msgpack, JSON}

// forBoth runs a test as a sub-test of each codec.
func forBoth(t *testing.T, f func(t *testing.T, c Codec)) {
	t.Helper()
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			f(t, c)
		})
	}
}

func mustEncode(t testing.TB, c Codec, v any) Encoded {
	t.Helper()
	b, err := c.Encode(v)
	if err != nil {
		t.Fatalf("Encode(%#v): %v", v, err)
	}
	return b
}

func wantErr(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

var instant = time.Date(2025, 9, 16, 5, 20, 42, 123456789, time.UTC)

func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	type pair struct {
		A int   `json:"a"`
		B []any `json:"b,omitempty"`
	}
	five := int8(5)
	cases := map[string]struct{ in, want any }{
		"nil stays nil":                       {nil, nil},
		"a nil pointer is nil":                {(*int)(nil), nil},
		"a nil slice is nil":                  {[]int(nil), nil},
		"a nil map is nil":                    {map[string]int(nil), nil},
		"a bool stays a bool":                 {true, true},
		"an int is an int64":                  {42, int64(42)},
		"an int8 is an int64":                 {int8(-128), int64(-128)},
		"a uint64 within int64 is an int64":   {uint64(math.MaxInt64), int64(math.MaxInt64)},
		"the least int64 stays":               {int64(math.MinInt64), int64(math.MinInt64)},
		"an int32's least stays":              {math.MinInt32, int64(math.MinInt32)},
		"an int16's least stays":              {math.MinInt16, int64(math.MinInt16)},
		"a uint32's most stays":               {uint32(math.MaxUint32), int64(math.MaxUint32)},
		"a pointer is what it points to":      {&five, int64(5)},
		"a whole float stays a float":         {3.0, 3.0},
		"minus zero stays a float":            {math.Copysign(0, -1), math.Copysign(0, -1)},
		"a huge float stays":                  {1e300, 1e300},
		"a tiny float stays":                  {5e-324, 5e-324},
		"a float32 is widened":                {float32(0.1), float64(float32(0.1))},
		"a string stays a string":             {"ciào <b>&\x00\x1f\u2028\"\\\n", "ciào <b>&\x00\x1f\u2028\"\\\n"},
		"bytes stay bytes":                    {[]byte{0, 1, 255}, []byte{0, 1, 255}},
		"no bytes are not nil":                {[]byte{}, []byte{}},
		"an array of bytes is bytes":          {[3]byte{1, 2, 3}, []byte{1, 2, 3}},
		"a time stays a time":                 {instant, instant},
		"a time comes back in UTC":            {instant.In(time.FixedZone("", 7200)), instant},
		"the zero time stays zero":            {time.Time{}, time.Time{}},
		"a time before 1970 stays":            {time.Date(1912, 6, 23, 0, 0, 0, 1, time.UTC), time.Date(1912, 6, 23, 0, 0, 0, 1, time.UTC)},
		"a time in the year 9999 stays":       {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"a pointer to a time is a time":       {&instant, instant},
		"a list is a list of any":             {[]string{"a", "b"}, []any{"a", "b"}},
		"an empty list stays":                 {[]any{}, []any{}},
		"an empty map stays":                  {map[string]any{}, map[string]any{}},
		"a struct is a map":                   {pair{A: 1}, map[string]any{"a": int64(1)}},
		"an integer key is its digits":        {map[int]bool{-7: true}, map[string]any{"-7": true}},
		"a key with MarshalText is its text":  {map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, map[string]any{"::1": int64(1)}},
		"keys with a dollar stay":             {map[string]any{"$bytes": "aGk=", "$$": int64(1), "$": nil}, map[string]any{"$bytes": "aGk=", "$$": int64(1), "$": nil}},
		"a lone dollar key stays":             {map[string]any{"$time": "2025-01-01T00:00:00Z"}, map[string]any{"$time": "2025-01-01T00:00:00Z"}},
		"bytes and times within a map stay":   {map[string]any{"b": []byte("hi"), "t": []any{instant}}, map[string]any{"b": []byte("hi"), "t": []any{instant}}},
		"MarshalText writes text":             {netip.MustParseAddr("10.0.0.1"), "10.0.0.1"},
		"MarshalJSON writes a tree":           {json.RawMessage(`{"$ref":[1,2.0,"x"]}`), map[string]any{"$ref": []any{int64(1), 2.0, "x"}}},
		"MarshalJSON of a pointer is called":  {struct{ N big.Int }{*big.NewInt(12)}, map[string]any{"N": int64(12)}},
		"a json.Number is a number":           {[]json.Number{"12", "1.50", "1e3", "-0.0"}, []any{int64(12), 1.5, 1000.0, math.Copysign(0, -1)}},
		"a duration is an integer":            {time.Second, int64(time.Second)},
		"an Encoded within is its value":      {[]any{Encoded("j[1]"), Encoded(nil)}, []any{[]any{int64(1)}, nil}},
		"a pointer to an Encoded is so, too":  {[]*Encoded{{'j', '1'}}, []any{int64(1)}},
		"a long string stays":                 {strings.Repeat("x", 70_000), strings.Repeat("x", 70_000)},
		"a list of 300 stays a list of 300":   {make([]bool, 300), falses(300)},
		"a list of 70000 stays a list of it":  {make([]bool, 70_000), falses(70_000)},
		"a map of any keys takes its strings": {map[any]any{"a": 1, 2: 3}, map[string]any{"a": int64(1), "2": int64(3)}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forBoth(t, func(t *testing.T, c Codec) {
				b := mustEncode(t, c, tc.in)
				var got any
				if err := Decode(b, &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func falses(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = false
	}
	return list
}

type Inner struct {
	Count int16 `json:"count"`
	Shade *string
}

type everything struct {
	Inner
	Name   string             `json:"name"`
	Skip   string             `json:"-"`
	Empty  string             `json:"empty,omitempty"`
	Since  time.Time          `json:"since,omitzero"`
	When   time.Time          `json:"when"`
	Raw    []byte             `json:"raw"`
	Sum    [4]byte            `json:"sum"`
	F      float32            `json:"f"`
	U      uint64             `json:"u"`
	Any    any                `json:"any"`
	Bag    map[string]any     `json:"bag"`
	List   []Inner            `json:"list"`
	ByID   map[uint8]*Inner   `json:"by_id"`
	Addr   netip.Addr         `json:"addr"`
	Big    *big.Int           `json:"big"`
	Doc    json.RawMessage    `json:"doc"`
	Held   Encoded            `json:"held"`
	Number json.Number        `json:"number"`
	Grid   [2][2]float64      `json:"grid"`
	Hosts  map[netip.Addr]int `json:"hosts"`
	Key    [2]named           `json:"key"`
	Loose  map[any]int        `json:"loose"`
	hidden int
}

type named string

func TestStructRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c Codec) {
		shade := "blue"
		want := everything{
			Inner: Inner{Count: -3, Shade: &shade}, Name: "n", When: instant, Raw: []byte{}, Sum: [4]byte{1, 2, 3, 4},
			F: 0.1, U: math.MaxUint64, Any: []any{int64(1), 2.0}, Bag: map[string]any{"t": instant, "b": []byte{1}},
			List: []Inner{{Count: 1}, {}}, ByID: map[uint8]*Inner{255: {Count: 9}, 1: nil},
			Addr: netip.MustParseAddr("::1"), Big: big.NewInt(-5), Doc: json.RawMessage(`{"$a":1}`),
			Held: mustEncode(t, c, "x"), Number: "17", Grid: [2][2]float64{{1, 2}, {3, 4}},
			Hosts: map[netip.Addr]int{netip.MustParseAddr("1.2.3.4"): 1}, Key: [2]named{"a", "b"}, Loose: map[any]int{"k": 1},
		}
		b := mustEncode(t, c, want)
		got := everything{Name: "before", Skip: "before", hidden: 1}
		if err := Decode(b, &got); err != nil {
			t.Fatal(err)
		}
		same := cmp.Options{
			cmpopts.IgnoreUnexported(everything{}),
			cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(string(b), "empty") || strings.Contains(string(b), "since") {
			t.Error("an empty field was written")
		}
	})
}

func TestDecodeReplaces(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c Codec) {
		t.Run("a stored nil sets the zero value", func(t *testing.T) {
			n, s, when, raw := 7, "seven", instant, Encoded("m\x01")
			for _, into := range []any{&n, &s, &when, &[]int{1}, &map[string]int{"a": 1}, &struct{ A int }{1}} {
				if err := Decode(mustEncode(t, c, nil), into); err != nil {
					t.Error(err)
				}
			}
			if n != 0 || s != "" || !when.IsZero() {
				t.Error(n, s, when)
			}
			if err := Decode(mustEncode(t, c, nil), &raw); err != nil || len(raw) < 2 {
				t.Error("a top-level Encoded keeps the encoded nil:", raw, err)
			}
		})
		t.Run("an error leaves the target alone", func(t *testing.T) {
			got := []int8{1}
			wantErr(t, Decode(mustEncode(t, c, []int{5, 700}), &got), ErrType)
			if len(got) != 1 || got[0] != 1 {
				t.Error(got)
			}
		})
		t.Run("what is not stored is zero", func(t *testing.T) {
			got := map[string]int{"old": 1}
			if err := Decode(mustEncode(t, c, map[string]int{"new": 2}), &got); err != nil || len(got) != 1 {
				t.Error(got, err)
			}
		})
		t.Run("only a pointer can be decoded into", func(t *testing.T) {
			for _, into := range []any{nil, 1, (*int)(nil), map[string]any{}} {
				wantErr(t, Decode(mustEncode(t, c, 1), into), ErrType, "pointer")
			}
		})
	})
}

func TestCodecNames(t *testing.T) {
	t.Parallel()
	if Msgpack.String() != "msgpack" || JSON.String() != "json" || Codec(0).String() != "msgpack" || Codec('x').String() != `Codec('x')` {
		t.Error(Msgpack, JSON, Codec(0), Codec('x'))
	}
	_, err := Codec('x').Encode(1)
	wantErr(t, err, ErrInvalid)
	if b := mustEncode(t, 0, 1); b[0] != byte(Msgpack) {
		t.Error("the zero codec is not msgpack")
	}
}
