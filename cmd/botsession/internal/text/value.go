package text

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// maxShown is how many bytes of one value are shown to people.
const maxShown = 1000

// Value shows a decoded value on one line: text in quotes, so that "1" is not
// taken for 1.
func Value(v any) string { return value(v, maxShown) }

// Whole is Value of all of a value, however long.
func Whole(v any) string { return value(v, math.MaxInt) }

func value(v any, most int) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return shorten(strconv.Quote(v), len(v), most)
	case []byte:
		return fmt.Sprintf("%s of bytes", humanize.IBytes(uint64(len(v))))
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	text, err := json.Marshal(JSONable(v))
	if err != nil {
		return Clean(fmt.Sprint(v))
	}
	return shorten(Clean(string(text)), len(text), most)
}

func shorten(s string, size, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%s; --json shows all)", s[:cut], humanize.IBytes(uint64(size)))
}

// Redacted stands in place of a text that is not to be shown.
func Redacted(size int) string { return fmt.Sprintf("(%s)", Count(size, "byte", "bytes")) }
