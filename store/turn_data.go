package store

import (
	"maps"
	"slices"
	"strings"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// What a turn reads and writes of its session: private data, intent, file and flags.

// Get returns a value of the private data in its canonical form; see package
// codec. A stored nil is found. For values of a Go type, use [Key].
func (t *Turn) Get(key string) (value any, found bool) {
	return Key[any](key).Get(t)
}

// value returns the encoded value, the turn's own before the session's.
func (t *Turn) value(key string) (codec.Encoded, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own, ok := t.change.Set[key]; ok {
		return own.(codec.Encoded), true
	}
	if t.cleared || slices.Contains(t.change.Delete, key) {
		return nil, false
	}
	return t.rec.Value(key)
}

// Keys returns the keys of the private data, sorted.
func (t *Turn) Keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := map[string]bool{}
	if !t.cleared {
		for _, key := range t.rec.Keys() {
			keys[key] = true
		}
	}
	for key := range t.change.Set {
		keys[key] = true
	}
	for _, key := range t.change.Delete {
		delete(keys, key)
	}
	return slices.Sorted(maps.Keys(keys))
}

// Set sets a value of the private data. A value that cannot be encoded, or is
// over [Options.MaxValue], fails the turn.
func (t *Turn) Set(key string, value any) {
	var encoded codec.Encoded
	err := session.ValidKey("key", key)
	if err == nil {
		encoded, err = t.bot.store.opts.Codec.Encode(value)
	}
	if err == nil {
		err = t.bot.store.tooLarge("the value", "", len(encoded))
	}
	if !t.verb("private data", err, key) {
		return
	}
	defer t.mu.Unlock()
	if t.change.Set == nil {
		t.change.Set = map[string]any{}
	}
	t.change.Set[key] = encoded
	t.change.Delete = slices.DeleteFunc(t.change.Delete, func(other string) bool { return other == key })
}

// Delete deletes a key of the private data, if it exists.
func (t *Turn) Delete(key string) {
	if !t.verb("delete", session.ValidKey("key", key)) {
		return
	}
	defer t.mu.Unlock()
	delete(t.change.Set, key)
	if _, found := t.rec.Value(key); found && !t.cleared && !slices.Contains(t.change.Delete, key) {
		t.change.Delete = append(t.change.Delete, key)
	}
}

// Intent returns a copy of the last predicted intent, or nil if there is none.
// Unlike [Turn.Match] it also returns one that a move has consumed.
func (t *Turn) Intent() *session.Intent {
	t.mu.Lock()
	encoded, set, cleared := t.intent, t.intentSet, t.cleared
	t.mu.Unlock()
	read := t.rec.Intent
	switch {
	case set:
		read = func() (*session.Intent, error) { return stored.DecodeIntent(encoded) }
	case cleared:
		return nil
	}
	intent, err := read()
	if err != nil {
		t.fail(err)
	}
	return intent
}

// SetIntent sets the predicted intent, or none if it is nil, and raises
// [session.FlagIntent] in either case.
func (t *Turn) SetIntent(intent *session.Intent) {
	encoded, err := stored.EncodeIntent(t.bot.store.opts.Codec, intent)
	if err == nil {
		err = t.bot.store.tooLarge("the intent", "", len(encoded))
	}
	if !t.verb("intent", err) {
		return
	}
	defer t.mu.Unlock()
	t.intent, t.intentSet = encoded, true
	t.setFlag(session.FlagIntent, true)
}

// Match returns the predicted intent if it has this name and no move has
// consumed it, else nil.
func (t *Turn) Match(name string) *session.Intent {
	if !t.Flag(session.FlagIntent) {
		return nil
	}
	if intent := t.Intent(); intent != nil && intent.Name == name {
		return intent
	}
	return nil
}

// File returns the last file, or nil if there is none. It has its bytes if
// this event brought it; [Session.File] reads those of an earlier one.
func (t *Turn) File() *session.File {
	t.mu.Lock()
	own, cleared := t.file, t.cleared
	t.mu.Unlock()
	if own != nil || cleared {
		return own
	}
	file, err := t.rec.File()
	if err != nil {
		t.fail(err)
	}
	return file
}

// MatchFile returns the last file, as [Turn.File] does, if it has one of the
// media types, or any if none is given, and no move has consumed it; else nil.
func (t *Turn) MatchFile(mediaTypes ...string) *session.File {
	if !t.Flag(session.FlagFile) {
		return nil
	}
	file := t.File()
	if file == nil || len(mediaTypes) > 0 && !slices.ContainsFunc(mediaTypes, func(m string) bool { return strings.EqualFold(m, file.Type) }) {
		return nil
	}
	return file
}

// Flag reports whether a flag is up.
func (t *Turn) Flag(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if up, ok := t.flags[name]; ok {
		return up
	}
	return !t.cleared && t.rec.Flag(name)
}

// SetFlag raises the flag if up is true, else lowers it. The end of the turn
// lowers [session.FlagIntent] and [session.FlagFile] in any case.
func (t *Turn) SetFlag(name string, up bool) {
	if !t.verb("flag", session.ValidKey("flag", name)) {
		return
	}
	defer t.mu.Unlock()
	t.setFlag(name, up)
}

func (t *Turn) setFlag(name string, up bool) {
	if t.flags == nil {
		t.flags = map[string]bool{}
	}
	t.flags[name] = up
}

// tooMuchData returns session.ErrTooLarge if the turn makes the private data
// larger, and larger than Options.MaxData.
func (t *Turn) tooMuchData() error {
	stored := func(key string) int {
		if t.cleared {
			return 0
		}
		return t.rec.ValueSize(key)
	}
	grown := 0
	for key, value := range t.change.Set {
		grown += len(value.(codec.Encoded)) - stored(key)
	}
	for _, key := range t.change.Delete {
		grown -= stored(key)
	}
	if grown <= 0 {
		return nil
	}
	after := grown
	for _, key := range t.rec.Keys() {
		after += stored(key)
	}
	if most := t.bot.store.opts.MaxData; after > most {
		return tooMuchData(after, most)
	}
	return nil
}
