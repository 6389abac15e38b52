package text

import (
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Paragraph is [Clean] for a text of several lines, written behind indent columns:
// its line ends stay, and each line but the first begins with the indent, so that
// none can pass for another message. On a terminal that holds too for a line that
// is too long for it.
func (w *Writer) Paragraph(s string, indent int) string {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		line = Clean(strings.ReplaceAll(line, "\t", "    "))
		if width := w.width(); width > 0 {
			lines = append(lines, wrap(line, max(width-indent, minWidth))...)
		} else {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}

// minWidth is into how many columns a text is wrapped at least.
const minWidth = 10

// wrap cuts a line into parts that fit into a width, behind a space where the second
// half of a part has one, which goes.
func wrap(line string, width int) (parts []string) {
	for {
		end := fits(line, width)
		if end == len(line) {
			return append(parts, line)
		}
		if space := strings.LastIndexByte(line[:end], ' '); space > end/2 {
			end = space + 1
		}
		parts = append(parts, strings.TrimRight(line[:end], " "))
		line = line[end:]
	}
}

// fits returns how many bytes of a text fit into a width.
func fits(s string, width int) int {
	for i, r := range s {
		if width -= text.RuneWidth(r); width < 0 {
			return i
		}
	}
	return len(s)
}

// Shorten cuts from the middle of a text what does not fit into a width.
func Shorten(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	if strings.HasPrefix(s, "\x1b[") { // painted
		begin := strings.IndexByte(s, 'm') + 1
		return s[:begin] + Shorten(strings.TrimSuffix(s[begin:], unpaint), width) + unpaint
	}
	head := fits(s, width/2)
	tail := len(s)
	for room := width - 1 - Width(s[:head]); ; {
		r, size := utf8.DecodeLastRuneInString(s[:tail])
		if room -= text.RuneWidth(r); room < 0 {
			return s[:head] + "…" + s[tail:]
		}
		tail -= size
	}
}

// cutEnd cuts from the end of a text what does not fit into a width.
func cutEnd(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	return s[:fits(s, width-1)] + "…"
}

// Width returns how many columns of a terminal a text takes.
func Width(s string) int { return text.StringWidthWithoutEscSequences(s) }

// Pad fills a text with spaces up to a width.
func Pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-Width(s))) }
