package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestCorruptBytes(t *testing.T) {
	t.Parallel()
	deep := func(open, close string, n int) string { return strings.Repeat(open, n) + close }
	cases := map[string]string{
		"no bytes":                            "",
		"an unknown codec":                    "x1",
		"a codec without a value":             "m",
		"JSON without a value":                "j",
		"a byte that msgpack never uses":      "m\xc1",
		"a truncated string":                  "m\xa5abc",
		"a truncated integer":                 "m\xcd\x01",
		"a truncated list":                    "m\x92\x01",
		"a truncated map":                     "m\x81\xa1a",
		"a truncated length of a string":      "m\xda\x01",
		"a truncated length of a list":        "m\xdc\x01",
		"a truncated length of a map":         "m\xde\x01",
		"bytes behind the value":              "m\x01\x02",
		"a string longer than the input":      "m\xdb\xff\xff\xff\xff",
		"bytes longer than the input":         "m\xc6\xff\xff\xff\xff",
		"a list longer than the input":        "m\xdd\xff\xff\xff\xff",
		"a map longer than the input":         "m\xdf\xff\xff\xff\xff",
		"an extension longer than the input":  "m\xc9\xff\xff\xff\xff\xff",
		"an unknown extension":                "m\xd4\x05\x00",
		"a time of another extension":         "m\xd6\x0d\x00\x00\x00\x01",
		"a time of one byte":                  "m\xd4\xff\x00",
		"a time with too many nanoseconds":    "m\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"a long time with too many of them":   "m\xc7\x0c\xff\x3b\x9a\xca\x00" + strings.Repeat("\x00", 8),
		"a truncated time":                    "m\xd7\xff\x00\x00",
		"101 lists":                           "m" + deep("\x91", "\xc0", 101),
		"a million lists":                     "m" + deep("\x91", "\xc0", 1_000_000),
		"a million maps":                      "m" + deep("\x81\xa1a", "\xc0", 1_000_000),
		"a million keys":                      "m" + deep("\x81", "\xc0", 1_000_000),
		"JSON: no value":                      "jx",
		"JSON: truncated":                     `j{"a":`,
		"JSON: bytes behind the value":        "j1 2",
		"JSON: a brace behind the value":      "j[]]",
		"JSON: not UTF-8":                     "j\"\xff\"",
		"JSON: 101 lists":                     "j" + deep("[", strings.Repeat("]", 101), 101),
		"JSON: 101 maps":                      "j" + deep(`{"a":`, "1"+strings.Repeat("}", 101), 101),
		"JSON: a million lists":               "j" + deep("[", strings.Repeat("]", 1_000_000), 1_000_000),
		"JSON: an unknown dollar key":         `j{"$what":1}`,
		"JSON: bytes that are no base64":      `j{"$bytes":"%"}`,
		"JSON: a time that is none":           `j{"$time":"noon"}`,
		"JSON: a time in the year -1":         `j{"$time":"0000-01-01T00:00:00+23:59"}`,
		"JSON: bytes that are no string":      `j{"$bytes":1}`,
		"JSON: bytes beside something else":   `j{"$bytes":"aGk=","a":1}`,
		"JSON: a number with a leading zero":  "j01",
		"JSON: infinity in another language":  "jInfinity",
		"JSON: a comma before the end":        "j[1,]",
		"JSON: a string that is never closed": `j"abc`,
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, into := range []any{new(any), new(int), new(string), new(struct{ A []int }), new(Encoded)} {
				wantErr(t, Decode([]byte(b), into), ErrCorrupt)
			}
		})
	}
	t.Run("100 lists are read", func(t *testing.T) {
		t.Parallel()
		for _, b := range []string{"m" + deep("\x91", "\xc0", 100), "j" + deep("[", "null"+strings.Repeat("]", 100), 100)} {
			var v any
			if err := Decode([]byte(b), &v); err != nil {
				t.Fatal(err)
			}
			mustEncode(t, Codec(b[0]), v)
		}
	})
}

// Not parallel: it measures what is allocated.
func TestLengthsAreNotBelieved(t *testing.T) {
	const size = 1 << 20
	inputs := map[string][]byte{
		"one list":      append([]byte("m\xdd\x00\x0f\xff\xf0"), make([]byte, 100)...),
		"nested lists":  []byte("m" + strings.Repeat("\xdd\x00\x0f\x00\x00", 100) + strings.Repeat("\x00", size)),
		"nested maps":   []byte("m" + strings.Repeat("\xdf\x00\x07\x00\x00\x01", 100) + strings.Repeat("\x00", size)),
		"a long string": []byte("m\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 100)),
		"many bytes":    []byte("m\xc6\x7f\xff\xff\xff" + strings.Repeat("x", 100)),
		"a long time":   []byte("m\xc9\x7f\xff\xff\xff\xff" + strings.Repeat("x", 100)),
	}
	for name, b := range inputs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var v any
		err := Decode(b, &v)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(200*len(b)+size/8) {
			t.Errorf("%s: %d bytes allocated for an input of %d", name, used, len(b))
		}
	}
}

type node struct {
	Next *node `json:"next"`
}

type pointer *pointer

type cyclic []cyclic

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { return nil, errors.New("no wish to") }

func TestWhatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	m := map[string]any{}
	m["m"] = m
	l := []any{nil}
	l[0] = l
	n := &node{}
	n.Next = n
	var p pointer
	p = &p
	var i any
	i = &i
	s := make(cyclic, 1)
	s[0] = s
	var deep any
	for range 101 {
		deep = []any{deep}
	}
	type left struct{ A int }
	type right struct{ A int }
	type twin struct {
		left
		right
	}
	both := map[string]struct {
		in   any
		says string
	}{
		"a map that contains itself":      {m, "contains itself"},
		"a list that contains itself":     {l, "contains itself"},
		"a struct that points to itself":  {n, "contains itself"},
		"a pointer to itself":             {p, "contains itself"},
		"an any that points to itself":    {i, "contains itself"},
		"a typed list within itself":      {s, "contains itself"},
		"101 lists":                       {deep, "100 lists"},
		"a channel":                       {make(chan int), "chan int"},
		"a function within a list":        {[]any{func() {}}, "func()"},
		"a complex number":                {1i, "complex128"},
		"an error":                        {errors.New("x"), "no exported field"},
		"a URL with a password":           {[]any{&url.URL{User: url.User("u")}}, "Userinfo"},
		"a key of a map that is a float":  {map[float64]int{1.5: 1}, "float64"},
		"two keys that are written alike": {map[any]any{1: 1, "1": 2}, "written alike"},
		"two fields of one name":          {twin{}, `"A"`},
		"a type that does not wish to":    {broken{}, "MarshalJSON"},
		"a JSON number of 20 digits":      {json.RawMessage("[0.12345678901234567891]"), "can hold"},
		"a JSON integer of 30 digits":     {json.RawMessage("123456789012345678901234567890"), "can hold"},
		"a JSON number that is too small": {json.Number("1e-400"), "can hold"},
		"a json.Number that is none":      {json.Number("0x1.8p1"), "can hold"},
		"JSON that is none":               {json.RawMessage("{"), "RawMessage"},
		"an Encoded without bytes":        {Encoded{}, "no codec"},
		"an Encoded of no codec":          {Encoded("x1"), "no codec"},
		"a broken Encoded within a list":  {[]any{Encoded("m\xc1")}, "cannot be read"},
		"an Encoded that is too deep":     {[]any{Encoded("m" + strings.Repeat("\x91", 100) + "\xc0")}, "100 lists"},
	}
	for name, tc := range both {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range codecs {
				_, err := c.Encode(tc.in)
				wantErr(t, err, ErrInvalid, tc.says)
			}
		})
	}
	for name, v := range map[string]any{
		"not a number":              math.NaN(),
		"infinity":                  math.Inf(-1),
		"a string that is no UTF-8": "\xff",
		"a key that is no UTF-8":    map[string]any{"\xff": 1},
		"a time in the year 10000":  time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"a time in the year -1":     time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		t.Run("JSON has no "+name+" and msgpack has", func(t *testing.T) {
			t.Parallel()
			_, err := JSON.Encode(v)
			wantErr(t, err, ErrInvalid)
			var got any
			if err := Decode(mustEncode(t, Msgpack, v), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(v) {
				t.Error(got, err)
			}
		})
	}
	t.Run("an Encoded is not encoded again", func(t *testing.T) {
		t.Parallel()
		for _, c := range codecs {
			if got := mustEncode(t, c, Encoded("j 1")); string(got) != "j 1" {
				t.Errorf("%q", got)
			}
		}
	})
}
