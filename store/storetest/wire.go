package storetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
)

// A wire is where all faults are injected: a hook between one replica's client
// and its connections. It sees every request, and knows scripts by name.
type wire struct {
	mu     sync.Mutex
	cut    bool
	ice    chan struct{} // while it is frozen; closed when it is not
	faults map[*lua.Script]fault
	log    []*lua.Script // every script that was asked for, in order
	meter  *traffic      // if set, scripts are counted there
}

type traffic struct{ scripts, bytes int }

// A fault takes a request's place. It may deliver it, as often as it likes,
// and answers what the caller gets to see.
type fault func(ctx context.Context, r request) error

type request struct {
	args    []any        // as they go over the wire, to replay them later
	deliver func() error // sends it, even if its caller has given up meanwhile
}

// fail puts a fault on a script, in place of the one before; nil removes it. One on
// commit is one on settle too: a turn ends by either.
func (w *wire) fail(script *lua.Script, f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults == nil {
		w.faults = map[*lua.Script]fault{}
	}
	for _, script := range either(script) {
		w.faults[script] = f
	}
}

// either returns the script, and with commit settle.
func either(script *lua.Script) []*lua.Script {
	if script == lua.Commit {
		return []*lua.Script{lua.Commit, lua.Settle}
	}
	return []*lua.Script{script}
}

// loseReplies executes the next n requests of a script and loses the replies.
func (w *wire) loseReplies(script *lua.Script, n int) {
	w.fail(script, func(_ context.Context, r request) error {
		if err := r.deliver(); err != nil {
			return err // not executed: it lost nothing
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n == 0 {
			return nil
		}
		n--
		return io.EOF
	})
}

// freeze stops everything that the replica sends, as if its process did not get
// to run, until thaw is called. Then all of it goes out, late.
func (w *wire) freeze() (thaw func()) {
	on := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ice = on
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ice = nil
		close(on)
	})
}

// hold stops the next request of a script before it is sent, and says so. It
// goes on its way when resume is called, even if its caller no longer waits.
func (w *wire) hold(script *lua.Script) (held <-chan struct{}, resume func()) {
	return w.stop(script, false)
}

// holdReply does the same to the next reply.
func (w *wire) holdReply(script *lua.Script) (held <-chan struct{}, resume func()) {
	return w.stop(script, true)
}

func (w *wire) stop(script *lua.Script, after bool) (<-chan struct{}, func()) {
	stopped, on := make(chan struct{}), make(chan struct{})
	var first sync.Once
	w.fail(script, func(_ context.Context, r request) error {
		if after {
			if err := r.deliver(); err != nil {
				return err
			}
		}
		first.Do(func() { close(stopped); <-on })
		if after {
			return nil
		}
		return r.deliver()
	})
	return stopped, sync.OnceFunc(func() { close(on) })
}

// kill cuts the wire: from the point of view of everybody else the replica is
// dead. Nothing that it does from now on reaches the server.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// measure returns how many scripts are asked for while f runs, and what they
// send and receive, as text.
func (w *wire) measure(f func()) traffic {
	var sum traffic
	w.mu.Lock()
	w.meter = &sum
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meter = nil
	return sum
}

func (w *wire) count(cmd redis.Cmder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.meter != nil && scriptOf(cmd) != nil {
		w.meter.scripts++
		w.meter.bytes += size(cmd.Args())
		if script, ok := cmd.(interface{ Val() any }); ok {
			w.meter.bytes += size(script.Val())
		}
	}
}

// size is about how many bytes a request or a reply takes.
func size(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += 2 + size(item)
		}
		return n
	case *string:
		return len(*v)
	}
	return len(fmt.Sprint(v))
}

// scripts returns which of the given scripts were asked for, in order.
func (w *wire) scripts(of ...*lua.Script) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, s := range w.log {
		if slices.Contains(of, s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// admit notes a command and finds what to do with it.
func (w *wire) admit(cmd redis.Cmder) (fault, error) {
	script := scriptOf(cmd)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.ice != nil {
		ice := w.ice
		w.mu.Unlock()
		<-ice
		w.mu.Lock()
	}
	if w.cut {
		return nil, redis.ErrClosed
	}
	if script == nil {
		return nil, nil
	}
	w.log = append(w.log, script)
	return w.faults[script], nil
}

// ProcessHook is part of [redis.Hook].
func (w *wire) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f, err := w.admit(cmd)
		if err != nil || f == nil {
			if err == nil {
				err = next(ctx, cmd)
				w.count(cmd)
			}
			return err
		}
		return f(ctx, request{args: cmd.Args(), deliver: func() error {
			return next(context.WithoutCancel(ctx), cmd)
		}})
	}
}

// ProcessPipelineHook is part of [redis.Hook]. A fault on one of the commands
// is a fault of the whole pipeline: they share the connection.
func (w *wire) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		run := func() error { return next(ctx, cmds) }
		for _, cmd := range cmds {
			f, err := w.admit(cmd)
			if err != nil {
				run = func() error { return err }
				break
			}
			if f != nil {
				r := request{args: cmd.Args(), deliver: func() error { return next(context.WithoutCancel(ctx), cmds) }}
				run = func() error { return f(ctx, r) }
				break
			}
		}
		err := run()
		failed := func(cmd redis.Cmder) bool { return cmd.Err() != nil }
		if err != nil && !slices.ContainsFunc(cmds, failed) { // else it is the error of one of them, and each has its own
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// DialHook is part of [redis.Hook].
func (w *wire) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		w.mu.Lock()
		cut := w.cut
		w.mu.Unlock()
		if cut {
			return nil, redis.ErrClosed
		}
		return next(ctx, network, addr)
	}
}

// scriptOf returns the script that a command runs, or nil.
func scriptOf(cmd redis.Cmder) *lua.Script {
	args := cmd.Args()
	if len(args) < 2 {
		return nil
	}
	body, ok := args[1].(string)
	if !ok {
		return nil
	}
	switch strings.ToLower(cmd.Name()) {
	case "evalsha":
		for _, s := range lua.All {
			if s.SHA() == body {
				return s
			}
		}
	case "eval":
		for _, s := range lua.All {
			if s.Text() == body {
				return s
			}
		}
	}
	return nil
}

// deaf loses what a client publishes.
type deaf struct{}

func (deaf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.EqualFold(cmd.Name(), "publish") {
			return nil
		}
		return next(ctx, cmd)
	}
}

func (deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (deaf) DialHook(next redis.DialHook) redis.DialHook { return next }
