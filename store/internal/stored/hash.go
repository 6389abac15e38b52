package stored

import (
	"slices"
	"strings"
)

// A hash has fields with their values, sorted by field. It is not changed once it is
// part of a record, so records may share one.
type hash []pair

type pair struct{ field, value string }

// find returns where a field is, or would be.
func (h hash) find(field string) (i int, found bool) {
	return slices.BinarySearchFunc(h, field, func(p pair, field string) int { return strings.Compare(p.field, field) })
}

// get returns the value of a field, and false if there is no such field.
func (h hash) get(field string) (value string, found bool) {
	if i, found := h.find(field); found {
		return h[i].value, true
	}
	return "", false
}

// value returns the value of a field; empty if there is no such field.
func (h hash) value(field string) string {
	value, _ := h.get(field)
	return value
}

// with returns the hash with fields set, given as field, value, field, value.
func (h hash) with(pairs []string) hash {
	set := append(make(hash, 0, len(h)+len(pairs)/2), h...)
	for i := 0; i < len(pairs); i += 2 {
		at, found := set.find(pairs[i])
		if !found {
			set = slices.Insert(set, at, pair{field: pairs[i]})
		}
		set[at].value = pairs[i+1]
	}
	return set
}

// names returns what lies behind a prefix, sorted.
func (h hash) names(prefix string) (names []string) {
	from, _ := h.find(prefix)
	for _, p := range h[from:] {
		name, ok := strings.CutPrefix(p.field, prefix)
		if !ok {
			break
		}
		names = append(names, name)
	}
	return names
}
