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
	terminal bool // whether lines that are too long are wrapped by the reader
	live     bool // whether a line can be drawn anew
	color    bool // whether Paint paints
	columns  int  // of the terminal; 0: as the terminal says
}

// NewWriter returns a Writer that finds out what w is, and what its user wants:
// colors on a terminal, unless NO_COLOR is set or TERM is dumb.
func NewWriter(w io.Writer, getenv func(string) string) *Writer {
	terminal := OnTerminal(w)
	live := terminal && getenv("TERM") != "dumb"
	return &Writer{Writer: w, terminal: terminal, live: live, color: live && getenv("NO_COLOR") == ""}
}

// OnTerminal tells whether a stream is a terminal.
func OnTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Terminal returns a Writer that takes w for a terminal without colors, with so
// many columns. It is for tests.
func Terminal(w io.Writer, columns int) *Writer {
	return &Writer{Writer: w, terminal: true, columns: columns}
}

// width returns the columns of the terminal. What is no terminal has none: 0.
func (w *Writer) width() int {
	if !w.terminal || w.columns > 0 {
		return w.columns
	}
	if f, ok := w.Writer.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
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
	if !w.color || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + unpaint
}

const unpaint = "\x1b[0m"
