package codec

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files that are missing; none is ever overwritten")

// A golden is one kind of stored value: how it is written, how it is read, and
// what must be read for ever.
type golden struct {
	write func(Codec) (Encoded, error)
	read  func([]byte) (any, error)
	want  any
}

// asAny fits a function that reads one kind of value.
func asAny[T any](read func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return read(b) }
}

func value(v, want any) golden {
	return golden{
		write: func(c Codec) (Encoded, error) { return c.Encode(v) },
		read:  func(b []byte) (v any, err error) { err = Decode(b, &v); return v, err },
		want:  want,
	}
}

// withTime puts the moment before what a function writes.
func withTime(write func(Codec) (Encoded, error)) func(Codec) (Encoded, error) {
	return func(c Codec) (Encoded, error) {
		b, err := write(c)
		return element(instant, b), err
	}
}

func goldens() map[string]golden {
	at := instant.Truncate(time.Millisecond)
	bot := session.Message{From: session.FromBot, Type: session.Options, Content: []any{"yes", "no"}}
	bytes := session.Message{From: session.FromUser, Type: session.Image, Content: []byte{0x89, 'P', 'N', 'G'}}
	entry, reply := bot, bot
	entry.Time = at
	reply.Seq, reply.Time = 12, at
	file := &session.File{Name: "map.png", Type: "image/png", Size: 3, Data: []byte{1, 2, 3}}
	event := session.Event{
		ID: "u-981", Kind: "button", Text: "hi", File: file, Payload: map[string]any{"order": int64(7)},
		Platform: "telegram", User: "ada", Time: instant,
	}
	bare := event
	bare.File = &session.File{Name: file.Name, Type: file.Type, Size: 3}
	message := func(m session.Message) func(Codec) (Encoded, error) {
		return func(c Codec) (Encoded, error) { return c.EncodeMessage(m) }
	}
	deadLetter := func(d session.DeadLetter) golden {
		return golden{withTime(func(c Codec) (Encoded, error) { return letter(c, d) }), asAny(DecodeDeadLetter), d}
	}
	readEvent := func(b []byte) (any, error) { e, _, err := DecodeEvent(b); return e, err }

	all := map[string]golden{
		"nil":           value(nil, nil),
		"bool":          value(true, true),
		"integers":      value([]int64{0, -1, 200, -200, 1 << 40, -1 << 40}, []any{int64(0), int64(-1), int64(200), int64(-200), int64(1 << 40), int64(-1 << 40)}),
		"floats":        value([]float64{0.5, 0.1, 3, 1e300}, []any{0.5, 0.1, 3.0, 1e300}),
		"string":        value("perché no?", "perché no?"),
		"bytes":         value([]byte{0, 255, 'x'}, []byte{0, 255, 'x'}),
		"time":          value(instant, instant),
		"time-early":    value(time.Time{}, time.Time{}),
		"map":           value(map[string]any{"a": []any{nil, "b"}, "$c": instant}, map[string]any{"a": []any{nil, "b"}, "$c": instant}),
		"struct":        value(Inner{Count: 3}, map[string]any{"count": int64(3), "Shade": nil}),
		"message":       {message(bot), asAny(DecodeMessage), bot},
		"message-bytes": {message(bytes), asAny(DecodeMessage), bytes},
		"entry":         {withTime(message(bot)), asAny(DecodeEntry), entry},
		"intent":        {func(c Codec) (Encoded, error) { return c.EncodeIntent(someIntent()) }, asAny(DecodeIntent), someIntent()},
		"intent-nil":    {func(c Codec) (Encoded, error) { return c.EncodeIntent(nil) }, asAny(DecodeIntent), (*session.Intent)(nil)},
		"file":          {func(c Codec) (Encoded, error) { return c.EncodeFile(*file) }, asAny(DecodeFile), bare.File},
		"event":         {func(c Codec) (Encoded, error) { return c.EncodeEvent(event) }, readEvent, event},
		"event-least":   {func(c Codec) (Encoded, error) { return c.EncodeEvent(session.Event{ID: "1"}) }, readEvent, session.Event{ID: "1"}},
		"dead-event":    deadLetter(session.DeadLetter{Event: &bare, Error: "no", Failures: 5, Crashes: 1, Time: at}),
		"dead-reply":    deadLetter(session.DeadLetter{Reply: &reply, Error: "no", Failures: 2, Time: at}),
	}
	for i, kind := range session.MessageTypes {
		m := session.Message{From: session.FromUser, Type: kind, Content: int64(i)}
		all["message-"+string(kind)] = golden{message(m), asAny(DecodeMessage), m}
	}
	return all
}

const goldenDir = "testdata/golden"

func TestGoldenValues(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for name, g := range goldens() {
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
	if *update {
		return // the sub-tests, which wait for this function, write what is missing
	}
	files, err := filepath.Glob(goldenDir + "/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files in %s: %v", goldenDir, err)
	}
	for _, path := range files {
		if !seen[filepath.Base(path)] {
			t.Errorf("%s is read by no test", path)
		}
	}
}

// goldenLines returns the quoted texts of each line of a golden file. Where the
// file is missing it is written, with -update, or the test fails.
func goldenLines(t *testing.T, file, comment string, lines [][]string) [][]string {
	t.Helper()
	path := filepath.Join(goldenDir, file)
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		text = []byte("# " + comment + "\n")
		for _, line := range lines {
			for i, s := range line {
				line[i] = quote(s)
			}
			text = fmt.Appendln(text, strings.Join(line, " "))
		}
		if err = os.MkdirAll(goldenDir, 0o755); err == nil {
			err = os.WriteFile(path, text, 0o644)
		}
	}
	if err != nil {
		t.Fatalf("%v: with -update it is written", err)
	}
	lines = nil
	for text := range strings.Lines(string(text)) {
		if strings.HasPrefix(text, "#") {
			continue
		}
		var line []string
		for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%s: %q: %v", path, rest, err)
			}
			s, _ := strconv.Unquote(quoted)
			line, rest = append(line, s), rest[len(quoted):]
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		t.Fatalf("%s holds no value", path)
	}
	return lines
}

// quote keeps JSON readable, and shows each byte of anything else.
func quote(s string) string {
	if strings.HasPrefix(s, "j") && strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	var quoted []byte
	for _, c := range []byte(s) {
		switch {
		case c == '"', c == '\\':
			quoted = append(quoted, '\\', c)
		case c < ' ', c > '~':
			quoted = fmt.Appendf(quoted, `\x%02x`, c)
		default:
			quoted = append(quoted, c)
		}
	}
	return `"` + string(quoted) + `"`
}
