package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// goType is what the codec knows of a Go type: how it is written, how it is
// read, and its fields if it is a struct.
type goType struct {
	marshals, unmarshals way
	throughPointer       bool // marshals needs the address
	fields               []field
	err                  error // why a struct cannot be written or read
}

// A way is how a type is written or read.
type way byte

const (
	byKind way = iota // as its kind says
	byText            // MarshalText, UnmarshalText
	byJSON            // MarshalJSON, UnmarshalJSON
)

var (
	encodedType     = reflect.TypeFor[Encoded]()
	timeType        = reflect.TypeFor[time.Time]()
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

var types sync.Map // reflect.Type -> *goType

func typeOf(t reflect.Type) *goType {
	if known, ok := types.Load(t); ok {
		return known.(*goType)
	}
	known, _ := types.LoadOrStore(t, inspect(t))
	return known.(*goType)
}

func inspect(t reflect.Type) *goType {
	g := &goType{}
	if t == timeType {
		g.unmarshals = byText // RFC 3339 text, where a foreign writer left it
		return g
	}
	if t.Kind() != reflect.Interface {
		p := reflect.PointerTo(t)
		switch {
		case t.Implements(jsonMarshaler):
			g.marshals = byJSON
		case t.Kind() != reflect.Pointer && p.Implements(jsonMarshaler):
			g.marshals, g.throughPointer = byJSON, true
		case t.Implements(textMarshaler):
			g.marshals = byText
		case t.Kind() != reflect.Pointer && p.Implements(textMarshaler):
			g.marshals, g.throughPointer = byText, true
		}
		switch {
		case p.Implements(jsonUnmarshaler):
			g.unmarshals = byJSON
		case p.Implements(textUnmarshaler):
			g.unmarshals = byText
		}
	}
	if t.Kind() == reflect.Pointer && t.Elem() == timeType {
		g.marshals = byKind // the time itself, with its own encoding
	}
	if t.Kind() == reflect.Struct {
		g.fields, g.err = fieldsOf(t)
	}
	return g
}

// A field is one that is stored, under the name of its json tag.
type field struct {
	name      string
	index     []int
	tagged    bool
	omitempty bool
	omitzero  bool
}

// omits reports whether the field's value is left out.
func (f field) omits(v reflect.Value) (bool, error) {
	if f.omitzero {
		if zero, err := isZero(v); zero || err != nil {
			return zero, err
		}
	}
	if !f.omitempty {
		return false, nil
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array, reflect.String:
		return v.Len() == 0, nil
	case reflect.Struct:
		return false, nil
	}
	return v.IsZero(), nil
}

// isZero asks a type that has an IsZero; with a pointer receiver, too. A pointer
// that is nil is zero, and is not asked.
func isZero(v reflect.Value) (zero bool, err error) {
	type zeroer interface{ IsZero() bool }
	z, ok := v.Interface().(zeroer)
	switch {
	case isNil(v):
		return true, nil
	case ok && v.Kind() == reflect.Interface && isNil(v.Elem()):
		return true, nil
	case !ok && v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface && reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[zeroer]()):
		z = addressable(v).Addr().Interface().(zeroer)
	case !ok:
		return v.IsZero(), nil
	}
	if err := asked("IsZero", func() error { zero = z.IsZero(); return nil }); err != nil {
		return false, invalid("a %s: %w", v.Type(), err)
	}
	return zero, nil
}

// fieldsOf lists the fields of a struct and those promoted from its embedded
// structs. Of two with one name the outer one is taken, of two on one level the
// one with a tag; two that are equal in that are an error, as is a struct that
// has fields but exports none: it would be stored as nothing.
func fieldsOf(t reflect.Type) ([]field, error) {
	all := collect(t, nil, nil)
	slices.SortStableFunc(all, func(a, b field) int {
		if d := strings.Compare(a.name, b.name); d != 0 {
			return d
		}
		if d := len(a.index) - len(b.index); d != 0 {
			return d
		}
		switch {
		case a.tagged == b.tagged:
			return 0
		case a.tagged:
			return -1
		}
		return 1
	})
	var fields []field
	for i, f := range all {
		if i == 0 || f.name != all[i-1].name {
			fields = append(fields, f)
			continue
		}
		first := fields[len(fields)-1]
		if len(f.index) == len(first.index) && f.tagged == first.tagged {
			return nil, invalid("a %s has two fields named %q", t, f.name)
		}
	}
	if len(fields) == 0 && t.NumField() > 0 && !hasExported(t) {
		return nil, invalid("a %s has no exported field, and no MarshalJSON or MarshalText", t)
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return fields, nil
}

func hasExported(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return true
		}
	}
	return false
}

func collect(t reflect.Type, index []int, within []reflect.Type) []field {
	if slices.Contains(within, t) {
		return nil // a struct that embeds itself
	}
	within = append(slices.Clone(within), t)
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		at := append(slices.Clone(index), i)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct && inner != timeType {
			all = append(all, collect(inner, at, within)...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		tagged = tagged && name != ""
		if !tagged {
			name = f.Name
		}
		opts := strings.Split(options, ",")
		all = append(all, field{name, at, tagged, slices.Contains(opts, "omitempty"), slices.Contains(opts, "omitzero")})
	}
	return all
}
