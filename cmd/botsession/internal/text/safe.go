package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean escapes whatever does not print, as Go escapes it in strings, line ends
// too. What users wrote is shown to operators: an escape sequence in a message or
// in an id could move the cursor, change the title, or fake a line.
func Clean(s string) string {
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

// Shell quotes a word for a shell, where it needs to be.
func Shell(word string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("/._-:@%+=,", r) || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Address returns the part of a Redis URL that can be shown: no user, no password,
// no options.
func Address(url string) string {
	scheme, rest, found := strings.Cut(url, "://")
	if !found {
		return "(not a URL)"
	}
	rest, _, _ = strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + rest
}
