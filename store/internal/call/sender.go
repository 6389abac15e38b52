package call

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store/internal/causes"
)

// A sender sends commands. A few at a time go alone, each on a connection of
// its own. Those that come while as many are in the air wait until one of them
// lands, and then fly together, in one pipeline: so many callers in one process
// share the system calls, here and on the server, that would cost as much as
// their scripts. A lone caller notices nothing.
//
// go-redis has AutoPipeline for that; its callers wait for their batch however
// short their own deadline is, and a lone caller is slower with it.
type sender struct {
	client redis.UniversalClient
	acks   int  // replicas that must have a write, see Options.Acks
	fsync  bool // in their files, and the server in its own, see Options.Fsync

	patience time.Duration // after which who waits flies alone: what is in the air may never land

	mu     sync.Mutex
	flying int
	queue  []*passenger
}

const (
	maxFlying     = 2         // at once; more if one of them takes longer than patience
	maxPassengers = 64        // on one flight
	maxLuggage    = 128 << 10 // their bytes, unless the first has more

	usualPatience = 100 * time.Millisecond
)

// A passenger is a command that waits for its flight, or is on it.
type passenger struct {
	cmd      redis.Cmder
	deadline time.Time
	landed   chan error
}

// errNeverSent is joined to the error of a command whose caller gave up first.
var errNeverSent = errors.New("it was not sent")

// send sends a command once and waits for its answer. Its ctx must have a
// deadline. When ctx ends while the command is on its way, it must not be
// touched any more.
func (s *sender) send(ctx context.Context, cmd redis.Cmder) error {
	s.mu.Lock()
	if s.flying < maxFlying {
		s.flying++
		s.mu.Unlock()
		return s.flyAlone(ctx, cmd)
	}
	p := &passenger{cmd: cmd, landed: make(chan error, 1)}
	p.deadline, _ = ctx.Deadline()
	s.queue = append(s.queue, p)
	s.mu.Unlock()

	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	for {
		select {
		case err := <-p.landed:
			return err
		case <-timer.C:
			if s.leave(p, true) {
				return s.flyAlone(ctx, cmd)
			}
		case <-ctx.Done():
			if s.leave(p, false) {
				return causes.Join(errNeverSent, ctx.Err())
			}
			select {
			case err := <-p.landed: // in the same moment
				return err
			default:
				return ctx.Err()
			}
		}
	}
}

// leave takes a passenger out of the queue, to fly alone or not at all. It
// reports whether it was still there.
func (s *sender) leave(p *passenger, flies bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, p)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	if flies {
		s.flying++
	}
	return true
}

func (s *sender) flyAlone(ctx context.Context, cmd redis.Cmder) error {
	defer s.land()
	if s.acks == 0 && !s.fsync { // as carry does, without a slice
		_ = s.client.Process(ctx, cmd)
	} else {
		s.carry(ctx, cmd)
	}
	return cmd.Err()
}

// land ends a flight. Those who wait take the next.
func (s *sender) land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 || s.flying > maxFlying {
		s.flying--
		return
	}
	n, luggage := 0, 0
	for n < min(len(s.queue), maxPassengers) {
		if luggage += weight(s.queue[n].cmd); n > 0 && luggage > maxLuggage {
			break
		}
		n++
	}
	group := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	go s.fly(group)
}

// fly sends a group in one pipeline, for as long as the most patient of them
// waits.
func (s *sender) fly(group []*passenger) {
	defer s.land()
	last := group[0].deadline
	for _, p := range group {
		if p.deadline.After(last) {
			last = p.deadline
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), last)
	defer cancel()
	cmds := make([]redis.Cmder, len(group))
	for i, p := range group {
		cmds[i] = p.cmd
	}
	s.carry(ctx, cmds...)
	for _, p := range group {
		p.landed <- p.cmd.Err()
	}
}

// carry sends commands and waits for their answers. Each has its own error.
func (s *sender) carry(ctx context.Context, cmds ...redis.Cmder) {
	switch {
	case (s.acks > 0 || s.fsync) && slices.ContainsFunc(cmds, writes):
		s.carrySafely(ctx, cmds)
	case len(cmds) == 1:
		_ = s.client.Process(ctx, cmds[0])
	default:
		pipe(ctx, s.client, cmds...)
	}
}

func pipe(ctx context.Context, client redis.Cmdable, cmds ...redis.Cmder) {
	pipe := client.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // only queues it
	}
	_, err := pipe.Exec(ctx)
	for _, cmd := range cmds { // a hook may refuse the whole without telling each
		if c, ok := cmd.(once); ok && err != nil && c.Err() == nil && c.Val() == nil {
			c.SetErr(err)
		}
	}
}

// weight is about how many bytes a command is.
func weight(cmd redis.Cmder) (n int) {
	for _, arg := range cmd.Args() {
		switch arg := arg.(type) {
		case string:
			n += len(arg)
		case *string:
			n += len(*arg)
		}
	}
	return n
}
