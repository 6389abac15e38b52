package codec

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestMisfits(t *testing.T) {
	t.Parallel()
	type deep struct {
		List []struct {
			Count *int8 `json:"count"`
		} `json:"list"`
	}
	type loop *loop
	cases := map[string]struct {
		in   any
		into any
		says []string
	}{
		"700 for an int8":                   {700, new(int8), []string{"an integer", "int8"}},
		"-1 for a uint":                     {-1, new(uint), []string{"an integer", "uint"}},
		"256 for a byte":                    {256, new(byte), []string{"an integer"}},
		"1<<63 for an int64":                {uint64(1) << 63, new(int64), []string{"an integer", "int64"}},
		"1<<63 for a float64":               {uint64(1) << 63, new(float64), nil},
		"3.7 for an int":                    {3.7, new(int), []string{"a float", "int"}},
		"2^63 as a float for an int64":      {math.Pow(2, 63), new(int64), nil},
		"2^64 as a float for a uint64":      {math.Pow(2, 64), new(uint64), nil},
		"1e300 for a float32":               {1e300, new(float32), []string{"a float", "float32"}},
		"2^53+1 for a float64":              {int64(1)<<53 + 1, new(float64), nil},
		"2^24+1 for a float32":              {1<<24 + 1, new(float32), nil},
		"a string for an int":               {"7", new(int), []string{"a string of 1 bytes", "int"}},
		"an int for a string":               {7, new(string), []string{"an integer", "string"}},
		"a string for bytes":                {"hi", new([]byte), nil},
		"bytes for a string":                {[]byte("hi"), new(string), []string{"2 bytes"}},
		"a bool for an int":                 {true, new(int), []string{"a bool"}},
		"an int for a bool":                 {1, new(bool), nil},
		"a list for a map":                  {[]int{1}, new(map[string]int), []string{"a list of 1"}},
		"a map for a list":                  {map[string]int{}, new([]int), []string{"a map of 0"}},
		"a time for a string":               {instant, new(string), []string{"a time"}},
		"a string for a time":               {"yesterday", new(time.Time), nil},
		"an int for a time":                 {1, new(time.Time), nil},
		"a list for a struct":               {[]int{1}, new(deep), nil},
		"3 items for an array of 2":         {[]int{1, 2, 3}, new([2]int), nil},
		"3 bytes for an array of 2":         {[]byte{1, 2, 3}, new([2]byte), nil},
		"anything for a channel":            {1, new(chan int), nil},
		"anything for a complex number":     {1.0, new(complex128), nil},
		"anything for an interface":         {1, new(interface{ M() }), []string{"empty interface"}},
		"a number deep within":              {map[string]any{"list": []any{map[string]any{"count": 700}}}, new(deep), []string{".list[0].count", "int8"}},
		"a number in a map":                 {map[string]int{"a": 700}, new(map[string]int8), []string{"[a key]"}},
		"a key that is too large":           {map[int]int{300: 1}, new(map[uint8]int), []string{"[a key]"}},
		"a key that is no number":           {map[string]int{"x": 1}, new(map[int]int), []string{"[a key]"}},
		"a uint64 over int64 for an any":    {uint64(1) << 63, new(any), []string{"an integer"}},
		"the same within a list":            {[]any{1, uint64(1) << 63}, new(any), []string{"[1]"}},
		"the same within a map":             {map[string]any{"n": uint64(1) << 63}, new(map[string]any), []string{"[a key]"}},
		"a type that does not read it":      {"not an address", new(netip.Addr), nil},
		"a pointer that points to its kind": {1, new(loop), []string{"a pointer to itself"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forBoth(t, func(t *testing.T, c Codec) {
				wantErr(t, Decode(mustEncode(t, c, tc.in), tc.into), ErrType, tc.says...)
			})
		})
	}
	t.Run("a JSON number beyond 64 bits fits nothing", func(t *testing.T) {
		t.Parallel()
		for _, b := range []string{"j123456789012345678901234567890", "j1e999", "j[-9223372036854775809]"} {
			for _, into := range []any{new(any), new(int), new(float64), new(uint64), new([]any)} {
				wantErr(t, Decode([]byte(b), into), ErrType)
			}
		}
	})
}

func TestNumbersThatFit(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c Codec) {
		var f float64
		if err := Decode(mustEncode(t, c, int64(1)<<53), &f); err != nil || f != 1<<53 {
			t.Error(f, err)
		}
		var f32 float32
		if err := Decode(mustEncode(t, c, 0.1), &f32); err != nil || f32 != 0.1 {
			t.Error(f32, err)
		}
		var n int16
		if err := Decode(mustEncode(t, c, 300.0), &n); err != nil || n != 300 {
			t.Error(n, err)
		}
		var u uint64
		if err := Decode(mustEncode(t, c, uint64(math.MaxUint64)), &u); err != nil || u != math.MaxUint64 {
			t.Error(u, err)
		}
		var when time.Time
		if err := Decode(mustEncode(t, c, instant.Format(time.RFC3339Nano)), &when); err != nil || !when.Equal(instant) {
			t.Error(when, err)
		}
	})
}
