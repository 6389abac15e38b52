package store_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strconv"
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
	t        *testing.T
	seed     uint64
	server   *miniredis.Miniredis
	start    time.Time
	calm     time.Time     // from when on nothing goes wrong any more
	withheld atomic.Int64  // hand-outs without a hash
	far      time.Duration // the most that a request, or an answer, is on its way

	mu    sync.Mutex
	clock time.Time    // the server's
	taken map[int]bool // nanoseconds, see own
	log   []string
}

func newWorld(t *testing.T, seed uint64) *world {
	now := time.Now()
	w := &world{t: t, seed: seed, server: miniredis.NewMiniRedis(), start: now, clock: now, taken: map[int]bool{}}
	w.far = 2 * time.Millisecond << w.dice("far").IntN(5)
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

// own returns at, or the first moment after it that is nobody else's: no other
// was at the same nanosecond of its millisecond. The times that the store adds to
// a moment are whole milliseconds, so no two goroutines go on at one moment
// unless one thing has set off both. Only if those two then draw the same
// nanosecond, once in a million, is it left open who gets it.
func (w *world) own(at time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.taken[at.Nanosecond()%1e6] {
		at = at.Add(1)
	}
	w.taken[at.Nanosecond()%1e6] = true
	return at
}

// sleep waits until a moment of the caller's own.
func (w *world) sleep(d time.Duration) { time.Sleep(time.Until(w.own(time.Now().Add(d)))) }

// note adds a line to the log, with the time since the start.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%15.9f  ", time.Since(w.start).Seconds())+fmt.Sprintf(format, args...))
}

// logger puts what a store says into the log.
func (w *world) logger(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(noter{w, name}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "stack" || a.Key == "replica" { // its name was drawn before the simulation's
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

// A link is the network between one replica and the server. Each request
// arrives, and each answer, at a moment of its own.
type link struct {
	world *world
	name  string
	open  bool          // no delays and no faults: for the eye, and while a store is opened
	ghost *redis.Client // without a hook: delivers what its caller gave up waiting for
	dead  chan struct{} // closed when the replica has crashed
	pause []span        // when nothing gets through

	failed atomic.Int64 // requests that failed, or were long on their way

	mu    sync.Mutex
	count map[string]int // requests by name
}

// A span is a part of the virtual time.
type span struct{ from, to time.Time }

func newLink(w *world, name string) *link {
	return &link{world: w, name: name, dead: make(chan struct{}), count: map[string]int{}}
}

// dice draws for the next request of this name, the n-th.
func (l *link) dice(name string) (dice *mathrand.Rand, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[name]++
	return l.world.dice(l.name, name, l.count[name]), l.count[name]
}

// stagger sends a command of the store's at a moment of its own, and goes on
// with the answer at another. So the seed decides in what order those who call
// at one moment come to the store's sender, and in what order those go on whose
// commands shared a flight.
func (l *link) stagger(cmd redis.Cmder, send func() error) error {
	if l.open {
		return send()
	}
	dice, _ := l.dice("stagger " + describe(cmd))
	l.world.sleep(dur(dice.Int64N, time.Millisecond))
	defer func() { l.world.sleep(dur(dice.Int64N, time.Millisecond)) }()
	return send()
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
	label := describeAll(cmds)
	if label == "" || l.open {
		l.world.tick()
		return next()
	}
	dice, n := l.dice(label)
	fate, calm := dice.Float64(), !time.Now().Before(l.world.calm)
	arrives := time.Now().Add(50*time.Microsecond + dur(dice.Int64N, l.world.far))
	for _, p := range l.pause {
		if !arrives.Before(p.from) && arrives.Before(p.to) {
			arrives = p.to.Add(dur(dice.Int64N, 5*time.Millisecond))
		}
	}
	if !calm && fate > 0.9 {
		arrives = arrives.Add(dur(dice.Int64N, 20*l.world.far))
	}
	if time.Until(arrives) > simLease/4 {
		l.failed.Add(1)
	}
	arrives = l.world.own(arrives)
	back := 50*time.Microsecond + dur(dice.Int64N, l.world.far)
	late := dice.IntN(2) == 0

	err := l.until(ctx, arrives)
	switch {
	case l.crashed() && !late: // it died with the request in hand
	case err != nil && late && cmds[0].Name() == "evalsha":
		l.haunt(cmds, label, arrives)
	case err != nil:
	case !calm && fate < 0.03:
		err = fmt.Errorf("request lost: %w", io.EOF)
	default:
		l.world.tick()
		l.world.note("%s %s #%d", l.name, label, n)
		err = next()
		l.world.count(cmds)
		if e := l.until(ctx, l.world.own(time.Now().Add(back))); e != nil {
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
		l.failed.Add(1)
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
	}
	return err
}

// count counts the hand-outs without a hash.
func (w *world) count(cmds []redis.Cmder) {
	for _, cmd := range cmds {
		script, is := cmd.(interface{ Val() any })
		if !is || scriptName(text(cmd.Args()[1])) != "accept" {
			continue
		}
		if reply, _ := script.Val().([]any); len(reply) == 4 {
			if next, _ := reply[3].([]any); len(next) == 2 && next[0] == "hand" {
				w.withheld.Add(1)
			}
		}
	}
}

// describeAll names a request of one command or of several.
func describeAll(cmds []redis.Cmder) string {
	var names []string
	for _, cmd := range cmds {
		name := describe(cmd)
		if name == "" {
			return ""
		}
		names = append(names, name)
	}
	return strings.Join(names, " + ")
}

// describe names a command of the store's by what it asks for: all of its
// arguments, but for the call's number and its deadline. Others have no name.
func describe(cmd redis.Cmder) string {
	var args []string
	for _, arg := range cmd.Args() {
		args = append(args, text(arg))
	}
	name, key := args[0], ""
	switch name {
	case "publish", "hmget", "zrangebyscore", "zadd":
		key = args[1]
	case "evalsha", "eval":
		n, _ := strconv.Atoi(args[2])
		name, key = scriptName(args[1]), args[3]
		args = slices.Delete(args, 3+n, 3+n+2)
	default:
		return ""
	}
	h := fnv.New32a()
	fmt.Fprintf(h, "%q", args)
	return fmt.Sprintf("%s %s %08x", name, key[strings.LastIndexByte(key, ':')+1:], h.Sum32())
}

func scriptName(sha string) string {
	for _, s := range lua.All {
		if sha == s.SHA() || sha == s.Text() {
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

// until waits, unless ctx ends first.
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
