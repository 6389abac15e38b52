package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
)

// A filler puts canonical values into Go values.
type filler struct {
	codec Codec // that the value was read from
	wide  bool  // there may be numbers that an any cannot hold
}

// fill sets a zero Go value to what was stored. A stored nil leaves it zero.
func (f filler) fill(to reflect.Value, v any) *misfit {
	for hops := 0; ; hops++ {
		if v == nil {
			return nil
		}
		if done, bad := f.unmarshal(to, v); done || bad != nil {
			return bad
		}
		if to.Kind() != reflect.Pointer {
			return f.fillKind(to, v)
		}
		if hops == maxDepth {
			return newMisfit(v, to, "the type is a pointer to itself")
		}
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
}

func (f filler) fillKind(to reflect.Value, v any) *misfit {
	switch to.Kind() {
	case reflect.Interface:
		return f.fillAny(to, v)
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			to.SetBool(b)
			return nil
		}
	case reflect.String:
		return f.fillString(to, v)
	case reflect.Slice:
		return f.fillSlice(to, v)
	case reflect.Array:
		return f.fillArray(to, v)
	case reflect.Map:
		return f.fillMap(to, v)
	case reflect.Struct:
		return f.fillStruct(to, v)
	default:
		return fillNumber(to, v)
	}
	return newMisfit(v, to, "")
}

func (f filler) fillAny(to reflect.Value, v any) *misfit {
	if to.NumMethod() > 0 {
		return newMisfit(v, to, "only an empty interface can be filled")
	}
	if f.wide {
		if bad := findWide(v, to); bad != nil {
			return bad
		}
	}
	to.Set(reflect.ValueOf(v))
	return nil
}

// findWide looks for a number that an any cannot hold.
func findWide(v any, to reflect.Value) *misfit {
	switch v := v.(type) {
	case uint64, json.Number:
		return newMisfit(v, to, "it takes an int64 or a float64")
	case []any:
		for i, item := range v {
			if bad := findWide(item, to); bad != nil {
				return bad.atIndex(i)
			}
		}
	case map[string]any:
		for _, item := range v {
			if bad := findWide(item, to); bad != nil {
				return bad.atKey()
			}
		}
	}
	return nil
}

func (f filler) fillString(to reflect.Value, v any) *misfit {
	if s, ok := v.(string); ok {
		to.SetString(s)
		return nil
	}
	if to.Type() == reflect.TypeFor[json.Number]() {
		switch v.(type) {
		case int64, uint64, float64, json.Number:
			text, err := plainJSON(v)
			if err == nil {
				to.SetString(string(text))
				return nil
			}
		}
	}
	return newMisfit(v, to, "")
}

func (f filler) fillSlice(to reflect.Value, v any) *misfit {
	switch v := v.(type) {
	case []byte:
		if to.Type().Elem().Kind() == reflect.Uint8 {
			to.SetBytes(v)
			return nil
		}
	case []any:
		to.Set(reflect.MakeSlice(to.Type(), len(v), len(v)))
		return f.fillItems(to, v)
	}
	return newMisfit(v, to, "")
}

func (f filler) fillArray(to reflect.Value, v any) *misfit {
	switch v := v.(type) {
	case []byte:
		if to.Type().Elem().Kind() == reflect.Uint8 && to.Len() == len(v) {
			copy(to.Bytes(), v)
			return nil
		}
	case []any:
		if to.Len() == len(v) {
			return f.fillItems(to, v)
		}
	}
	return newMisfit(v, to, "")
}

func (f filler) fillItems(to reflect.Value, items []any) *misfit {
	for i, item := range items {
		if bad := f.fill(to.Index(i), item); bad != nil {
			return bad.atIndex(i)
		}
	}
	return nil
}

func (f filler) fillMap(to reflect.Value, v any) *misfit {
	values, ok := v.(map[string]any)
	if !ok {
		return newMisfit(v, to, "")
	}
	t := to.Type()
	to.Set(reflect.MakeMapWithSize(t, len(values)))
	for name, stored := range values {
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		if bad := fillKey(key, name); bad != nil {
			return bad.atKey()
		}
		if !key.Comparable() { // its UnmarshalText filled an interface
			return newMisfit(name, key, "it cannot be a key").atKey()
		}
		if bad := f.fill(value, stored); bad != nil {
			return bad.atKey()
		}
		to.SetMapIndex(key, value)
	}
	return nil
}

// fillKey reads what keyText wrote.
func fillKey(to reflect.Value, name string) *misfit {
	if to.Kind() == reflect.String {
		to.SetString(name)
		return nil
	}
	if to.Kind() == reflect.Interface && to.NumMethod() == 0 {
		to.Set(reflect.ValueOf(name))
		return nil
	}
	if m, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := asked("UnmarshalText", func() error { return m.UnmarshalText([]byte(name)) }); err != nil {
			return misfitOf(name, to, err)
		}
		return nil
	}
	if n, err := strconv.ParseInt(name, 10, 64); err == nil {
		return fillNumber(to, n)
	}
	if n, err := strconv.ParseUint(name, 10, 64); err == nil {
		return fillNumber(to, n)
	}
	return newMisfit(name, to, "a key")
}

func (f filler) fillStruct(to reflect.Value, v any) *misfit {
	t := typeOf(to.Type())
	if t.err != nil {
		return misfitOf(v, to, t.err)
	}
	values, ok := v.(map[string]any)
	if !ok {
		return newMisfit(v, to, "")
	}
	for _, field := range t.fields {
		stored, ok := values[field.name]
		if !ok || stored == nil {
			continue
		}
		at := to
		for i, n := range field.index {
			if i > 0 && at.Kind() == reflect.Pointer { // an embedded pointer on the way
				if at.IsNil() && !at.CanSet() {
					return newMisfit(stored, to, "it embeds a pointer to an unexported struct").atField(field.name)
				}
				if at.IsNil() {
					at.Set(reflect.New(at.Type().Elem()))
				}
				at = at.Elem()
			}
			at = at.Field(n)
		}
		if bad := f.fill(at, stored); bad != nil {
			return bad.atField(field.name)
		}
	}
	return nil
}

// unmarshal lets a type read itself that can: JSON from any value, text from a
// string. A time takes a time as it is, an Encoded any value.
func (f filler) unmarshal(to reflect.Value, v any) (bool, *misfit) {
	if when, ok := v.(time.Time); ok && to.Type() == timeType {
		to.Set(reflect.ValueOf(when))
		return true, nil
	}
	if to.Kind() == reflect.Pointer {
		return false, nil // what it points to reads itself
	}
	if to.Type() == encodedType {
		b, err := f.codec.Encode(v)
		if err != nil {
			return true, misfitOf(v, to, err)
		}
		to.SetBytes(b)
		return true, nil
	}
	switch typeOf(to.Type()).unmarshals {
	case byJSON:
		text, err := plainJSON(v)
		if err == nil {
			m := to.Addr().Interface().(json.Unmarshaler)
			err = asked("UnmarshalJSON", func() error { return m.UnmarshalJSON(text) })
		}
		if err != nil {
			return true, misfitOf(v, to, err)
		}
		return true, nil
	case byText:
		text, ok := v.(string)
		if !ok {
			return false, nil
		}
		m := to.Addr().Interface().(encoding.TextUnmarshaler)
		if err := asked("UnmarshalText", func() error { return m.UnmarshalText([]byte(text)) }); err != nil {
			return true, misfitOf(v, to, err)
		}
		return true, nil
	}
	return false, nil
}

func plainJSON(v any) ([]byte, error) {
	w := &jsonWriter{plain: true}
	err := encoder{out: w}.value(v, 0)
	return w.buf, err
}
