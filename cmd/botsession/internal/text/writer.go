// Package text writes for people and for their tools: safely, whatever users
// wrote, and for the terminal that there is.
package text

import (
	"io"
	"os"

	"golang.org/x/term"
)

// A Writer is a stream that somebody reads, on a terminal or not.
type Writer struct {
	io.Writer
	color bool // whether Paint paints
	live  bool // whether a line can be drawn anew
}

// NewWriter returns a Writer that knows what w is, and what its user wants:
// colors on a terminal, unless NO_COLOR is set or TERM is dumb.
func NewWriter(w io.Writer, getenv func(string) string) *Writer {
	f, ok := w.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd())) && getenv("TERM") != "dumb"
	return &Writer{Writer: w, color: live && getenv("NO_COLOR") == "", live: live}
}

// width returns the columns of the terminal, 80 where they are not known.
func (w *Writer) width() int {
	if f, ok := w.Writer.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return width
		}
	}
	return 80
}

// A Color is a color or a weight of letters, as terminals know it.
type Color string

// The colors.
const (
	Bold   Color = "1"
	Dim    Color = "2"
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
	Cyan   Color = "36"
)

// Paint colors a text for a terminal, and leaves it alone for anything else.
func (w *Writer) Paint(c Color, text string) string {
	if !w.color {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
