package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// parseJSON reads one JSON value and nothing behind it. Plain JSON is what a
// type's MarshalJSON wrote: its keys that begin with "$" mean nothing special, and
// its numbers are left as they are.
func parseJSON(b []byte, plain bool) (v any, wide bool, err error) {
	if !utf8.Valid(b) {
		return nil, false, corrupt("JSON that is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, false, corrupt("%w", &refusal{whereJSON(err), err})
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false, corrupt("bytes behind the value")
	}
	r := jsonReader{plain: plain}
	v, err = r.value(v, 0)
	return v, r.wide, err
}

// whereJSON says where a text stops being JSON. The error's own text shows some of it.
func whereJSON(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("no JSON from byte %d on", syntax.Offset)
	}
	return "JSON that ends too early"
}

// A jsonReader turns what encoding/json made of a text into canonical values,
// in place.
type jsonReader struct {
	plain bool
	wide  bool // a number was met that neither an int64 nor a float64 can hold
}

func (r *jsonReader) value(v any, depth int) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if r.plain {
			return v, nil // shape looks whether it can be kept
		}
		n := number(v)
		switch n.(type) {
		case uint64, json.Number:
			r.wide = true
		}
		return n, nil
	case []any:
		if depth >= maxDepth {
			break
		}
		for i := range v {
			var err error
			if v[i], err = r.value(v[i], depth+1); err != nil {
				return nil, err
			}
		}
		return v, nil
	case map[string]any:
		if special, ok, err := r.special(v); ok || err != nil {
			return special, err
		}
		if depth >= maxDepth {
			break
		}
		return r.object(v, depth)
	default:
		return v, nil
	}
	return nil, corrupt("more than %d lists and maps within each other", maxDepth)
}

// number reads a literal: without a point or an exponent it is an integer. One
// that is beyond 64 bits or a float64's range stays as it is.
func number(n json.Number) any {
	if strings.ContainsAny(string(n), ".eE") {
		if f, err := strconv.ParseFloat(string(n), 64); err == nil {
			return f
		}
		return n
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return u
	}
	return n
}

func (r *jsonReader) object(v map[string]any, depth int) (any, error) {
	escaped := false
	for name, value := range v {
		value, err := r.value(value, depth+1)
		if err != nil {
			return nil, err
		}
		v[name] = value
		escaped = escaped || strings.HasPrefix(name, "$")
	}
	if r.plain || !escaped {
		return v, nil
	}
	clean := make(map[string]any, len(v))
	for name, value := range v {
		if strings.HasPrefix(name, "$") {
			if !strings.HasPrefix(name, "$$") {
				return nil, corrupt("an object with an unknown key that begins with $")
			}
			name = name[1:]
		}
		clean[name] = value
	}
	return clean, nil
}

// special reads the objects that stand for bytes and times.
func (r *jsonReader) special(v map[string]any) (any, bool, error) {
	if r.plain || len(v) != 1 {
		return nil, false, nil
	}
	if text, ok := v[bytesKey].(string); ok {
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, true, corrupt("%s: it is no base64", bytesKey)
		}
		return b, true, nil
	}
	if text, ok := v[timeKey].(string); ok {
		t, err := time.Parse(time.RFC3339Nano, text)
		if t = t.UTC(); err != nil || !hasRFC3339(t) {
			return nil, true, corrupt("%s: it is no time of the years 0 to 9999", timeKey)
		}
		return t, true, nil
	}
	return nil, false, nil
}
