package session

import (
	"errors"
	"strings"
	"testing"
)

func TestARefIsReadAsItIsPrinted(t *testing.T) {
	for id, text := range map[string]string{
		"42": "p/42", "a/b": "p/a/b", "{a}": "p/{a}", "ünï": "p/ünï", "🙂": "p/🙂",
		"a b": `p/"a b"`, `"q`: `p/"\"q"`, "\x00": `p/"\x00"`, "\xff": `p/"\xff"`, "\x1b[2J": `p/"\x1b[2J"`, "\u202e": `p/"\u202e"`,
	} {
		r := Ref{Bot: "p", ID: id}
		if got := r.String(); got != text {
			t.Errorf("%q prints as %s, want %s", id, got, text)
		}
		back, err := ParseRef(text)
		if err != nil || back != r {
			t.Errorf("%s reads as %+v, %v", text, back, err)
		}
	}
}

func TestABadRefIsRefusedAndSaysWhy(t *testing.T) {
	for text, why := range map[string]string{
		"": "want bot/id", "42": "want bot/id", "/42": "bot name is empty", "p/": "session id is empty",
		"p q/1": `' ' is not a letter`, "p*/1": `'*'`, `p/"open`: "quoted id", "p\x00/1": `'\x00'`,
		strings.Repeat("b", 65) + "/1": "65 bytes, the most is 64", "p/" + strings.Repeat("i", 513): "513 bytes, the most is 512",
	} {
		_, err := ParseRef(text)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want ErrInvalid with %q", text, err, why)
		}
	}
}

func FuzzRef(f *testing.F) {
	for _, seed := range []string{"p/42", `p/"a\x00"`, "p/a/b/c", `p/"`, "/", "p/{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRef(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		back, err := ParseRef(r.String())
		if err != nil || back != r {
			t.Errorf("%q is %+v, prints as %s and reads as %+v, %v", text, r, r, back, err)
		}
	})
}

func TestTheErrorsAreFoundInTheirTypes(t *testing.T) {
	ref := Ref{"p", "42"}
	if err := error(&StateError{ref, "a", "b"}); !errors.Is(err, ErrWrongState) || !strings.Contains(err.Error(), `is in "b", not in "a"`) {
		t.Error(err)
	}
	reason := errors.New("two bytes are missing")
	err := error(&CorruptError{ref, "d:size", reason})
	if !errors.Is(err, ErrCorrupt) || !errors.Is(err, reason) || !strings.Contains(err.Error(), `p/42: field "d:size"`) {
		t.Error(err)
	}
}
