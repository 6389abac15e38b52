package stored

import (
	"fmt"
	"slices"
	"strings"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// Fields returns what the parts of a change that live in the hash do to it: the
// fields to set, as field, value, field, value, and the fields to delete, both
// sorted by field. Those parts are Message, Intent, File, Flags, Set and
// Delete. An intent and a file raise their flags, unless Flags says otherwise.
//
// It returns [session.ErrInvalid], naming the key, for a value that cannot be
// encoded, for a name that no key or flag can have, and for a key that is both
// set and deleted.
func Fields(c codec.Codec, ch session.Change) (set []string, del []string, err error) {
	w := hashWriter{
		set: make([]string, 0, 2*(len(ch.Set)+len(ch.Flags)+5)),
		del: make([]string, 0, len(ch.Delete)+len(ch.Flags)),
	}
	// In the order of the fields: d:, f:, file, intent, message.
	for _, key := range sortedKeys(ch.Set) {
		w.check(session.ValidKey("private data's key", key))
		if w.err == nil {
			b, err := c.Encode(ch.Set[key])
			w.put(PrefixData+key, b, err)
		}
	}
	deleted := slices.Clone(ch.Delete)
	slices.Sort(deleted)
	for _, key := range slices.Compact(deleted) {
		w.check(session.ValidKey("private data's key", key))
		if _, both := ch.Set[key]; both {
			w.check(fmt.Errorf("private data %q: %w: it is both set and deleted", key, session.ErrInvalid))
		}
		w.del = append(w.del, PrefixData+key)
	}
	flags := sortedKeys(ch.Flags)
	for _, name := range flags {
		w.check(session.ValidKey("flag", name))
	}
	raised := func(name string, up bool) {
		if i, said := slices.BinarySearch(flags, name); up && !said {
			flags = slices.Insert(flags, i, name)
		}
	}
	raised(session.FlagIntent, ch.SetIntent)
	raised(session.FlagFile, ch.File != nil)
	for _, name := range flags {
		if up, said := ch.Flags[name]; up || !said {
			w.set = append(w.set, PrefixFlag+name, "1")
		} else {
			w.del = append(w.del, PrefixFlag+name)
		}
	}
	if ch.File != nil {
		b, err := EncodeFile(c, *ch.File)
		w.put(FieldFile, b, err)
	}
	if ch.SetIntent {
		b, err := EncodeIntent(c, ch.Intent)
		w.put(FieldIntent, b, err)
	}
	if ch.Message != nil {
		b, err := c.Encode(*ch.Message)
		w.put(FieldMessage, b, err)
	}
	if w.err != nil {
		return nil, nil, w.err
	}
	return w.set, w.del, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m)+2)
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// A hashWriter gathers what is to be set and deleted, and the first error.
type hashWriter struct {
	set, del []string
	err      error
}

func (w *hashWriter) check(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *hashWriter) put(field string, b codec.Encoded, err error) {
	if err != nil {
		what := field
		if key, data := strings.CutPrefix(field, PrefixData); data {
			what = fmt.Sprintf("private data %q", key)
		}
		w.check(fmt.Errorf("%s: %w", what, err))
		return
	}
	w.set = append(w.set, field, string(b))
}
