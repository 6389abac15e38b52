package codec

import (
	"fmt"
	"maps"
	"slices"

	"github.com/botsession/botsession/session"
)

// Fields returns what the parts of a change that live in the hash do to it: the
// fields to set, as field, value, field, value, and the fields to delete, both
// sorted by field. Those parts are Message, Intent, File, Flags, Set and
// Delete. An intent and a file raise their flags, unless Flags says otherwise.
//
// It answers [session.ErrInvalid], naming the key, for a value that cannot be
// encoded, for a name that no key or flag can have, and for a key that is both
// set and deleted.
func (c Codec) Fields(ch session.Change) (set []string, del []string, err error) {
	w := hashWriter{set: make(map[string]string), del: make(map[string]bool)}
	if ch.Message != nil {
		w.encode(FieldMessage, "message", func() (Encoded, error) { return c.Encode(*ch.Message) })
	}
	if ch.SetIntent {
		w.encode(FieldIntent, "intent", func() (Encoded, error) { return c.EncodeIntent(ch.Intent) })
		w.flag(session.FlagIntent, true)
	}
	if ch.File != nil {
		w.encode(FieldFile, "file", func() (Encoded, error) { return c.EncodeFile(*ch.File) })
		w.flag(session.FlagFile, true)
	}
	for _, name := range slices.Sorted(maps.Keys(ch.Flags)) {
		w.check(session.ValidKey("flag", name))
		w.flag(name, ch.Flags[name])
	}
	for _, key := range slices.Sorted(maps.Keys(ch.Set)) {
		w.check(session.ValidKey("private data's key", key))
		w.encode(PrefixData+key, fmt.Sprintf("private data %q", key), func() (Encoded, error) { return c.Encode(ch.Set[key]) })
	}
	for _, key := range slices.Sorted(slices.Values(ch.Delete)) {
		w.check(session.ValidKey("private data's key", key))
		if _, both := ch.Set[key]; both {
			w.check(fmt.Errorf("private data %q: %w: it is both set and deleted", key, session.ErrInvalid))
		}
		w.del[PrefixData+key] = true
	}
	if w.err != nil {
		return nil, nil, w.err
	}
	for _, field := range slices.Sorted(maps.Keys(w.set)) {
		set = append(set, field, w.set[field])
	}
	return set, slices.Sorted(maps.Keys(w.del)), nil
}

// A hashWriter gathers what is to be set and deleted, and the first error.
type hashWriter struct {
	set map[string]string
	del map[string]bool
	err error
}

func (w *hashWriter) check(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *hashWriter) encode(field, what string, encode func() (Encoded, error)) {
	if w.err != nil {
		return
	}
	b, err := encode()
	if err != nil {
		w.err = fmt.Errorf("%s: %w", what, err)
		return
	}
	w.set[field] = string(b)
}

// flag raises or lowers a flag, whatever it was to be before.
func (w *hashWriter) flag(name string, up bool) {
	field := PrefixFlag + name
	delete(w.set, field)
	delete(w.del, field)
	if up {
		w.set[field] = "1"
	} else {
		w.del[field] = true
	}
}
