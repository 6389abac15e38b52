package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/store"
)

// A work is one kind of turn whose instructions are counted, of ours and of a
// floor that does the same. The zero value is the turn of all other tables.
type work struct {
	name     string
	text     int  // bytes of an event, nearly all of them its text; zero: as in the dialogues
	limit    int  // HistoryLimit, of a chat that has reached it
	replicas int  // that the turns of each session go to one after the other; zero: one
	send     bool // the reply is sent, and noted as sent
	minute   bool // the session was last active in an earlier minute
	fresh    bool // the session does not exist yet
	watch    bool // somebody watches the bot
	eager    bool // ServeOptions.Eager
}

const (
	workBase = "a turn"
	workSend = "with Send"

	workEager     = "eager"
	workEagerSend = "eager, with Send"

	workBuckets = 1   // so that the looks of an idle replica, which a slow server would count too, are few
	workUsers   = 64  // that make the turns, where they need not be one each
	workCallers = 4   // at once: fewer than elsewhere, since a caller that waits long for a slow server begins to ask
	workChat    = 100 // messages of a session
)

var works = []work{
	{name: workBase},
	{name: workSend, send: true},
	{name: "turns a minute apart", minute: true},
	{name: "events of 1 KiB", text: 1 << 10},
	{name: "events of 4 KiB", text: 4 << 10},
	{name: "HistoryLimit 100, a full chat", limit: workChat},
	{name: "three replicas in turn", replicas: 3},
	{name: "a new user's first message", fresh: true},
	{name: "one watcher", watch: true},
	{name: workEager, eager: true},
	{name: workEagerSend, eager: true, send: true},
}

// A counting is how many instructions the server ran for a turn.
type counting struct {
	Work  string  `json:"work"`
	Turns int     `json:"turns"`
	Ours  float64 `json:"ours"`
	Floor float64 `json:"floor"`
	Error string  `json:"error,omitempty"`
}

// count has each kind of turn counted, always on servers of our own.
func (b *bench) countings(ctx context.Context) (found []*counting, err error) {
	for _, w := range works {
		c := &counting{Work: w.name, Turns: b.config.turns}
		found = append(found, c)
		for _, side := range []struct {
			name string
			open func(context.Context, env) (instance, error)
			to   *float64
		}{{nameFloor, openFloor(w), &c.Floor}, {nameOurs, openWork(w), &c.Ours}} {
			b.say("instructions, %s: %s", w.name, side.name)
			if *side.to, err = b.instructions(ctx, w, side.open); err != nil {
				c.Error = side.name + ": " + err.Error()
			}
			if err := ctx.Err(); err != nil {
				return found, err
			}
		}
		if errors.Is(err, errNoCallgrind) {
			b.say("")
			fmt.Fprintln(b.progress, "NOT MEASURED, the server's instructions:", err)
			break // the same for all of them
		}
	}
	b.say("")
	return found, nil
}

// instructions counts what the server runs for a turn, of a fixed number of turns.
func (b *bench) instructions(ctx context.Context, w work, open func(context.Context, env) (instance, error)) (each float64, err error) {
	s, counter, err := startCounted(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	inner := newBench(s, b.data, b.config, b.progress)
	e := inner.env()
	script := b.data.flat()
	if w.text > 0 {
		script = lengthened(script, w.text)
		for _, x := range script {
			e.turns[x.Text] = x
		}
	}
	in, err := open(ctx, e)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.close()) }()

	turns, users, rounds := b.config.turns, workUsers, 1
	switch {
	case w.fresh:
		users = turns
	case w.minute: // each round waits for a minute to be over
		rounds = max(1, turns/256)
		turns = rounds * users
	}
	all := make([]string, users)
	for i := range all {
		all[i] = "user-" + strconv.Itoa(i)
	}
	warm := max(1, w.replicas) // turns of each session before, so that every replica has its connections
	switch {
	case w.fresh:
		others := make([]string, workCallers)
		for i := range others {
			others[i] = "other-" + strconv.Itoa(i)
		}
		err = talk(ctx, in, others, script, warm)
	default:
		err = in.prepare(ctx, all, script[:workChat/2])
	}
	if b.config.others > 0 && err == nil {
		others := make([]string, b.config.others)
		for i := range others {
			others[i] = "idle-" + strconv.Itoa(i)
		}
		err = in.prepare(ctx, others, script[:1])
	}
	if err != nil {
		return 0, fmt.Errorf("prepare: %w", err)
	}
	// All turns are in the minute of the session's last turn, or none is; the floor
	// does not care.
	_, cares := in.(*team)
	for round := range rounds {
		need := 5*time.Second + time.Duration(turns)*10*time.Millisecond
		left := time.Minute - time.Since(time.Now().Truncate(time.Minute))
		if cares && (w.minute || left < min(need, 50*time.Second)) {
			if err := pause(ctx, left+100*time.Millisecond); err != nil {
				return 0, err
			}
		}
		if !w.minute && !w.fresh {
			if err := talk(ctx, in, all, script, warm); err != nil {
				return 0, err
			}
		}
		if err := counter.begin(ctx); err != nil {
			return 0, err
		}
		if err := talk(ctx, in, all, script[round:], turns/users/rounds); err != nil {
			return 0, err
		}
		// A reply is noted as sent after the turn.
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return 0, err
		}
		count, err := counter.end(ctx)
		if err != nil {
			return 0, err
		}
		each += float64(count) / float64(turns)
	}
	return each, nil
}

// talk makes n turns of each user, by many callers with users of their own.
func talk(ctx context.Context, in instance, users []string, script []exchange, n int) error {
	failures := make([]error, workCallers)
	var wg sync.WaitGroup
	for caller := range workCallers {
		wg.Go(func() {
			for turn := range n {
				for i := caller; i < len(users); i += workCallers {
					if failures[caller] = in.turn(ctx, users[i], script[(i+turn)%len(script)]); failures[caller] != nil {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

// lengthened returns the exchanges with texts that make events of so many bytes.
func lengthened(script []exchange, event int) []exchange {
	const others = 100 // bytes of an event beside its text
	long := make([]exchange, len(script))
	for i, x := range script {
		x.Text += " " + strings.Repeat("and so on ", event/10)
		x.Text = x.Text[:event-others]
		long[i] = x
	}
	return long
}

// openWork opens ours for one kind of turn.
func openWork(w work) func(context.Context, env) (instance, error) {
	return func(ctx context.Context, e env) (_ instance, err error) {
		t := &team{}
		for range max(1, w.replicas) {
			o, err := newOurs(ctx, e, settings{send: w.send, limit: w.limit, buckets: workBuckets, eager: w.eager})
			if err != nil {
				return nil, errors.Join(err, t.close())
			}
			t.replicas = append(t.replicas, o)
		}
		if w.watch {
			err = t.watch(ctx)
		}
		return t, err
	}
}

// A team is some replicas of ours, to which turns go one after the other, and
// perhaps a watcher.
type team struct {
	replicas []*ours
	next     atomic.Int64
	watching func() error // ends it
	seen     atomic.Int64 // notices
}

func (t *team) turn(ctx context.Context, user string, x exchange) error {
	return t.replicas[int(t.next.Add(1))%len(t.replicas)].turn(ctx, user, x)
}

func (t *team) prepare(ctx context.Context, users []string, chat []exchange) error {
	return t.replicas[0].prepare(ctx, users, chat)
}

func (t *team) close() (err error) {
	if t.watching != nil {
		err = t.watching()
	}
	for _, o := range t.replicas {
		err = errors.Join(err, o.close())
	}
	return err
}

// watch begins to watch, and returns when notices come.
func (t *team) watch(ctx context.Context) error {
	bot := t.replicas[0].bot
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		for _, err := range bot.Watch(watching) {
			if err != nil && watching.Err() == nil {
				ended <- err
				return
			}
			t.seen.Add(1)
		}
		ended <- nil
	}()
	t.watching = func() error {
		stop()
		return <-ended
	}
	for i := 0; t.seen.Load() == 0; i++ {
		if i == 500 {
			return errors.New("the watcher hears nothing")
		}
		if _, err := bot.Session("seen-"+strconv.Itoa(i)).Create(ctx, store.Origin{}); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// errNoCallgrind is returned where the programs that count are not installed.
var errNoCallgrind = errors.New("valgrind with callgrind_control is not installed")

// A counter is a server's callgrind, which counts from each begin to its end.
type counter struct {
	pid  string
	dir  string
	ends int
}

// startCounted starts a Redis of our own under callgrind, which does not count yet.
func startCounted(ctx context.Context) (*server, *counter, error) {
	for _, program := range []string{"valgrind", "callgrind_control"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, nil, errNoCallgrind
		}
	}
	dir, err := os.MkdirTemp("", "benchmark-callgrind-")
	if err != nil {
		return nil, nil, err
	}
	s, err := startProgram(ctx, []string{"valgrind", "--tool=callgrind", "--instr-atstart=no",
		"--callgrind-out-file=" + filepath.Join(dir, "out"), "redis-server"})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop := s.stop
	s.stop = func() error { return errors.Join(stop(), os.RemoveAll(dir)) }
	return s, &counter{pid: strconv.Itoa(s.pid), dir: dir}, nil
}

func (c *counter) control(ctx context.Context, args ...string) error {
	said, err := exec.CommandContext(ctx, "callgrind_control", append(args, c.pid)...).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "OK") {
		return fmt.Errorf("callgrind_control %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

func (c *counter) begin(ctx context.Context) error { return c.control(ctx, "--instr=on") }

// end stops the counting and returns the number of instructions since begin.
func (c *counter) end(ctx context.Context) (int64, error) {
	if err := errors.Join(c.control(ctx, "--dump"), c.control(ctx, "--instr=off")); err != nil {
		return 0, err
	}
	c.ends++
	file, err := os.Open(filepath.Join(c.dir, "out."+strconv.Itoa(c.ends)))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "totals: "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("callgrind wrote no total")
}
