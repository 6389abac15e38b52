package demo

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// A tail keeps the last of what a replica logs, and may pass all of it on.
type tail struct {
	prefix  string
	through io.Writer // nil: nothing is passed on

	mu   sync.Mutex
	kept []byte
	line []byte // what was logged since the last end of line, if it is passed on
}

// tailSize is how many bytes are kept.
const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = slices.Delete(t.kept, 0, over)
	}
	if t.through == nil {
		return len(p), nil
	}
	t.line = append(t.line, p...)
	for {
		line, rest, whole := bytes.Cut(t.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		fmt.Fprintf(t.through, "%s%s\n", t.prefix, text.Clean(string(line)))
		t.line = rest
	}
}

// last returns the last thing that was logged, on one line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	if n := len(lines); n > 1 && strings.HasPrefix(lines[n-1], "hint:") {
		lines = lines[:n-1]
	}
	last := strings.TrimPrefix(lines[len(lines)-1], "error: ")
	if last == "" {
		return "it said nothing"
	}
	return last
}
