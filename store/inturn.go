package store

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/botsession/botsession/session"
)

// A mark in a context says that it is that of user code which runs while this
// process holds a session: the handler of a turn, the function of an Update, or
// Send. A call on that session which would wait for the session, or end what
// runs, could never end, or would begin it again for ever; by the mark it is
// refused at once.
type mark struct {
	context.Context
	store *Store
	ref   session.Ref
	turn  bool        // a handler's or an Update's; false: that of Send
	eager *eager      // the run, if the handler's began before its event was accepted; else nil
	over  atomic.Bool // the user's function has returned
}

type turnKey struct{}

// Value returns the mark itself for its key.
func (m *mark) Value(key any) any {
	if key == (turnKey{}) {
		return m
	}
	return m.Context.Value(key)
}

// markOf returns the mark that a context was given last, or nil.
func markOf(ctx context.Context) *mark {
	m, _ := ctx.Value(turnKey{}).(*mark)
	return m
}

// marked returns ctx with a mark, beside those that it has, and what lowers it.
func marked(ctx context.Context, s *Store, ref session.Ref, turn bool) (m *mark, lower func()) {
	m = &mark{Context: ctx, store: s, ref: ref, turn: turn}
	return m, func() { m.over.Store(true) }
}

// inTurn returns session.ErrInTurn if ctx is that of a turn of the session. With
// waits, also if it is that of Send: for calls that wait for the session.
func (s *Store) inTurn(ctx context.Context, ref session.Ref, waits bool) error {
	for m := markOf(ctx); m != nil; m = markOf(m.Context) {
		if m.ref == ref && !m.over.Load() && (m.turn || waits) && m.store.same(s) {
			return fmt.Errorf("%w, whose end it would wait for, or cause: use the Turn, or call when that has ended", session.ErrInTurn)
		}
	}
	return nil
}

// same tells whether two stores of this process are views of the same data.
func (s *Store) same(other *Store) bool {
	return s == other || s.opts.Namespace == other.opts.Namespace && s.identity().id != "" && s.identity().id == other.identity().id
}
