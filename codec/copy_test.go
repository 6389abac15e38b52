package codec

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keeper keeps the slice that it is given, as no UnmarshalJSON should.
type keeper struct{ text []byte }

func (k *keeper) UnmarshalJSON(b []byte) error { k.text = b; return nil }

type place struct {
	City string         `json:"city"`
	Days *int8          `json:"days"`
	Raw  []byte         `json:"raw"`
	More map[string]any `json:"more"`
}

// A fitting is a canonical value, and what it is in a Go type.
type fitting struct{ stored, want any }

// fittings has each kind of Go value.
func fittings() map[string]fitting {
	three := int8(3)
	list := func() []any { return []any{"a", "b"} } // a new one each time: the tests spoil it
	more := func() map[string]any { return map[string]any{"l": []any{[]byte("x")}} }
	whole := map[string]any{"city": "Rome", "days": int64(3), "raw": []byte{1, 2}, "more": more()}
	return map[string]fitting{
		"a bool":             {true, true},
		"a named bool":       {true, flag(true)},
		"an int":             {int64(-7), -7},
		"an int8":            {int64(-7), int8(-7)},
		"an int16":           {int64(-7), int16(-7)},
		"an int32":           {int64(-7), int32(-7)},
		"an int64":           {int64(-7), int64(-7)},
		"a uint":             {int64(7), uint(7)},
		"a uint8":            {int64(7), uint8(7)},
		"a uint16":           {int64(7), uint16(7)},
		"a uint32":           {int64(7), uint32(7)},
		"a uint64":           {int64(7), uint64(7)},
		"an int of a float":  {3.0, 3},
		"a float32":          {0.5, float32(0.5)},
		"a float64":          {0.1, 0.1},
		"a string":           {"hi", "hi"},
		"a named string":     {"hi", named("hi")},
		"a json.Number":      {1.5, json.Number("1.5")},
		"a duration":         {int64(time.Second), time.Second},
		"bytes":              {[]byte{0, 255}, []byte{0, 255}},
		"named bytes":        {[]byte{0, 255}, blob{0, 255}},
		"an array of bytes":  {[]byte{0, 255}, [2]byte{0, 255}},
		"a time":             {instant, instant},
		"a list of any":      {list(), []any{"a", "b"}},
		"a list of strings":  {list(), []string{"a", "b"}},
		"an array":           {list(), [2]string{"a", "b"}},
		"a list of bytes":    {[]any{[]byte("x"), []byte("y")}, [][]byte{[]byte("x"), []byte("y")}},
		"a list of pointers": {[]any{int64(3), nil}, []*int8{&three, nil}},
		"a map of any":       {map[string]any{"a": list()}, map[string]any{"a": []any{"a", "b"}}},
		"a map of lists":     {map[string]any{"a": list()}, map[string][]string{"a": {"a", "b"}}},
		"a map of integers":  {map[string]any{"-1": "x"}, map[int]string{-1: "x"}},
		"a map by MarshalText": {map[string]any{"::1": true},
			map[netip.Addr]bool{netip.MustParseAddr("::1"): true}},
		"a struct":             {whole, place{"Rome", &three, []byte{1, 2}, more()}},
		"a pointer":            {int64(3), &three},
		"what reads its text":  {"::1", netip.MustParseAddr("::1")},
		"what reads its JSON":  {list(), keeper{[]byte(`["a","b"]`)}},
		"a raw message":        {more(), json.RawMessage(`{"l":["eA=="]}`)},
		"nil in a pointer":     {nil, (*int8)(nil)},
		"nil in a list":        {nil, []string(nil)},
		"nil in a map":         {nil, map[string]int(nil)},
		"nil in a struct":      {nil, place{}},
		"an empty list":        {[]any{}, []string{}},
		"an empty map":         {map[string]any{}, map[string]int{}},
		"no bytes":             {[]byte{}, []byte{}},
		"an Encoded":           {int64(3), Encoded("m\x03")},
		"a struct of Encodeds": {map[string]any{"a": list()}, map[string]Encoded{"a": Encoded("m\x92\xa1a\xa1b")}},
	}
}

type (
	flag bool
	blob []byte
)

var exact = cmp.Options{
	cmp.AllowUnexported(keeper{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// filled returns what decode leaves in a new value of want's type.
func filled(t *testing.T, want any, decode func(into any) error) any {
	t.Helper()
	into := reflect.New(reflect.TypeOf(want))
	if err := decode(into.Interface()); err != nil {
		t.Fatal(err)
	}
	got := into.Elem().Interface()
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Fatal(diff)
	}
	return got
}

// spoil changes whatever can be changed through v.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && v.Type().Elem().Kind() == reflect.Int8 {
			v.Elem().SetInt(99)
		}
	case reflect.Interface:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
		for i := range v.Len() {
			v.Index(i).SetZero()
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			spoil(v.MapIndex(key))
			v.SetMapIndex(key, reflect.Value{})
		}
	case reflect.Struct:
		if k, ok := v.Interface().(keeper); ok {
			clear(k.text)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				spoil(v.Field(i))
			}
		}
	}
}

func TestConvertFillsEachKindOfValueWithACopy(t *testing.T) {
	t.Parallel()
	for name, tc := range fittings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			convert := func(into any) error { return Convert(tc.stored, into) }
			first := filled(t, tc.want, convert)
			second := filled(t, tc.want, convert)
			spoil(reflect.ValueOf(first))
			if diff := cmp.Diff(tc.want, second, exact); diff != "" {
				t.Error("shared with another Convert:", diff)
			}
			filled(t, tc.want, convert) // fails if the value itself has changed
			spoil(reflect.ValueOf(tc.stored))
			if diff := cmp.Diff(tc.want, second, exact); diff != "" {
				t.Error("shared with the value:", diff)
			}
		})
	}
}

func TestDecodeSharesNoMemoryWithItsBytes(t *testing.T) {
	t.Parallel()
	for name, tc := range fittings() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := mustEncode(t, Msgpack, tc.stored)
			decode := func(into any) error { return Decode(b, into) }
			first := filled(t, tc.want, decode)
			second := filled(t, tc.want, decode)
			spoil(reflect.ValueOf(first))
			filled(t, tc.want, decode)
			clear(b)
			if diff := cmp.Diff(tc.want, second, exact); diff != "" {
				t.Error("shared with the bytes:", diff)
			}
		})
	}
	for _, into := range []any{new(any), new([]byte), new(string), new(Encoded), new(json.RawMessage), new(keeper)} {
		t.Run("JSON into "+reflect.TypeOf(into).Elem().String(), func(t *testing.T) {
			t.Parallel()
			for _, text := range []string{`j{"$bytes":"aGVsbG8="}`, `j"hello"`, `j["a",{"b":"hello"}]`} {
				b, want := []byte(text), reflect.New(reflect.TypeOf(into).Elem())
				if Decode([]byte(text), want.Interface()) != nil {
					continue // it does not fit, which another test says
				}
				got := reflect.New(want.Type().Elem())
				if err := Decode(b, got.Interface()); err != nil {
					t.Fatal(err)
				}
				clear(b)
				if diff := cmp.Diff(want.Elem().Interface(), got.Elem().Interface(), exact); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestConvertIsDecodeWithoutTheBytes(t *testing.T) {
	t.Parallel()
	t.Run("what does not fit is refused and leaves the target alone", func(t *testing.T) {
		t.Parallel()
		got := place{City: "before"}
		for _, v := range []any{"text", map[string]any{"city": int64(1)}, map[string]any{"days": int64(700)}, []any{}, true, 1.5} {
			if err := Convert(v, &got); !errors.Is(err, ErrType) || got.City != "before" {
				t.Error(v, err, got)
			}
		}
		for _, into := range []any{nil, 1, place{}, (*int)(nil), map[string]any{}} {
			wantErr(t, Convert("x", into), ErrType, "pointer")
		}
	})
	t.Run("what has no form in JSON is kept", func(t *testing.T) {
		t.Parallel()
		var text string
		var when time.Time
		late := time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := errors.Join(Convert("caf\xe9", &text), Convert(late, &when)); err != nil || text != "caf\xe9" || !when.Equal(late) {
			t.Errorf("%q %v %v", text, when, err)
		}
	})
	t.Run("a value of any type is brought into its form", func(t *testing.T) {
		t.Parallel()
		var texts []any
		if err := Convert([]named{"a"}, &texts); err != nil || !cmp.Equal(texts, []any{"a"}) {
			t.Error(texts, err)
		}
		err := Convert(make(chan int), &texts)
		wantErr(t, err, ErrInvalid, "chan int")
		if errors.Is(err, ErrType) || len(texts) != 1 {
			t.Error(err, texts)
		}
	})
}
