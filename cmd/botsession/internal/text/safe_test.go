package text

import (
	"testing"
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

func TestShellQuotesWhatAShellWouldRead(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"pizza/42": "pizza/42", "日本/é": "日本/é", "": "''", "a b": "'a b'", `pizza/"a\x1b"`: `'pizza/"a\x1b"'`,
		"it's": `'it'\''s'`, "$(x)": "'$(x)'", "~": "'~'", "a;b": "'a;b'",
	} {
		if got := Shell(word); got != want {
			t.Errorf("Shell(%q) = %s, want %s", word, got, want)
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
