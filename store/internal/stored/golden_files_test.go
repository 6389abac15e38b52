package stored

// Stored bytes are kept in files, which must be read for ever. A file is a comment
// and lines of quoted texts; none is ever overwritten.

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files that are missing; none is ever overwritten")

const goldenDir = "testdata/golden"

// goldenLines returns the quoted texts of each line of the golden file of that name. If
// the file is missing, -update writes it from lines; without it the test fails.
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

// allRead fails for a golden file that is not in seen, and if there is none at all.
func allRead(t *testing.T, seen map[string]bool) {
	t.Helper()
	if *update {
		return // sub-tests that run later write what is missing
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
