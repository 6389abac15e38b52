package codec

import (
	"encoding/json"
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
	why    string // may be empty
}

func newMisfit(stored any, to reflect.Value, why string) *misfit {
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
	where, why := "", ""
	if m.path != "" {
		where = "at " + m.path + ": "
	}
	if m.why != "" {
		why = ": " + m.why
	}
	return fmt.Errorf("%w: %sstored is %s, asked for is %s%s", ErrType, where, describe(m.stored), m.asked, why)
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
