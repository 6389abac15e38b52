package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// What users wrote is shown to operators, so none of it may reach their
// terminal as it is: an escape sequence in a message or in an id could move the
// cursor, change the title, or fake a line. clean escapes whatever does not
// print, as Go escapes it in strings. Line ends are escaped too.
func clean(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

func unprintable(r rune) bool {
	switch r {
	case '\u200c', '\u200d': // they join letters and emoji, and do no harm
		return false
	}
	return !unicode.IsGraphic(r)
}

// paragraph is clean for a text of several lines: its line ends stay, and each
// line but the first begins with the indent, so that none can pass for another
// message.
func paragraph(s, indent string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = clean(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n"+indent)
}

// maxShown is how many bytes of one value are shown to people.
const maxShown = 1000

// value shows a decoded value on one line: text in quotes, so that "1" is not
// taken for 1.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return shorten(strconv.Quote(v), len(v))
	case []byte:
		return fmt.Sprintf("%s of bytes", humanize.IBytes(uint64(len(v))))
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	text, err := json.Marshal(jsonable(v))
	if err != nil {
		return clean(fmt.Sprint(v))
	}
	return shorten(clean(string(text)), len(text))
}

func shorten(s string, size int) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%s; --json shows all)", s[:cut], humanize.IBytes(uint64(size)))
}

// writeJSON writes one object on one line. It holds no control characters
// either, whatever the object does.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeJSON(b.String()))
	return err
}

// escapeJSON escapes what JSON would let through: all of it stands in strings.
func escapeJSON(s string) string {
	if strings.IndexFunc(s[:len(s)-1], unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s[:len(s)-1] {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String() + "\n"
}

// jsonable replaces what a decoded value may hold and JSON cannot: numbers that
// are none become text.
func jsonable(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = jsonable(v[i])
		}
		return list
	case map[string]any:
		return jsonableMap(v)
	}
	return v
}

func jsonableMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = jsonable(v)
	}
	return out
}

// short is a duration in its two largest units: 3d4h, 5m12s, 8s.
func short(d time.Duration) string {
	d = d.Abs().Truncate(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		n := d / u.size
		if n == 0 && u.name != "s" {
			continue
		}
		text := fmt.Sprintf("%d%s", n, u.name)
		if i+1 < len(units) {
			if m := (d - n*u.size) / units[i+1].size; m > 0 {
				text += fmt.Sprintf("%d%s", m, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// count is a number with its noun: "1 reply", "1,204 replies".
func count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}

// The colours, as terminals know them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint colours a text for a terminal, and leaves it alone for anything else.
func paint(e *env, w io.Writer, colour, text string) string {
	if !colourful(e, w) {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// colourful reports whether w takes colours: a terminal whose user did not say
// otherwise (NO_COLOR).
func colourful(e *env, w io.Writer) bool {
	return e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb" && terminal(w)
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
