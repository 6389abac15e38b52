package store

import (
	"context"
	"sync"
	"time"

	"github.com/botsession/botsession/store/internal/call"
)

// A slot is one of the runner's, taken until leave is called.
type slot struct {
	runner *runner
	once   sync.Once
}

// leave gives the slot back; a second time it does nothing.
func (s *slot) leave() {
	if s != nil {
		s.once.Do(func() { <-s.runner.slots; s.runner.wg.Done() })
	}
}

// move takes the slot away from whoever has it, or returns nil if it was left.
func (s *slot) move() (moved *slot) {
	if s != nil {
		s.once.Do(func() { moved = &slot{runner: s.runner} })
	}
	return moved
}

// tryEnter takes a slot, or returns nil if there is none or the replica stops.
func (r *runner) tryEnter() *slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isStopping() {
		return nil
	}
	select {
	case r.slots <- struct{}{}:
		r.wg.Add(1)
		return &slot{runner: r}
	default:
		return nil
	}
}

// enter waits for a slot, or returns nil if ctx or the replica ended first.
func (r *runner) enter(ctx context.Context) *slot {
	for {
		if s := r.tryEnter(); s != nil {
			return s
		}
		if r.isStopping() || !call.Sleep(ctx, 5*time.Millisecond) {
			return nil
		}
	}
}
