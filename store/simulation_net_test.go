package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/lua"
)

// A world is one simulation's server, clock, network and log. Its time is that
// of a synctest bubble: it moves when everybody waits.
type world struct {
	t      *testing.T
	seed   uint64
	server *miniredis.Miniredis
	start  time.Time
	calm   time.Time // from when on nothing goes wrong any more

	mu    sync.Mutex
	clock time.Time // the server's
	log   []string
}

func newWorld(t *testing.T, seed uint64) *world {
	now := time.Now()
	w := &world{t: t, seed: seed, server: miniredis.NewMiniRedis(), start: now, clock: now}
	w.server.SetTime(now)
	return w
}

// dice returns a generator that depends on the seed and the name alone. What
// happens is drawn by name, so that it does not depend on what else happened
// first at the same moment.
func (w *world) dice(name ...any) *mathrand.Rand {
	h := fnv.New64a()
	fmt.Fprintln(h, name...)
	return mathrand.New(mathrand.NewPCG(w.seed, h.Sum64()))
}

// note adds a line to the log, with the time since the start.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%12.6f  ", time.Since(w.start).Seconds())+fmt.Sprintf(format, args...))
}

// logger puts what a store says into the log.
func (w *world) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(noter{w, name}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" {
			return slog.Attr{}
		}
		return a
	}}))
}

type noter struct {
	*world
	name string
}

func (n noter) Write(line []byte) (int, error) {
	n.note("%s says %s", n.name, strings.TrimSpace(string(line)))
	return len(line), nil
}

// tick brings the server's clock and its keys' lives up to the bubble's time.
func (w *world) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if d := now.Sub(w.clock); d > 0 {
		w.server.SetTime(now)
		w.server.FastForward(d)
		w.clock = now
	}
}

// connect returns a client of the simulated server, with the settings of
// store.ParseURL.
func (w *world) connect(hook redis.Hook) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Dialer:   func(context.Context, string, string) (net.Conn, error) { return w.server.Dial() },
		PoolSize: 200, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	if hook != nil {
		client.AddHook(hook)
	}
	return client
}

// A link is the network between one replica and the server. Each request takes
// a while, to the nanosecond, so that no two arrive at the same moment and the
// order of their arrival is the seed's.
type link struct {
	world *world
	name  string
	open  bool          // no delays and no faults: for the eye, and while a store is opened
	ghost *redis.Client // without a hook: delivers what its caller gave up waiting for
	dead  chan struct{} // closed when the replica has crashed
	pause []span        // when nothing gets through

	failed atomic.Int64 // requests

	mu    sync.Mutex
	count map[string]int       // requests by label
	not   map[string]time.Time // before which a label's next request does not leave: see leaves
}

// A span is a part of the virtual time.
type span struct{ from, to time.Time }

func newLink(w *world, name string) *link {
	return &link{world: w, name: name, dead: make(chan struct{}), count: map[string]int{}, not: map[string]time.Time{}}
}

func (l *link) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *link) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return l.carry(ctx, []redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
	}
}

func (l *link) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return l.carry(ctx, cmds, func() error { return next(ctx, cmds) })
	}
}

// carry takes commands to the server and brings their answers back, or not.
func (l *link) carry(ctx context.Context, cmds []redis.Cmder, next func() error) error {
	label, jitter, ops := describeAll(cmds)
	if label == "" || l.open {
		l.world.tick()
		return next()
	}
	n, leaves := l.leaves(label, ops)
	dice := l.world.dice(l.name, label, n)
	arrives := leaves.Add(50*time.Microsecond + time.Duration(dice.Int64N(int64(3*time.Millisecond))))
	fate := dice.Float64()
	calm := !leaves.Before(l.world.calm)
	for _, p := range l.pause {
		if !arrives.Before(p.from) && arrives.Before(p.to) {
			arrives = p.to.Add(time.Duration(dice.Int64N(int64(5 * time.Millisecond))))
		}
	}
	if !calm && fate > 0.9 {
		arrives = arrives.Add(time.Duration(dice.Int64N(int64(60 * time.Millisecond))))
	}
	back := time.Duration(50_000 + dice.Int64N(int64(2*time.Millisecond)))
	late := dice.IntN(2) == 0

	err := l.until(ctx, arrives)
	switch {
	case l.crashed() && !late: // it died with the request in hand
	case err != nil && late && len(ops) > 0:
		l.haunt(cmds, label, arrives)
	case err != nil:
	case !calm && fate < 0.03:
		err = fmt.Errorf("request lost: %w", io.EOF)
	default:
		l.world.tick()
		l.world.note("%s %s #%d", l.name, label, n)
		err = next()
		if e := l.until(ctx, time.Now().Add(back)); e != nil {
			err = e
		} else if !calm && fate < 0.07 {
			err = fmt.Errorf("reply lost: %w", io.EOF)
		}
	}
	if l.crashed() {
		err = l.until(ctx, time.Now().Add(time.Minute)) // nobody answers
		if err == nil {
			err = io.EOF
		}
	}
	if err != nil {
		l.world.note("%s %s #%d: %v", l.name, label, n, err)
	}
	l.done(label, jitter, ops, err)
	if err != nil {
		l.failed.Add(1)
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
	}
	return err
}

// leaves says when a request leaves, and how many of its label there were.
//
// The store draws its pauses from a generator that no test can seed. They have
// a most each, and here the pause always takes as long as that, counted from
// when the request before came back. So the seed alone decides.
func (l *link) leaves(label string, ops []string) (n int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[label]++
	at = time.Now()
	for _, key := range append(ops, label) {
		if not := l.not[key]; not.After(at) {
			at = not
		}
	}
	return l.count[label], at
}

func (l *link) done(label string, jitter time.Duration, ops []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if jitter > 0 {
		l.not[label] = time.Now().Add(jitter)
	}
	for _, op := range ops {
		delete(l.not, op)
		if err != nil {
			l.not[op] = time.Now().Add(200 * time.Millisecond) // the most of the store's back-off
		}
	}
}

// describeAll names a request of one command or of several.
func describeAll(cmds []redis.Cmder) (label string, jitter time.Duration, ops []string) {
	var labels []string
	for _, cmd := range cmds {
		l, op, j := describe(cmd)
		if l == "" {
			return "", 0, nil
		}
		labels, jitter = append(labels, l), j
		if op != "" {
			ops = append(ops, op)
		}
	}
	slices.Sort(labels) // callers that come at one moment queue in any order
	return strings.Join(slices.Compact(labels), " + "), jitter, ops
}

// describe names a request of the store's, with its call's id and the most that
// the pause before it may take. Others have no name.
func describe(cmd redis.Cmder) (label, op string, jitter time.Duration) {
	args := cmd.Args()
	if name := cmd.Name(); name != "evalsha" && name != "eval" {
		switch name {
		case "publish", "hmget", "zrangebyscore", "zadd":
			return name + " " + text(args[1]), "", 0
		}
		return "", "", 0
	}
	n := args[2].(int)
	label, op = scriptName(text(args[1])), text(args[3+n])
	first := text(args[3])
	label += " " + first[strings.LastIndexByte(first, ':')+1:]
	switch {
	case strings.HasPrefix(label, "look") && text(args[len(args)-1]) == "1":
		return "reap", "", 11 * time.Second
	case strings.HasPrefix(label, "look"):
		return "look", "", 1100 * time.Millisecond
	case strings.HasPrefix(label, "lease") && text(args[3+n+4]) == "update":
		return "update " + label, op, 60 * time.Millisecond
	}
	return label, op, 0
}

func scriptName(sha string) string {
	for _, s := range lua.All {
		if sha == s.SHA || sha == s.Text {
			return s.Name
		}
	}
	return sha
}

// text reads an argument of a command.
func text(arg any) string {
	switch arg := arg.(type) {
	case string:
		return arg
	case *string:
		return *arg
	}
	return fmt.Sprint(arg)
}

// until waits, unless ctx ends or the replica dies first.
func (l *link) until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (l *link) crashed() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

// haunt delivers scripts after their caller has given up: the network had them.
func (l *link) haunt(cmds []redis.Cmder, label string, at time.Time) {
	var copies [][]any
	for _, cmd := range cmds {
		var args []any
		for _, arg := range cmd.Args() {
			args = append(args, text(arg))
		}
		copies = append(copies, args)
	}
	go func() {
		_ = l.until(context.Background(), at)
		l.world.tick()
		for _, args := range copies {
			r, err := l.ghost.Do(context.Background(), args...).Slice()
			status := any(err)
			if len(r) > 0 {
				status = r[0]
			}
			l.world.note("%s %s late: %v", l.name, label, status)
		}
	}()
}

// named gives the calls of open, which makes a store, a name that the seed decides.
func (w *world) named(name string, open func()) {
	naming.Lock()
	defer naming.Unlock()
	before := rand.Reader
	defer func() { rand.Reader = before }()
	rand.Reader = source{w.dice("named", name)}
	open()
}

// naming guards rand.Reader, from which a store draws the end of its name.
var naming sync.Mutex

type source struct{ *mathrand.Rand }

func (s source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return len(b), nil
}
