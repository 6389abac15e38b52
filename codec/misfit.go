package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// A misfit says which stored value does not fit which Go type, and where. Of what
// is stored it shows only the kind, and of texts and bytes the length.
type misfit struct {
	path   string // such as .orders[3].count; empty for the value itself
	stored any
	asked  reflect.Type
	why    error // may be nil
}

func newMisfit(stored any, to reflect.Value, why string) *misfit {
	if why == "" {
		return misfitOf(stored, to, nil)
	}
	return misfitOf(stored, to, errors.New(why))
}

// misfitOf is newMisfit for an error that was returned.
func misfitOf(stored any, to reflect.Value, why error) *misfit {
	return &misfit{stored: stored, asked: to.Type(), why: why}
}

func (m *misfit) atIndex(i int) *misfit {
	m.path = "[" + strconv.Itoa(i) + "]" + m.path
	return m
}

func (m *misfit) atField(name string) *misfit {
	m.path = "." + name + m.path
	return m
}

// atKey is a place in a map, whose keys may be as private as its values.
func (m *misfit) atKey() *misfit {
	m.path = "[a key]" + m.path
	return m
}

func (m *misfit) error() error {
	where := ""
	if m.path != "" {
		where = "at " + m.path + ": "
	}
	text := fmt.Sprintf("%sstored is %s, asked for is %s", where, describe(m.stored), m.asked)
	if m.why == nil {
		return fmt.Errorf("%w: %s", ErrType, text)
	}
	return fmt.Errorf("%w: %s: %w", ErrType, text, &refusal{m.why.Error(), m.why})
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("a string of %d bytes", len(v))
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case map[string]any:
		return fmt.Sprintf("a map of %d", len(v))
	case time.Time:
		return "a time"
	case bool:
		return "a bool"
	case json.Number:
		return "a number beyond 64 bits"
	case float64:
		return "a float"
	case nil:
		return "nothing"
	}
	return "an integer"
}
