package text

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// hostile is what a user could send to an operator's terminal: colours, a
// title, a cursor that moves up, C1 controls, a text that runs backwards.
const hostile = "a\x1b[2Jb\x1b]0;owned\x07c\rd\u009b31me\u202ef\x7fg\xffh"

func TestCleanLetsNoControlThrough(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"plain", "plain"},
		{"Åse 🍕 日本 né", "Åse 🍕 日本 né"},
		{"👩\u200d🚀", "👩\u200d🚀"},
		{"two\nlines", `two\nlines`},
		{hostile, `a\x1b[2Jb\x1b]0;owned\ac\rd\u009b31me\u202ef\x7fg\xffh`},
		{`it's`, `it's`},
	} {
		if got := Clean(test.in); got != test.want {
			t.Errorf("Clean(%q) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestALineOfAParagraphCannotPassForAnother(t *testing.T) {
	t.Parallel()
	got := Paragraph("hi\r\n12:00:00  bot   you won\n\tend\x1b", "    ")
	if want := "hi\n    12:00:00  bot   you won\n        end\\x1b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJSONHoldsNoControls(t *testing.T) {
	t.Parallel()
	in := map[string]any{"text": strings.TrimSuffix(hostile, "g\xffh") + "<&>\U000e0001é", "list": []any{math.NaN(), math.Inf(-1), 1.5}}
	var out bytes.Buffer
	if err := WriteJSON(&out, JSONableMap(in)); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(out.String(), "\n")
	if Clean(line) != line {
		t.Errorf("printed %q", line)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(line), &back); err != nil {
		t.Fatal(err)
	}
	if back["text"] != in["text"] {
		t.Errorf("read back %q, want %q", back["text"], in["text"])
	}
	if list := back["list"].([]any); list[0] != "NaN" || list[1] != "-Inf" || list[2] != 1.5 {
		t.Errorf("read back %v", list)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   any
		want string
	}{
		{nil, "nil"},
		{"1", `"1"`},
		{"a\x1b[31m", `"a\x1b[31m"`},
		{int64(1), "1"},
		{1.0, "1"},
		{1e21, "1e+21"},
		{true, "true"},
		{[]byte{1, 2, 3}, "3 B of bytes"},
		{[]any{"a", int64(2), math.NaN()}, `["a",2,"NaN"]`},
		{map[string]any{"b": "\u009b", "a": nil}, `{"a":null,"b":"\u009b"}`},
		{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02T03:04:05Z"},
		{strings.Repeat("é", 600), `"` + strings.Repeat("é", 499) + "… (1.2 KiB; --json shows all)"},
	} {
		if got := Value(test.in); got != test.want {
			t.Errorf("Value(%v) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 900 * time.Millisecond, "1s": time.Second, "59s": 59 * time.Second, "1m": time.Minute, "5m12s": 312 * time.Second,
		"2h": 2*time.Hour + 59*time.Second, "2h1m": 2*time.Hour + time.Minute, "3d4h": 76*time.Hour + 59*time.Minute, "30d": 720 * time.Hour,
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]int{"0 replies": 0, "1 reply": 1, "1,204 replies": 1204} {
		if got := Count(n, "reply", "replies"); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestAddressShowsNoPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://127.0.0.1:6379":                               "redis://127.0.0.1:6379",
		"rediss://ann:s3cret@host:1/2?password=s3cret":         "rediss://host:1/2",
		"redis://:p@ss@host":                                   "redis://host",
		"redis+cluster://u:s3cret@a:1,b:2":                     "redis+cluster://a:1,b:2",
		"redis+sentinel://user:s3cret@a:1,b:2/main/0?x=s3cret": "redis+sentinel://a:1,b:2/main/0",
		"s3cret": "(not a URL)",
	} {
		if got := Address(url); got != want {
			t.Errorf("Address(%q) = %q, want %q", url, got, want)
		}
	}
}
