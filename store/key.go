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
// A stored value that is not a T fails the turn.
func (k Key[T]) Get(t *Turn) (value T, found bool) {
	encoded, found := t.value(string(k))
	if !found {
		return value, false
	}
	if err := codec.Decode(encoded, &value); err != nil {
		t.fail(fmt.Errorf("private data %q: %w", string(k), err))
		return value, false
	}
	return value, true
}

// Set sets the value in a turn.
func (k Key[T]) Set(t *Turn, value T) { t.Set(string(k), value) }

// Delete deletes the key in a turn.
func (k Key[T]) Delete(t *Turn) { t.Delete(string(k)) }

// Load reads the value from a live session. It answers [session.ErrNotFound] if
// there is no such session, [session.ErrInvalid] if what is stored is not a T,
// and [session.ErrCorrupt] if it cannot be read at all.
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
