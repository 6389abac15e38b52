package call

import (
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/botsession/botsession/lua"
)

// A Reply is what a script returned: its status, the server's time, and the rest, which
// is read by the names in the script's header. Or it is a list in such a reply whose
// parts have names, too. The zero Reply is that of a call that failed: all of it is empty.
//
// To ask for a name that the header does not have there is a mistake of the program, and
// panics.
type Reply struct {
	script *lua.Script
	names  []string // names are those of the values; nil if the header has none for them.
	values []any
}

// NewReply returns the reply of a script.
func NewReply(script *lua.Script, values []any) Reply {
	r := Reply{script: script, values: values}
	if len(values) > 0 {
		r.names = script.Names(r.Status())
	}
	return r
}

// Status returns the status, or, of what is next, the word that says what to do.
func (r Reply) Status() string {
	if len(r.values) == 0 {
		return ""
	}
	status, _ := r.values[0].(string)
	return status
}

// Now returns the server's time, ms.
func (r Reply) Now() int64 { return r.Int("now") }

// Has reports whether the header has that name here.
func (r Reply) Has(name string) bool { return slices.Contains(r.names, name) }

// value returns the part of that name; nil if it was left out.
func (r Reply) value(name string) any {
	i := slices.Index(r.names, name)
	if i < 0 && r.names != nil {
		panic(fmt.Sprintf("call: the header of %s.lua has no %s in %v", r.script.Name, name, r.names))
	}
	if i < 0 || i >= len(r.values) {
		return nil
	}
	return r.values[i]
}

// Text returns a string; empty for anything else.
func (r Reply) Text(name string) string {
	text, _ := r.value(name).(string)
	return text
}

// Int returns a number, which scripts send as such or in decimal.
func (r Reply) Int(name string) int64 {
	switch v := r.value(name).(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

// List returns a list as it came.
func (r Reply) List(name string) []any {
	list, _ := r.value(name).([]any)
	return list
}

// Texts returns a list of strings.
func (r Reply) Texts(name string) []string {
	list := r.List(name)
	texts := make([]string, len(list))
	for i := range list {
		texts[i], _ = list[i].(string)
	}
	return texts
}

// Next returns what is to be done next.
func (r Reply) Next() Reply {
	return NewReply(r.script, r.List("next"))
}

// Rows returns the rows of a list, each with the names that its parts have.
func (r Reply) Rows(name string) iter.Seq[Reply] {
	return func(yield func(Reply) bool) {
		list := r.List(name)
		if len(list) == 0 {
			return
		}
		names := r.script.Names(name)
		for row := range slices.Chunk(list, len(names)) {
			if !yield(Reply{r.script, names, row}) {
				return
			}
		}
	}
}
