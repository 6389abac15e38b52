package text

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// A Screen is text that is shown again and again, as what it tells of changes: on a
// terminal in one place, else one below the other.
type Screen struct {
	out  *Writer
	last string
	open bool
}

// NewScreen returns a Screen that is shown on w.
func NewScreen(w *Writer) *Screen { return &Screen{out: w} }

// The codes of a terminal: a page of its own, and back to the one before.
const (
	ownPage  = "\x1b[?1049h\x1b[?25l\x1b[?7l" // without a cursor, and with lines cut at the edge
	lastPage = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// Show shows a text of whole lines in place of the one before. On a terminal what is
// below its last line is cut off.
func (s *Screen) Show(text string) {
	switch {
	case !s.out.live && s.last != "":
		fmt.Fprintf(s.out, "\n%s", text)
	case !s.out.live:
		fmt.Fprint(s.out, text)
	default:
		page := ""
		if !s.open {
			page, s.open = ownPage, true
		}
		page += "\x1b[H"
		for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			if height := s.out.height(); height > 0 && i >= height {
				break
			}
			if i > 0 {
				page += "\r\n"
			}
			page += line + "\x1b[K"
		}
		fmt.Fprint(s.out, page+"\x1b[J")
	}
	s.last = text
}

// Close gives the terminal back, with the last text on it.
func (s *Screen) Close() {
	if s.open {
		s.open = false
		fmt.Fprint(s.out, lastPage+s.last)
	}
}

// height returns the lines of the terminal; 0 if they are not known.
func (w *Writer) height() int {
	if f, ok := w.Writer.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil {
			return height
		}
	}
	return 0
}

// To returns a Writer like w that writes to a buffer, as wide and as colorful.
func (w *Writer) To(b *strings.Builder) *Writer {
	return &Writer{Writer: b, terminal: w.terminal, color: w.color, columns: w.width()}
}
