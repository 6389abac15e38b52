package text

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestALineOfAParagraphCannotPassForAnother(t *testing.T) {
	t.Parallel()
	const s = "hi\r\n12:00:00  bot   you won\n\tend\x1b"
	if got, want := NewWriter(&bytes.Buffer{}, os.Getenv).Paragraph(s, 4), "hi\n    12:00:00  bot   you won\n        end\\x1b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Terminal(&bytes.Buffer{}, 20).Paragraph(s, 4), "hi\n    12:00:00  bot\n    you won\n        end\\x1b"; got != want {
		t.Errorf("on a narrow terminal: got %q, want %q", got, want)
	}
	if got, want := Terminal(&bytes.Buffer{}, 14).Paragraph("a large pizza and averylongword", 2), "a large\n  pizza and\n  averylongwor\n  d"; got != want {
		t.Errorf("words: got %q, want %q", got, want)
	}
	if got, want := Terminal(&bytes.Buffer{}, 14).Paragraph("日本語日本語", 4), "日本語日本\n    語"; got != want {
		t.Errorf("wide letters: got %q, want %q", got, want)
	}
}

func TestShortenKeepsBothEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"pizza/42", 8, "pizza/42"},
		{"pizza/1234567890", 9, "pizz…7890"},
		{"pizza/1234567890", 8, "pizz…890"},
		{"日本語日本語", 8, "日本…語"},
		{strings.Repeat("x", 512), 3, "x…x"},
		{"\x1b[31mfailed again\x1b[0m", 7, "\x1b[31mfai…ain\x1b[0m"},
	} {
		if got := Shorten(test.in, test.width); got != test.want || Width(got) > test.width {
			t.Errorf("Shorten(%q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}
