package codec

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What JSON has no form for is an object with one of these keys. A map's own
// keys that begin with "$" are written with a second one.
const (
	bytesKey = "$bytes" // standard base64
	timeKey  = "$time"  // RFC 3339 with nanoseconds, UTC
)

// A jsonWriter writes JSON, with the methods of a msgpack.Encoder. Plain JSON, for types that read it themselves, has
// bytes as base64 and times as RFC 3339 text, and doubles no "$".
type jsonWriter struct {
	buf   []byte
	plain bool
}

func (w *jsonWriter) keep(buf []byte) error {
	w.buf = buf
	return nil
}

func (w *jsonWriter) bytes() []byte             { return w.buf }
func (w *jsonWriter) EncodeNil() error          { return w.keep(append(w.buf, "null"...)) }
func (w *jsonWriter) EncodeBool(v bool) error   { return w.keep(strconv.AppendBool(w.buf, v)) }
func (w *jsonWriter) EncodeInt(v int64) error   { return w.keep(strconv.AppendInt(w.buf, v, 10)) }
func (w *jsonWriter) EncodeUint(v uint64) error { return w.keep(strconv.AppendUint(w.buf, v, 10)) }

// EncodeFloat64 writes a number that reads as a float again: with a point or an exponent.
func (w *jsonWriter) EncodeFloat64(v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return invalid("JSON has no form for NaN and the infinities")
	}
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	start := len(w.buf)
	w.buf = strconv.AppendFloat(w.buf, v, format, -1, 64)
	if !bytes.ContainsAny(w.buf[start:], ".e") {
		w.buf = append(w.buf, ".0"...)
	}
	return nil
}

func (w *jsonWriter) EncodeString(v string) error {
	if !utf8.ValidString(v) {
		return invalid("JSON has no form for a string that is not UTF-8: use a []byte")
	}
	w.buf = append(w.buf, '"')
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"', c == '\\':
			w.buf = append(w.buf, '\\', c)
		case c == '\n':
			w.buf = append(w.buf, `\n`...)
		case c < ' ':
			const hex = "0123456789abcdef"
			w.buf = append(w.buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			w.buf = append(w.buf, c)
		}
	}
	w.buf = append(w.buf, '"')
	return nil
}

func (w *jsonWriter) EncodeBytes(v []byte) error {
	return w.special(bytesKey, func(b []byte) []byte { return base64.StdEncoding.AppendEncode(b, v) })
}

func (w *jsonWriter) EncodeTime(v time.Time) error {
	v = v.UTC()
	if !hasRFC3339(v) {
		return invalid("JSON has no form for a time outside the years 0 to 9999")
	}
	return w.special(timeKey, func(b []byte) []byte { return v.AppendFormat(b, time.RFC3339Nano) })
}

func hasRFC3339(t time.Time) bool { return t.Year() >= 0 && t.Year() <= 9999 }

func (w *jsonWriter) special(key string, value func([]byte) []byte) error {
	if !w.plain {
		w.buf = append(w.buf, `{"`+key+`":`...)
	}
	w.buf = append(value(append(w.buf, '"')), '"')
	if !w.plain {
		w.buf = append(w.buf, '}')
	}
	return nil
}

func (w *jsonWriter) EncodeArrayLen(int) error { return w.keep(append(w.buf, '[')) }
func (w *jsonWriter) EncodeMapLen(int) error   { return w.keep(append(w.buf, '{')) }
func (w *jsonWriter) end(bracket byte)         { w.buf = append(w.buf, bracket) }

func (w *jsonWriter) item(i int) {
	if i > 0 {
		w.buf = append(w.buf, ',')
	}
}

func (w *jsonWriter) key(i int, name string) error {
	w.item(i)
	if !w.plain && strings.HasPrefix(name, "$") {
		name = "$" + name
	}
	err := w.EncodeString(name)
	w.buf = append(w.buf, ':')
	return err
}
