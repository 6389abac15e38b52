package text

import (
	"os"
	"testing"
)

func TestColorsAreForTerminalsWhoseUserWantsThem(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		if os.Getenv("REQUIRE_REDIS") == "1" {
			t.Fatalf("no terminal to be had: %v", err)
		}
		t.Skipf("SKIPPED, colours are not tested (REQUIRE_REDIS=1 makes this a failure): no terminal to be had: %v", err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		name  string
		to    *os.File
		env   map[string]string
		want  string
		width int
	}{
		{"a terminal", terminal, nil, "\x1b[31mred\x1b[0m", 80},
		{"NO_COLOR", terminal, map[string]string{"NO_COLOR": "1"}, "red", 80},
		{"TERM=dumb", terminal, map[string]string{"TERM": "dumb"}, "red", 80},
		{"a file", file, nil, "red", 0},
	} {
		w := NewWriter(test.to, func(key string) string { return test.env[key] })
		if got := w.Paint(Red, "red"); got != test.want || w.width() != test.width {
			t.Errorf("%s: %q in %d columns, want %q in %d", test.name, got, w.width(), test.want, test.width)
		}
	}
}
