package codec

import (
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// members are the keys and values of a map or a struct: of a map sorted, of a
// struct in the order of its fields.
type members []member

type member struct {
	name  string
	value any
}

// shape brings the outermost level of a Go value into one of the forms that an
// encoder writes: nil, bool, int64, uint64 (only beyond int64), float64, string,
// []byte, time.Time, []any or members. What lies deeper is shaped in its turn.
func shape(v any) (any, error) {
	switch typed := v.(type) {
	case nil, bool, int64, float64, string, time.Time, members:
		return v, nil // as it came: to put it into an any again would copy it
	case int:
		return int64(typed), nil
	case uint64:
		return shapeUint(typed), nil
	case []byte:
		if typed == nil {
			return nil, nil
		}
		return v, nil
	case []any:
		if typed == nil {
			return nil, nil
		}
		return v, nil
	case map[string]any:
		if typed == nil {
			return nil, nil
		}
		all := make(members, 0, len(typed))
		for name, value := range typed {
			all = append(all, member{name, value})
		}
		return all.sorted(), nil
	case Encoded:
		if typed == nil {
			return nil, nil
		}
		held, _, err := parse(typed)
		if err != nil {
			return nil, invalid("an Encoded that cannot be read: %v", err)
		}
		return shape(held)
	case json.Number:
		return shapeNumber(typed)
	}
	return shapeReflected(reflect.ValueOf(v))
}

func shapeUint(v uint64) any {
	if v > math.MaxInt64 {
		return v
	}
	return int64(v)
}

func shapeReflected(v reflect.Value) (any, error) {
	indirect := false
	for hops := 0; ; hops++ {
		if isNil(v) {
			return nil, nil
		}
		if text, ok, err := marshalled(v); ok || err != nil {
			return text, err
		}
		if v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
			break
		}
		if hops == maxDepth {
			return nil, errTooDeep()
		}
		v, indirect = v.Elem(), true
	}
	if indirect {
		return shape(v.Interface())
	}
	return shapeKind(v)
}

func shapeKind(v reflect.Value) (any, error) {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return shapeUint(v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Slice:
		if v.IsNil() {
			return nil, nil
		}
		return shapeList(v), nil
	case reflect.Array:
		return shapeList(v), nil
	case reflect.Map:
		return shapeMap(v)
	case reflect.Struct:
		return shapeStruct(v)
	}
	return nil, invalid("a %s has no encoding", v.Type())
}

func shapeList(v reflect.Value) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if v.Kind() == reflect.Array && !v.CanAddr() {
			v = addressable(v)
		}
		return v.Bytes()
	}
	items := make([]any, v.Len())
	for i := range items {
		items[i] = v.Index(i).Interface()
	}
	return items
}

func shapeMap(v reflect.Value) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	all := make(members, 0, v.Len())
	for i := v.MapRange(); i.Next(); {
		name, err := keyText(i.Key())
		if err != nil {
			return nil, err
		}
		all = append(all, member{name, i.Value().Interface()})
	}
	all.sorted()
	for i := 1; i < len(all); i++ {
		if all[i].name == all[i-1].name {
			return nil, invalid("a %s with two keys that are written alike", v.Type())
		}
	}
	return all, nil
}

// keyText writes a map's key: a string as it is, an integer in decimals, what
// has a MarshalText by that.
func keyText(key reflect.Value) (string, error) {
	if key.Kind() == reflect.Interface && !key.IsNil() {
		key = key.Elem()
	}
	if key.Kind() == reflect.String {
		return key.String(), nil
	}
	if m, ok := key.Interface().(encoding.TextMarshaler); ok && !isNil(key) {
		var text []byte
		err := asked("MarshalText", func() (err error) { text, err = m.MarshalText(); return err })
		if err != nil {
			return "", invalid("a key of type %s: %w", key.Type(), err)
		}
		return string(text), nil
	}
	switch {
	case key.CanInt():
		return strconv.FormatInt(key.Int(), 10), nil
	case key.CanUint():
		return strconv.FormatUint(key.Uint(), 10), nil
	}
	return "", invalid("a map's key of type %s has no encoding", key.Type())
}

func isNil(v reflect.Value) bool {
	return (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil()
}

func shapeStruct(v reflect.Value) (any, error) {
	t := typeOf(v.Type())
	if t.err != nil {
		return nil, t.err
	}
	all := make(members, 0, len(t.fields))
	for _, f := range t.fields {
		value, err := v.FieldByIndexErr(f.index)
		if err != nil { // an embedded pointer on the way is nil
			continue
		}
		omitted, err := f.omits(value)
		if err != nil {
			return nil, err
		}
		if omitted {
			continue
		}
		all = append(all, member{f.name, value.Interface()})
	}
	return all, nil
}

func (m members) sorted() members {
	slices.SortFunc(m, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return m
}

// marshalled asks a type that writes itself, by MarshalJSON or else by
// MarshalText; with a pointer receiver, too.
func marshalled(v reflect.Value) (any, bool, error) {
	t := typeOf(v.Type())
	if t.marshals == byKind {
		return nil, false, nil
	}
	if t.throughPointer {
		v = addressable(v).Addr()
	}
	if t.marshals == byText {
		var text []byte
		m := v.Interface().(encoding.TextMarshaler)
		err := asked("MarshalText", func() (err error) { text, err = m.MarshalText(); return err })
		if err != nil {
			return nil, true, invalid("a %s: %w", v.Type(), err)
		}
		return string(text), true, nil
	}
	var text []byte
	m := v.Interface().(json.Marshaler)
	err := asked("MarshalJSON", func() (err error) { text, err = m.MarshalJSON(); return err })
	if err != nil {
		return nil, true, invalid("a %s: %w", v.Type(), err)
	}
	plain, _, err := parseJSON(text, true)
	if err != nil {
		return nil, true, invalid("a %s: what its MarshalJSON returned: %v", v.Type(), err)
	}
	plain, err = shape(plain)
	return plain, true, err
}

func addressable(v reflect.Value) reflect.Value {
	p := reflect.New(v.Type()).Elem()
	p.Set(v)
	return p
}
