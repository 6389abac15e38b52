package store

import (
	"context"
	"fmt"

	"github.com/botsession/botsession/codec"
)

// A Key is a key of the private data whose values have one Go type:
//
//	const Size store.Key[string] = "size"
type Key[T any] string

// Get returns the value in a turn, or T's zero value and false if there is none.
// A stored value that is not a T fails the turn, unless the turn resets the
// session; [Key.Lookup] tells of it instead.
func (k Key[T]) Get(t *Turn) (value T, found bool) {
	value, found, err := k.Lookup(t)
	if err != nil {
		t.fail(err)
	}
	return value, found
}

// Lookup is Get for a handler that wants to go on when the stored value is not a
// T, for instance because another release of the program wrote it. It returns
// [session.ErrType] then, and [session.ErrCorrupt] for what cannot be read at all,
// and fails nothing.
func (k Key[T]) Lookup(t *Turn) (value T, found bool, err error) {
	encoded, found := t.value(string(k))
	if !found {
		return value, false, nil
	}
	if err := codec.Decode(encoded, &value); err != nil {
		return value, false, fmt.Errorf("private data %q: %w", string(k), err)
	}
	return value, true, nil
}

// Set sets the value in a turn.
func (k Key[T]) Set(t *Turn, value T) { t.Set(string(k), value) }

// Delete deletes the key in a turn.
func (k Key[T]) Delete(t *Turn) { t.Delete(string(k)) }

// Load reads the value from a live session. It returns [session.ErrNotFound] if
// there is no such session, [session.ErrType] if what is stored is not a T, and
// [session.ErrCorrupt] if it cannot be read at all.
func (k Key[T]) Load(ctx context.Context, s *Session) (value T, found bool, err error) {
	encoded, found, err := s.value(ctx, string(k))
	if err == nil && found {
		err = codec.Decode(encoded, &value)
	}
	if err != nil {
		return value, false, fmt.Errorf("get %q of %s: %w", string(k), s.ref, err)
	}
	return value, found, nil
}

// Store sets the value in a live session; see [Session.Set].
func (k Key[T]) Store(ctx context.Context, s *Session, value T) error {
	return s.Set(ctx, string(k), value)
}
