package store

import (
	"context"
	"fmt"

	"github.com/botsession/botsession/codec"
)

// A Key is a key of the private data whose values have the Go type T:
//
//	const Size store.Key[string] = "size"
type Key[T any] string

// Get returns the value in a turn, or T's zero value and false if there is
// none. A stored value that does not fit T fails the turn, unless the turn
// resets the session; with [Key.Lookup] a handler can go on.
func (k Key[T]) Get(t *Turn) (value T, found bool) {
	value, found, err := k.Lookup(t)
	if err != nil {
		t.fail(err)
	}
	return value, found
}

// Lookup is Get that returns an error instead of failing the turn:
// [session.ErrType] if the stored value does not fit T, for instance because
// another release of the program wrote it, and [session.ErrCorrupt] if it
// cannot be read at all.
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

// Set sets the value in a turn; see [Turn.Set].
func (k Key[T]) Set(t *Turn, value T) { t.Set(string(k), value) }

// Delete deletes the key in a turn.
func (k Key[T]) Delete(t *Turn) { t.Delete(string(k)) }

// Load returns the value of a session outside of a turn, or T's zero value and
// false if there is none. It returns [session.ErrNotFound] if there is no such
// session, [session.ErrType] if the stored value does not fit T, and
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

// Store sets the value outside of a turn; see [Session.Set].
func (k Key[T]) Store(ctx context.Context, s *Session, value T) error {
	return s.Set(ctx, string(k), value)
}
