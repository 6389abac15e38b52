package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Types of a user's whose methods panic, with each kind of receiver.
type (
	badJSON       struct{ N int }
	badJSONPtr    struct{ N int }
	badText       struct{ N int }
	badTextPtr    struct{ N int }
	badZero       struct{ N int }
	badZeroPtr    struct{ N int }
	badReadJSON   struct{ N int }
	badReadText   struct{ N int }
	moody         struct{ calls *int }
	unfriendly    struct{ N int }
	keyOfAny      struct{ held any }
	panicsWithNil struct{ N int }
)

var errPanicked = errors.New("sesame, as the cause")

func (badJSON) MarshalJSON() ([]byte, error)       { panic(errPanicked) }
func (b *badJSONPtr) MarshalJSON() ([]byte, error) { panic(fmt.Sprint("sesame", b.N)) }
func (badText) MarshalText() ([]byte, error)       { panic(errPanicked) }
func (b *badTextPtr) MarshalText() ([]byte, error) { panic(fmt.Sprint("sesame", b.N)) }
func (badZero) IsZero() bool                       { panic(errPanicked) }
func (b *badZeroPtr) IsZero() bool                 { panic(fmt.Sprint("sesame", b.N)) }
func (*badReadJSON) UnmarshalJSON([]byte) error    { panic(errPanicked) }
func (*badReadText) UnmarshalText([]byte) error    { panic(errPanicked) }
func (panicsWithNil) MarshalJSON() ([]byte, error) { panic(nil) }

func (m moody) MarshalJSON() ([]byte, error) {
	if *m.calls++; *m.calls > 1 {
		panic("sesame")
	}
	return []byte("1"), nil
}

// An unfriendlyError panics when it is asked for anything.
type unfriendlyError struct{}

func (*unfriendlyError) Error() string          { panic("sesame") }
func (*unfriendlyError) Unwrap() error          { panic("sesame") }
func (*unfriendlyError) Is(error) bool          { panic("sesame") }
func (*unfriendlyError) As(any) bool            { panic("sesame") }
func (unfriendly) MarshalJSON() ([]byte, error) { return nil, (*unfriendlyError)(nil) }
func (*unfriendly) UnmarshalJSON([]byte) error  { return (*unfriendlyError)(nil) }

func (k *keyOfAny) UnmarshalText([]byte) error { k.held = []int{1}; return nil }

func wantNoContent(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{"sesame", "4711", "47.11", "1999"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q shows content", err)
		}
	}
}

func TestAMethodThatPanicsIsAnError(t *testing.T) {
	t.Parallel()
	type zero struct {
		Z badZero `json:"z,omitzero"`
	}
	type zeroPtr struct {
		Z badZeroPtr `json:"z,omitzero"`
	}
	type zeroOfPtr struct {
		Z *badZeroPtr `json:"z,omitzero"`
	}
	type zeroOfAny struct {
		Z any `json:"z,omitzero"`
	}
	for name, tc := range map[string]struct {
		in   any
		says []string
	}{
		"MarshalJSON":                            {badJSON{}, []string{"codec.badJSON", "MarshalJSON panicked"}},
		"MarshalJSON, asked through a pointer":   {&badJSON{}, []string{"codec.badJSON", "MarshalJSON panicked"}},
		"MarshalJSON of a pointer":               {badJSONPtr{4711}, []string{"codec.badJSONPtr", "MarshalJSON panicked"}},
		"MarshalJSON deep within":                {map[string]any{"sesame": []any{&badJSONPtr{4711}}}, []string{"codec.badJSONPtr", "MarshalJSON panicked"}},
		"MarshalJSON with a panic(nil)":          {panicsWithNil{}, []string{"codec.panicsWithNil", "MarshalJSON panicked"}},
		"MarshalText":                            {badText{}, []string{"codec.badText", "MarshalText panicked"}},
		"MarshalText of a pointer":               {[]badTextPtr{{4711}}, []string{"codec.badTextPtr", "MarshalText panicked"}},
		"MarshalText of a key":                   {map[badText]int{{}: 1}, []string{"codec.badText", "MarshalText panicked"}},
		"MarshalText of a key that is a pointer": {map[*badTextPtr]int{{4711}: 1}, []string{"codec.badTextPtr", "MarshalText panicked"}},
		"IsZero":                                 {zero{}, []string{"codec.badZero", "IsZero panicked"}},
		"IsZero of a pointer":                    {zeroPtr{badZeroPtr{4711}}, []string{"codec.badZeroPtr", "IsZero panicked"}},
		"IsZero of what is pointed to":           {zeroOfPtr{&badZeroPtr{4711}}, []string{"codec.badZeroPtr", "IsZero panicked"}},
		"IsZero of what an any holds":            {zeroOfAny{badZero{}}, []string{"interface", "IsZero panicked"}},
		"an error that panics itself":            {unfriendly{}, []string{"codec.unfriendly", "*codec.unfriendlyError"}},
	} {
		t.Run(name+", when it is encoded", func(t *testing.T) {
			t.Parallel()
			forBoth(t, func(t *testing.T, c Codec) {
				_, err := c.Encode(tc.in)
				wantErr(t, err, ErrInvalid, tc.says...)
				wantNoContent(t, err)
				if errors.Is(err, ErrType) {
					t.Error("it is a wrong type, too:", err)
				}
			})
		})
	}
	for name, tc := range map[string]struct {
		in, into any
		says     []string
	}{
		"UnmarshalJSON":               {4711, new(badReadJSON), []string{"codec.badReadJSON", "UnmarshalJSON panicked"}},
		"UnmarshalJSON deep within":   {map[string]any{"sesame": []any{"4711"}}, new(map[string][]*badReadJSON), []string{"[a key][0]", "codec.badReadJSON", "UnmarshalJSON panicked"}},
		"UnmarshalText":               {"sesame", new(badReadText), []string{"codec.badReadText", "UnmarshalText panicked"}},
		"UnmarshalText of a key":      {map[string]int{"sesame": 1}, new(map[badReadText]int), []string{"[a key]", "codec.badReadText", "UnmarshalText panicked"}},
		"a key that cannot be one":    {map[string]int{"sesame": 1}, new(map[keyOfAny]int), []string{"[a key]", "codec.keyOfAny"}},
		"an error that panics itself": {"sesame", new(unfriendly), []string{"codec.unfriendly", "*codec.unfriendlyError"}},
	} {
		t.Run(name+", when it is decoded", func(t *testing.T) {
			t.Parallel()
			forBoth(t, func(t *testing.T, c Codec) {
				err := Decode(mustEncode(t, c, tc.in), tc.into)
				wantErr(t, err, ErrType, tc.says...)
				wantNoContent(t, err)
				if errors.Is(err, ErrInvalid) || errors.Is(err, errors.ErrUnsupported) {
					t.Error("it is something else, too:", err)
				}
				wantErr(t, Convert(tc.in, tc.into), ErrType, tc.says...)
			})
		})
	}
	t.Run("a typed nil is not asked", func(t *testing.T) {
		t.Parallel()
		for _, v := range []any{(*badJSON)(nil), (*badJSONPtr)(nil), (*badText)(nil), (*badTextPtr)(nil), json.Marshaler((*badJSONPtr)(nil))} {
			for _, c := range codecs {
				var got any
				if err := Decode(mustEncode(t, c, []any{v}), &got); err != nil || fmt.Sprint(got) != "[<nil>]" {
					t.Errorf("%T: %v %v", v, got, err)
				}
			}
		}
		for _, v := range []any{zeroOfPtr{}, zeroOfAny{}, zeroOfAny{(*badZeroPtr)(nil)}, zeroOfAny{(*badZero)(nil)}} {
			if b := mustEncode(t, JSON, v); string(b) != "j{}" {
				t.Errorf("%#v: %s", v, b)
			}
		}
	})
	t.Run("a value that changes its mind", func(t *testing.T) {
		t.Parallel()
		calls := 0
		v := moody{&calls}
		if _, err := JSON.Encode(v); err != nil {
			t.Fatal(err)
		}
		_, err := JSON.Encode(v)
		wantErr(t, err, ErrInvalid, "codec.moody", "MarshalJSON panicked")
	})
	t.Run("the cause is found and not printed", func(t *testing.T) {
		t.Parallel()
		_, err := JSON.Encode(badJSON{})
		if !errors.Is(err, errPanicked) {
			t.Error(err)
		}
		if err := Decode([]byte("j1"), new(badReadJSON)); !errors.Is(err, errPanicked) {
			t.Error(err)
		}
		var at *time.ParseError
		err = Decode(mustEncode(t, Msgpack, "sesame"), new(time.Time))
		if !errors.As(err, &at) {
			t.Error(err)
		}
		wantNoContent(t, err)
		var syntax *json.SyntaxError
		if err = Decode([]byte(`jsesame`), new(any)); !errors.As(err, &syntax) {
			t.Error(err)
		}
	})
}

func TestOmitzeroAsksAnIsZeroWithAPointerReceiver(t *testing.T) {
	t.Parallel()
	type day struct {
		N big.Int    `json:"n,omitzero"` // has no IsZero
		A untilSeven `json:"a,omitzero"`
		B untilSeven `json:"b,omitzero"`
	}
	if b := mustEncode(t, JSON, day{A: untilSeven{6}, B: untilSeven{8}}); string(b) != `j{"b":{"N":8}}` {
		t.Errorf("%s", b)
	}
}

type untilSeven struct{ N int }

func (u *untilSeven) IsZero() bool { return u.N < 7 }

func TestNoErrorShowsContent(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c Codec) {
		for _, in := range []any{"sesame", 4711, 47.11, []byte("sesame"), []any{"sesame", 4711}, map[string]any{"sesame": 4711}, map[string]any{"4711": "sesame"}, time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), true, json.RawMessage(`{"$sesame":4711}`)} {
			for _, into := range []any{new(int8), new(bool), new(string), new([]byte), new([]int8), new([1]int8), new(map[string]int8), new(map[string]bool), new(map[int8]bool),
				new(map[netip.Addr]int), new(time.Time), new(netip.Addr), new(big.Int), new(json.Number), new(chan int), new(struct{ A int }), new([]*netip.Addr), new(map[string]netip.Addr)} {
				if err := Decode(mustEncode(t, c, in), into); err != nil {
					wantErr(t, err, ErrType)
					wantNoContent(t, err)
					if errors.Is(err, ErrInvalid) {
						t.Error("it blames the input:", err)
					}
					if in == true && strings.Contains(err.Error(), "true") {
						t.Error(err)
					}
				}
			}
		}
	})
	for _, b := range []string{
		"sesame", "jsesame", `j"sesame`, `j{"sesame":4711`, `j{"$sesame":4711}`, `j{"$bytes":"sesame!"}`, `j{"$time":"sesame"}`, `j{"$time":"1999"}`, `j"a"sesame`, "j4711 sesame",
		"j47.11.1", `j["sesame" 4711]`, "m\xa9sesame", "m\x01sesame", "m\xc1sesame", "m\xd4\x05sesame", "m\xc7\x05\xffsesame", "m\xd9\xffsesame", "m\xdfsesame", "m\xddsesame",
	} {
		err := Decode([]byte(b), new(any))
		wantErr(t, err, ErrCorrupt)
		wantNoContent(t, err)
		for _, part := range []string{"'s'", "0x73", "'4'"} { // single letters and bytes
			if strings.Contains(err.Error(), part) {
				t.Errorf("%q shows content", err)
			}
		}
	}
	for _, v := range []any{
		map[any]any{4711: 1, "4711": 2}, json.Number("sesame"), json.RawMessage("sesame"), json.RawMessage(`"sesame`), json.RawMessage("[47.11000000000000000000001]"),
		Encoded("sesame"), []any{Encoded("jsesame")}, "sesame\xff", map[string]any{"sesame\xff": 1}, time.Date(-1999, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		_, err := JSON.Encode(v)
		wantErr(t, err, ErrInvalid)
		wantNoContent(t, err)
		_, err = JSON.EncodeAny(v)
		wantErr(t, err, ErrInvalid)
		wantNoContent(t, err)
	}
	_, err := Msgpack.EncodeAny(uint64(1<<63 + 4711))
	wantErr(t, err, ErrInvalid)
	wantNoContent(t, err)
}
