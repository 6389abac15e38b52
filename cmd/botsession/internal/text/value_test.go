package text

import (
	"math"
	"strings"
	"testing"
	"time"
)

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
