package stored

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
)

// A form is one kind of stored value: how it is written, how it is read, and
// what must be read for ever.
type form struct {
	write func(codec.Codec) (codec.Encoded, error)
	read  func([]byte) (any, error)
	want  any
}

// asAny fits a function that reads one kind of value.
func asAny[T any](read func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return read(b) }
}

// withTime puts the moment before what a function writes.
func withTime(write func(codec.Codec) (codec.Encoded, error)) func(codec.Codec) (codec.Encoded, error) {
	return func(c codec.Codec) (codec.Encoded, error) {
		b, err := write(c)
		return element(instant, b), err
	}
}

func forms() map[string]form {
	at := instant.Truncate(time.Millisecond)
	bot := session.Message{From: session.FromBot, Type: session.Choices, Content: []any{"yes", "no"}}
	bytes := session.Message{From: session.FromUser, Type: session.Image, Content: []byte{0x89, 'P', 'N', 'G'}}
	entry, reply := bot, bot
	rich, own := bot, bot
	rich.Metadata = map[string]any{"model": "m-1", "tokens": int64(12)}
	own.Type = "question"
	whole := own
	whole.Metadata = rich.Metadata
	entry.Time = at
	reply.Seq, reply.Time = 12, at
	file := &session.File{Name: "map.png", Type: "image/png", Size: 3, Data: []byte{1, 2, 3}}
	event := session.Event{
		ID: "u-981", Kind: "button", Text: "hi", File: file, Payload: map[string]any{"order": int64(7)},
		Platform: "telegram", User: "ada", Time: instant,
	}
	bare := event
	bare.File = &session.File{Name: file.Name, Type: file.Type, Size: 3}
	message := func(m session.Message) func(codec.Codec) (codec.Encoded, error) {
		return func(c codec.Codec) (codec.Encoded, error) { return EncodeMessage(c, m) }
	}
	deadLetter := func(d session.DeadLetter) form {
		return form{withTime(func(c codec.Codec) (codec.Encoded, error) { return letter(c, d) }), asAny(DecodeDeadLetter), d}
	}
	readEvent := func(b []byte) (any, error) { e, _, err := DecodeEvent(b); return e, err }

	value := func(v, want any) form {
		return form{func(c codec.Codec) (codec.Encoded, error) { return c.Encode(v) },
			func(b []byte) (v any, err error) { err = codec.Decode(b, &v); return v, err }, want}
	}
	type shaded struct {
		Count int8 `json:"count"`
		Shade *string
	}

	all := map[string]form{
		"nil":        value(nil, nil),
		"bool":       value(true, true),
		"integers":   value([]int64{0, -1, 200, -200, 1 << 40, -1 << 40}, []any{int64(0), int64(-1), int64(200), int64(-200), int64(1 << 40), int64(-1 << 40)}),
		"floats":     value([]float64{0.5, 0.1, 3, 1e300}, []any{0.5, 0.1, 3.0, 1e300}),
		"string":     value("perché no?", "perché no?"),
		"bytes":      value([]byte{0, 255, 'x'}, []byte{0, 255, 'x'}),
		"time":       value(instant, instant),
		"time-early": value(time.Time{}, time.Time{}),
		"map":        value(map[string]any{"a": []any{nil, "b"}, "$c": instant}, map[string]any{"a": []any{nil, "b"}, "$c": instant}),
		"struct":     value(shaded{Count: 3}, map[string]any{"count": int64(3), "Shade": nil}),

		"message":       {message(bot), asAny(DecodeMessage), bot},
		"message-bytes": {message(bytes), asAny(DecodeMessage), bytes},
		"entry":         {withTime(message(bot)), asAny(DecodeEntry), entry},
		"intent":        {func(c codec.Codec) (codec.Encoded, error) { return EncodeIntent(c, someIntent()) }, asAny(DecodeIntent), someIntent()},
		"intent-nil":    {func(c codec.Codec) (codec.Encoded, error) { return EncodeIntent(c, nil) }, asAny(DecodeIntent), (*session.Intent)(nil)},
		"file":          {func(c codec.Codec) (codec.Encoded, error) { return EncodeFile(c, *file) }, asAny(DecodeFile), bare.File},
		"event":         {func(c codec.Codec) (codec.Encoded, error) { return EncodeEvent(c, event) }, readEvent, event},
		"event-least":   {func(c codec.Codec) (codec.Encoded, error) { return EncodeEvent(c, session.Event{ID: "1"}) }, readEvent, session.Event{ID: "1"}},
		"dead-event":    deadLetter(session.DeadLetter{Event: &bare, Error: "no", Failures: 5, Crashes: 1, Time: at}),
		"dead-reply":    deadLetter(session.DeadLetter{Reply: &reply, Error: "no", Failures: 2, Time: at}),
	}
	all["message-metadata"] = form{message(rich), asAny(DecodeMessage), rich}
	all["message-own-type"] = form{message(own), asAny(DecodeMessage), own}
	all["message-own-type-metadata"] = form{message(whole), asAny(DecodeMessage), whole}
	for i, kind := range messageTypes {
		m := session.Message{From: session.FromUser, Type: kind, Content: int64(i)}
		all["message-"+string(kind)] = form{message(m), asAny(DecodeMessage), m}
	}
	return all
}

func TestGoldenValues(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{linesGolden: true}
	for name, g := range forms() {
		for _, c := range codecs {
			file := c.String() + "-" + name + ".golden"
			seen[file] = true
			t.Run(file+" is read for ever", func(t *testing.T) {
				t.Parallel()
				b, err := g.write(c)
				if err != nil {
					t.Fatal(err)
				}
				lines := goldenLines(t, file, "One value: "+name+", written with "+c.String()+".", [][]string{{string(b)}})
				got, err := g.read([]byte(lines[0][0]))
				if diff := cmp.Diff(g.want, got); err != nil || diff != "" {
					t.Error(err, diff)
				}
			})
		}
	}
	for _, c := range codecs {
		file := c.String() + "-hash.golden"
		seen[file] = true
		t.Run(file+" is read for ever", func(t *testing.T) {
			t.Parallel()
			fields := wholeHash(t, c)
			var lines [][]string
			for _, field := range slices.Sorted(maps.Keys(fields)) {
				lines = append(lines, []string{field, fields[field]})
			}
			lines = goldenLines(t, file, "A session's hash, field and value, written with "+c.String()+".", lines)
			r, err := ReadRecord(someRef, slices.Concat(lines...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Snapshot()
			if diff := cmp.Diff(wholeSnapshot(), got); err != nil || diff != "" {
				t.Error(err, diff)
			}
			if diff := cmp.Diff(wholeStatus(), r.Status()); diff != "" || r.Turns() != 6 {
				t.Error(diff, r.Turns())
			}
		})
	}
	allRead(t, seen)
}
