package store

import (
	"context"
	"sync"
	"time"
)

// A duty is what a process does once for all the bots that it serves: it says that it
// is there, looks for what is due, and hears of what others cannot take.
type duty struct {
	mu      sync.Mutex
	runners map[string]*runner // runners are those that take sessions, by their bots
	end     func()             // end ends the loops, and waits for them; nil while there are none
}

// all returns the runners that take sessions, in no order.
func (d *duty) all() (runners []*runner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.runners {
		runners = append(runners, r)
	}
	return runners
}

// of returns the runner that takes sessions of a bot, or nil.
func (d *duty) of(bot string) *runner {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runners[bot]
}

// join makes a runner one of those that take sessions. The first begins the loops.
func (s *Store) join(r *runner) {
	d := &s.duty
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runners == nil {
		d.runners = map[string]*runner{}
	}
	d.runners[r.bot.name] = r
	if d.end != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){s.beats, s.wakes} {
		loops.Go(func() { loop(ctx) })
	}
	d.end = func() { cancel(); loops.Wait() }
}

// quit takes a runner out again, tells the others, and, after the last one, ends the
// loops.
func (s *Store) quit(ctx context.Context, r *runner) {
	d := &s.duty
	d.mu.Lock()
	delete(d.runners, r.bot.name)
	end := func() {}
	if len(d.runners) == 0 {
		end, d.end = d.end, nil
	}
	d.mu.Unlock()
	end()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.beat(last)
}

// take has a session handled that is due.
func (r *runner) take(at place) {
	if s := r.tryEnter(); s != nil {
		r.spawnClaim(at, s)
	}
}
