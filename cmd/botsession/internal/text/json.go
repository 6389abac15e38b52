package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// WriteJSON writes one object on one line. It holds no control characters
// either, whatever the object does.
func WriteJSON(w io.Writer, v any) error {
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

// JSONable replaces what a decoded value may hold and JSON cannot: floats that
// are no number become text.
func JSONable(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = JSONable(v[i])
		}
		return list
	case map[string]any:
		return JSONableMap(v)
	}
	return v
}

// JSONableMap is [JSONable] of a map. It leaves nil as it is.
func JSONableMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = JSONable(v)
	}
	return out
}
