package stored

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
)

// element puts a moment before an encoded value, as the scripts do.
func element(at time.Time, b codec.Encoded) []byte {
	ms := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	return append(ms[2:], b...)
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		t.Run("every type and author comes back", func(t *testing.T) {
			for _, kind := range append(messageTypes[:], "question", "Frage?", session.MessageType(strings.Repeat("x", session.MaxLabel))) {
				for _, from := range []session.Author{session.FromUser, session.FromBot} {
					for _, metadata := range []map[string]any{nil, {"model": "m-1", "nested": map[string]any{"n": int64(1), "nil": nil}}} {
						want := session.Message{From: from, Type: kind, Content: map[string]any{"b": []byte{1}, "n": int64(1)}, Metadata: metadata}
						b, err := EncodeMessage(c, want)
						if err != nil {
							t.Fatal(err)
						}
						got, err := DecodeMessage(b)
						if err != nil || !cmp.Equal(want, got) {
							t.Error(err, cmp.Diff(want, got))
						}
					}
				}
			}
		})
		t.Run("an entry has its time, and no number", func(t *testing.T) {
			b, err := EncodeMessage(c, session.Message{Seq: 9, From: session.FromUser, Content: "hi", Time: time.Now(), Waiting: true})
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeEntry(element(instant, b))
			want := session.Message{From: session.FromUser, Type: session.Text, Content: "hi", Time: instant.Truncate(time.Millisecond)}
			if err != nil || !cmp.Equal(want, got) {
				t.Error(err, cmp.Diff(want, got))
			}
		})
		t.Run("a message that is none is refused", func(t *testing.T) {
			for says, m := range map[string]session.Message{
				"unknown author":    {From: "robot", Content: "hi"},
				`unknown author ""`: {Content: "hi"},
				"message type":      {From: session.FromBot, Type: "a\x00b", Content: "hi"},
				"the most is 512":   {From: session.FromBot, Type: session.MessageType(strings.Repeat("x", session.MaxLabel+1)), Content: "hi"},
				"func()":            {From: session.FromBot, Content: "hi", Metadata: map[string]any{"f": func() {}}},
				"over 64 bits":      {From: session.FromBot, Content: uint64(math.MaxUint64)},
				"chan int":          {From: session.FromBot, Content: make(chan int)},
			} {
				_, err := EncodeMessage(c, m)
				wantErr(t, err, session.ErrInvalid, says)
			}
		})
	})
}

func TestIntentRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		for name, want := range map[string]*session.Intent{
			"none":              nil,
			"without anything":  {},
			"without params":    {Name: "n", Score: 0.87, Sentence: "s"},
			"with no params":    {Name: "n", Score: 1, Params: []session.Param{}},
			"with three params": {Name: "n", Params: []session.Param{{Name: "a", Value: instant}, {}, {Name: "b", Info: map[string]any{"x": []any{1.0}}}}},
		} {
			b, err := EncodeIntent(c, want)
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := DecodeIntent(b)
			if err != nil || !cmp.Equal(want, got) {
				t.Error(name, err, cmp.Diff(want, got))
			}
		}
		_, err := EncodeIntent(c, &session.Intent{Params: []session.Param{{Value: func() {}}}})
		wantErr(t, err, session.ErrInvalid, "func()")
	})
}

func TestFileRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		for _, tc := range []struct{ in, want session.File }{
			{session.File{Name: "a", Type: "t", Size: 5}, session.File{Name: "a", Type: "t", Size: 5}},
			{session.File{Name: "a", Size: 5, Data: []byte("123")}, session.File{Name: "a", Size: 3}},
			{session.File{Name: "a", Size: 5, Data: []byte{}}, session.File{Name: "a"}},
		} {
			b, err := EncodeFile(c, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeFile(b)
			if err != nil || !cmp.Equal(&tc.want, got) {
				t.Error(err, cmp.Diff(&tc.want, got))
			}
		}
	})
}

type order struct {
	Count uint8 `json:"count"`
}

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		t.Run("everything of an event comes back", func(t *testing.T) {
			in := session.Event{
				ID: "u-1", Kind: "button", Text: "hi", File: &session.File{Name: "a", Type: "t", Data: []byte{0, 255}},
				Payload: order{3}, Platform: "telegram", User: "ada", Time: instant.In(time.FixedZone("", -3600)),
			}
			b, err := EncodeEvent(c, in)
			if err != nil {
				t.Fatal(err)
			}
			got, payload, err := DecodeEvent(b)
			want := in
			want.File = &session.File{Name: "a", Type: "t", Size: 2, Data: []byte{0, 255}}
			want.Payload, want.Time = map[string]any{"count": int64(3)}, instant
			if err != nil || !cmp.Equal(want, got) {
				t.Error(err, cmp.Diff(want, got))
			}
			var o order
			if err := codec.Decode(payload, &o); err != nil || o.Count != 3 {
				t.Error(o, err)
			}
		})
		t.Run("the least event comes back", func(t *testing.T) {
			b, err := EncodeEvent(c, session.Event{ID: "1", File: &session.File{}})
			if err != nil {
				t.Fatal(err)
			}
			got, payload, err := DecodeEvent(b)
			if want := (session.Event{ID: "1", File: &session.File{}}); err != nil || payload != nil || !cmp.Equal(want, got) {
				t.Error(err, payload, cmp.Diff(want, got))
			}
		})
		t.Run("an encoded payload stays in its codec", func(t *testing.T) {
			b, err := EncodeEvent(c, session.Event{ID: "1", Payload: codec.Encoded(`j{"count": 3}`)})
			if err != nil {
				t.Fatal(err)
			}
			got, payload, err := DecodeEvent(b)
			if err != nil || string(payload) != `j{"count": 3}` || !cmp.Equal(got.Payload, any(map[string]any{"count": int64(3)})) {
				t.Error(got, payload, err)
			}
		})
		t.Run("a payload that could not be read again is refused", func(t *testing.T) {
			for _, v := range []any{uint64(math.MaxUint64), codec.Encoded("j18446744073709551615"), codec.Encoded("j{"), make(chan int)} {
				_, err := EncodeEvent(c, session.Event{ID: "1", Payload: v})
				wantErr(t, err, session.ErrInvalid)
			}
		})
	})
}

// letter builds what dead.lua appends behind the time.
func letter(c codec.Codec, d session.DeadLetter) (codec.Encoded, error) {
	why, err := EncodeWhy(c, d)
	if err != nil {
		return nil, err
	}
	kind, head := "e", strings.Repeat("d", AcceptedHead-1)+"\x00"
	var body codec.Encoded
	if d.Event != nil {
		body, err = EncodeEvent(c, *d.Event)
	} else {
		body, err = EncodeMessage(c, *d.Reply)
		kind, head = "r", fmt.Sprintf("1758:%d:4:\x00u:1%s", d.Reply.Seq, element(d.Reply.Time, nil))
	}
	return codec.Encoded(fmt.Sprintf("%s%d:%s%s%s", kind, len(why), why, head, body)), err
}

func TestDeadLetterRoundTrip(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		at := instant.Truncate(time.Millisecond)
		event := session.DeadLetter{
			Event: &session.Event{ID: "1", File: &session.File{Name: "a", Size: 3, Data: []byte("123")}, Payload: "p"},
			Error: "no", Failures: 5, Crashes: 1, Time: at,
		}
		reply := session.DeadLetter{
			Reply: &session.Message{Seq: 7, From: session.FromBot, Type: session.HTML, Content: "<b>", Time: at}, Error: "no", Failures: 2, Time: at,
		}
		for _, want := range []session.DeadLetter{event, reply} {
			b, err := letter(c, want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeDeadLetter(element(at, b))
			if err != nil || !cmp.Equal(want, got) {
				t.Error(err, cmp.Diff(want, got))
			}
		}
		b, err := letter(c, event)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDeadLetter(element(at, b[:len(b)-1]))
		wantErr(t, err, session.ErrCorrupt)
		if got.Error != "no" || got.Failures != 5 {
			t.Errorf("of a letter whose event cannot be read is left %+v", got)
		}
	})
}

// Every row with one item replaced by something that cannot stand there, and
// every prefix of every row, is corrupt.
func TestCorruptRows(t *testing.T) {
	t.Parallel()
	param := []any{"city", "Rome", nil}
	file := []any{"a", "t", 1, []byte{1}}
	event := []any{"1", "k", "t", file, []byte("m\x01"), "p", "u", instant}
	rows := map[string]struct {
		row    []any
		free   []int // items that may be anything
		least  int   // items that must be there
		decode func([]byte) error
	}{
		"a message":      {[]any{0, "hi", map[string]any{}, "question"}, []int{1}, 2, func(b []byte) error { _, err := DecodeMessage(b); return err }},
		"an entry":       {[]any{0, "hi", nil, "question"}, []int{1}, 2, func(b []byte) error { _, err := DecodeEntry(element(instant, b)); return err }},
		"an intent":      {[]any{"n", 0.5, "s", []any{param}}, nil, 4, func(b []byte) error { _, err := DecodeIntent(b); return err }},
		"a file":         {[]any{"n", "t", 1}, nil, 3, func(b []byte) error { _, err := DecodeFile(b); return err }},
		"an event":       {event, nil, 8, func(b []byte) error { _, _, err := DecodeEvent(b); return err }},
		"why it is dead": {[]any{"no", 1, 0, "bot-1"}, nil, 4, func(b []byte) error { _, err := DecodeWhy(b); return err }},
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, c := range codecs {
				if err := tc.decode(mustEncode(t, c, append(tc.row[:len(tc.row):len(tc.row)], "of the future"))); err != nil {
					t.Error("a longer row is not read:", err)
				}
				for n := range tc.row {
					if err := tc.decode(mustEncode(t, c, tc.row[:n])); n < tc.least || err != nil {
						wantErr(t, err, session.ErrCorrupt)
					}
					if n >= tc.least && tc.decode(mustEncode(t, c, tc.row[:n])) != nil {
						t.Errorf("a row of %d items is not read", n)
					}
					bad := append([]any(nil), tc.row...)
					bad[n] = true
					if len(tc.free) > 0 && tc.free[0] == n {
						continue
					}
					wantErr(t, tc.decode(mustEncode(t, c, bad)), session.ErrCorrupt)
				}
				wantErr(t, tc.decode(mustEncode(t, c, "text")), session.ErrCorrupt)
			}
			wantErr(t, tc.decode(nil), session.ErrCorrupt)
			wantErr(t, tc.decode([]byte("m\xc1")), session.ErrCorrupt)
		})
	}
	for name, b := range map[string]error{
		"a kind beyond the types":         second(DecodeMessage([]byte("j[22,1]"))),
		"a type without a name":           second(DecodeMessage([]byte(`j[0,1,null,""]`))),
		"a type that no message can have": second(DecodeMessage([]byte(`j[0,1,null,"a\u0000b"]`))),
		"a kind below zero":               second(DecodeMessage([]byte("j[-1,1]"))),
		"content that no any can hold":    second(DecodeMessage([]byte("j[0,18446744073709551615]"))),
		"an entry that is cut":            second(DecodeEntry([]byte("12345"))),
		"an entry of a time only":         second(DecodeEntry([]byte("123456"))),
		"a dead letter that is cut":       second(DecodeDeadLetter([]byte("1"))),
		"a parameter that is no list":     second(DecodeIntent([]byte(`j["n",0.5,"s",[1]]`))),
		"a parameter without a name":      second(DecodeIntent([]byte(`j["n",0.5,"s",[[1,2,3]]]`))),
		"a file within that is too short": third(DecodeEvent([]byte(`j["1","","",["a"],null,"","",null]`))),
		"a payload that is no value":      third(DecodeEvent([]byte(`j["1","","",null,{"$bytes":"eA=="},"","",null]`))),
		"an event within that is short":   second(DecodeDeadLetter([]byte(`123456j[[1],null,"",0,0]`))),
		"a reply within that is short":    second(DecodeDeadLetter([]byte(`123456j[null,[1],"",0,0]`))),
		"a reply within without a number": second(DecodeDeadLetter([]byte(`123456j[null,[1,1,"x",null],"",0,0]`))),
		"a reply within of unknown kind":  second(DecodeDeadLetter([]byte(`123456j[null,[99,1,1,null],"",0,0]`))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantErr(t, b, session.ErrCorrupt)
		})
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestMessagesAreSmall(t *testing.T) {
	t.Parallel()
	b, err := EncodeMessage(codec.Msgpack, session.Message{From: session.FromBot, Content: strings.Repeat("x", 20)})
	if err != nil || len(b) != 24 {
		t.Errorf("%d bytes for 20 letters: %v", len(b), err)
	}
}
