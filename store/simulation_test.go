package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/stored"
)

var (
	simulateSeed  = flag.Uint64("simulate.seed", 0, "the first `seed` of TestSimulation; without -simulate.seeds the only one, with its log")
	simulateSeeds = flag.Uint64("simulate.seeds", 0, "how many seeds TestSimulation runs, zero means 100, and TestSimulationReplays, at least 10")
)

// TestSimulation runs whole fleets in virtual time. A seed decides how many
// replicas and users there are, with which codec and limit each replica writes,
// what users say, how long handlers take and how
// they fail, which requests and replies are lost, delayed, or delivered after
// their caller gave up, which replicas stand still for longer than their lease,
// die, or are shut down, whether the server falls back to an older state, what
// processes believe to know of sessions, and what operators do in between. Then the
// network is good, and when all is quiet the promises of doc.go are checked.
//
// A seed replays: the same seed gives the same log, line by line. All that is
// drawn is drawn by the seed and a name ("the second request of r3 to commit
// this turn"), never in the order in which goroutines come, and what a goroutine
// waits for comes at a nanosecond of its own. The store's own pauses depend on
// the moment, which is the seed's too (see store/internal/call/jitter.go).
func TestSimulation(t *testing.T) {
	n := max(*simulateSeeds, 1)
	if *simulateSeeds == 0 && *simulateSeed == 0 {
		n = 100
	}
	var total simTally
	var shown atomic.Bool
	eachSeed(t, n, func(t *testing.T, seed uint64) bool {
		s := simulate(t, seed)
		total.add(s)
		if len(s.findings) > 0 {
			t.Errorf("%s\ngo test ./store -run 'TestSimulation$' -simulate.seed %d", strings.Join(s.findings, "\n"), seed)
		}
		if n == 1 || len(s.findings) > 0 && shown.CompareAndSwap(false, true) {
			t.Logf("the log of seed %d:\n%s", seed, strings.Join(s.log, "\n"))
		}
		return len(s.findings) == 0
	})
	total.log(t)
}

func TestSimulationReplays(t *testing.T) {
	eachSeed(t, max(*simulateSeeds, 10), func(t *testing.T, seed uint64) bool {
		first, second := simulate(t, seed), simulate(t, seed)
		a, b := slices.Concat(first.log, first.findings), slices.Concat(second.log, second.findings)
		i := 0
		for i < min(len(a), len(b)) && a[i] == b[i] {
			i++
		}
		same := i == len(a) && i == len(b)
		if !same {
			few := func(lines []string) string { return strings.Join(lines[i:min(i+5, len(lines))], "\n") }
			t.Errorf("seed %d: line %d and the next were\n%s\nand then\n%s", seed, i+1, few(a), few(b))
		}
		return same
	})
}

// eachSeed does something for n seeds, as many at once as there are processors,
// until it has failed for three.
func eachSeed(t *testing.T, n uint64, do func(t *testing.T, seed uint64) (ok bool)) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // each script makes a Lua state
	var next, failed atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), int(n)) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				seed, done := uint64(0), true
				defer func() {
					if !done {
						t.Errorf("broken off: -simulate.seed %d", seed)
					}
				}()
				for i := next.Add(1) - 1; i < n && failed.Load() < 3; i = next.Add(1) - 1 {
					seed, done = max(*simulateSeed, 1)+i, false
					if !do(t, seed) {
						failed.Add(1)
					}
					done = true
				}
			})
		}
	})
}

// A simulation is one run.
type simulation struct {
	*world
	ctx      context.Context
	opts     store.BotOptions
	brings   store.ServeOptions
	eye      *store.Bot // on a good network
	eyes     *store.Store
	replicas []*replica // those that serve
	made     int
	users    []*customer
	findings []string

	runs    map[string]int // of the handler, by event
	sends   []sending      // in the order in which they began
	tries   map[string]int // to send, by key
	stats   simTally
	undone  span           // see failOver; zero if there is none
	brisk   bool           // users say much, and handlers are quick: then processes know records
	serving sync.WaitGroup // what belongs to replicas
	late    sync.WaitGroup // duplicates
}

// A replica is one process of the fleet.
type replica struct {
	*link
	client *redis.Client
	store  *store.Store
	bot    *store.Bot
	front  *store.Bot // the same bot, not served: its events need somebody to be woken
	stop   context.CancelFunc
	ended  chan error
}

// A customer is one user of the bot: what was accepted, in order.
type customer struct {
	id      string
	events  []string
	resets  bool            // an operator reset the session, so that its data tells nothing
	updates []span          // in which an Update was made for certain
	perhaps int             // Updates that were made, or perhaps
	letters map[string]bool // events whose dead letters an operator took: true for those that were discarded, or perhaps
	when    map[string]span // from an event's first delivery until it was known to be accepted
}

type sending struct {
	user, key, text string
	seq             int64
	ok              bool
}

const (
	simLease  = 300 * time.Millisecond
	simLong   = 3 * time.Second // a turn ends by commit up to a second before its lease does
	simCalm   = 4 * time.Second
	simQuiet  = 2 * time.Minute
	simWindow = time.Minute
	simWait   = 5 * time.Second
	simSmall  = 24 // bytes: less than an event has, more than a reply
)

func simulate(t *testing.T, seed uint64) (s *simulation) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s = &simulation{world: newWorld(t, seed), ctx: ctx, runs: map[string]int{}, tries: map[string]int{}}
		defer s.server.Close()
		s.brisk = s.dice("brisk").IntN(3) == 0
		s.calm = s.start.Add(simCalm)
		ttl := []time.Duration{time.Hour, -1}[s.dice("ttl").IntN(2)] // for ever: then the records of two turns differ in little
		s.opts = store.BotOptions{MaxAttempts: 3, Backoff: 100 * time.Millisecond, MaxWait: simWait, TTL: ttl, DedupeWindow: simWindow}
		s.brings = store.ServeOptions{Send: s.send, Grace: simLease / 2, Concurrency: 8}
		look := newLink(s.world, "eye")
		look.open = true
		client := s.connect(look)
		defer client.Close()
		for _, script := range lua.All {
			if err := client.ScriptLoad(ctx, script.Text()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		s.server.HSet("bs:meta", "layout", fmt.Sprint(stored.Layout), "buckets", fmt.Sprint(1+s.dice("buckets").IntN(2)), "id", "simulated")
		s.eyes = s.open(look, client, look.name, store.Options{})
		s.eye = botWith(t, s.eyes, "bot", s.opts, s.brings)
		s.run()
	})
	slices.Sort(s.log) // lines of one nanosecond come in any order
	return s
}

func (s *simulation) find(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findings = append(s.findings, fmt.Sprintf(format, args...))
}

func (s *simulation) open(l *link, client *redis.Client, name string, opts store.Options) *store.Store {
	opts.Timeout, opts.Lease, opts.MaxTurn, opts.Logger = time.Second, simLease, 3*time.Second, s.logger(l.name)
	if s.brisk {
		opts.Lease = simLong
	}
	st, err := store.New(s.ctx, client, &opts)
	if err != nil {
		s.t.Fatal(err)
	}
	st.Simulate(name, l.stagger)
	return st
}

// join adds a replica to the fleet.
func (s *simulation) join() {
	s.mu.Lock()
	s.made++
	name := fmt.Sprint("r", s.made)
	s.mu.Unlock()
	r := &replica{link: newLink(s.world, name), ended: make(chan error, 1)}
	r.open, r.client, r.ghost = true, s.connect(r), s.connect(nil)
	// Processes may differ in what they write with, and in what they take in.
	choice := s.dice("options", name)
	opts := store.Options{Codec: []codec.Codec{codec.Msgpack, codec.JSON}[choice.IntN(2)]}
	if choice.IntN(4) == 0 {
		opts.MaxValue = simSmall
	}
	r.store = s.open(r.link, r.client, name, opts)
	r.bot = botWith(s.t, r.store, "bot", s.opts, s.brings)
	r.front = botWith(s.t, s.open(r.link, r.client, "front-"+name, opts), "bot", s.opts, s.brings)
	r.open = false
	dice := s.dice("pauses", name)
	for range dice.IntN(3) {
		from := time.Now().Add(dur(dice.Int64N, 2500*time.Millisecond))
		until := from.Add(simLease/2 + dur(dice.Int64N, 5*simLease))
		if until.Before(s.calm) {
			r.pause = append(r.pause, span{from, until})
		}
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(s.ctx)
	s.note("%s joins", name)
	brings := s.brings
	brings.Eager = choice.IntN(2) == 0
	s.serving.Go(func() { r.ended <- r.bot.Serve(ctx, s.handler(r), &brings) })
	s.mu.Lock()
	s.replicas = append(s.replicas, r)
	s.mu.Unlock()
}

// dur draws a duration under most.
func dur(n func(int64) int64, most time.Duration) time.Duration { return time.Duration(n(int64(most))) }

// leave takes a replica out of the fleet: it is shut down, or dies.
func (s *simulation) leave(i int, dies bool) {
	s.mu.Lock()
	r := s.replicas[i]
	s.replicas = slices.Delete(s.replicas, i, i+1)
	s.mu.Unlock()
	if dies {
		s.note("%s dies", r.name)
		close(r.dead)
		s.stats.crashes++
	} else {
		s.note("%s is shut down", r.name)
		defer s.handsBack(r)
		if time.Now().Before(s.calm) {
			s.stats.shutdowns++
		}
	}
	r.stop()
	if err := <-r.ended; err != nil {
		s.find("%s: Serve ended with %v", r.name, err)
	}
	s.note("%s has ended", r.name)
	// What was on its way may still want the connections.
	s.serving.Go(func() {
		time.Sleep(10 * time.Second)
		r.client.Close()
		r.ghost.Close()
	})
}

// handsBack checks that a replica which has ended holds no session's event. One
// whose network failed, or was slow, may: it loses a turn somewhat before its lease ends.
func (s *simulation) handsBack(r *replica) {
	for _, u := range s.users {
		st, err := s.eye.Session(u.id).Status(s.ctx)
		if err == nil && s.undoes().from.IsZero() && r.failed.Load() == 0 && len(r.pause) == 0 && st.Lease.Work == session.WorkEvent && st.Lease.Held(st.Now) &&
			st.Lease.Holder == r.name {
			s.find("%s has ended, and holds %s: %+v", r.name, u.id, st.Lease)
		}
	}
}

// any returns a replica that serves.
func (s *simulation) any(pick int) *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replicas[pick%len(s.replicas)]
}

func (s *simulation) run() {
	plan := s.dice("plan")
	for range 2 + plan.IntN(3) {
		s.join()
	}
	var users, chaos sync.WaitGroup
	for i := range 1 + plan.IntN(5) {
		u := &customer{id: fmt.Sprint("u", i), when: map[string]span{}}
		s.users = append(s.users, u)
		users.Go(func() { s.talk(u) })
		users.Go(func() { s.operate(u) })
	}
	chaos.Go(s.chaos)
	chaos.Go(s.failOver)
	chaos.Go(s.mixUp)
	users.Wait()
	chaos.Wait()
	s.late.Wait()
	time.Sleep(time.Until(s.calm))
	s.users = slices.DeleteFunc(s.users, func(u *customer) bool { // nothing was ever accepted, or it is forgotten: there is no session
		_, err := s.eye.Session(u.id).Load(s.ctx)
		return len(s.certain(u)) == 0 && errors.Is(err, session.ErrNotFound)
	})
	s.settle()
	s.check()
	for len(s.replicas) > 0 {
		s.leave(0, false)
	}
	s.checkEmpty()
	s.serving.Wait()
}

// chaos lets replicas die and stop, and others come.
func (s *simulation) chaos() {
	dice := s.dice("chaos")
	for range dice.IntN(4) {
		s.sleep(100*time.Millisecond + dur(dice.Int64N, time.Second))
		i := dice.IntN(len(s.replicas))
		dies := dice.IntN(3) > 0
		if len(s.replicas) == 1 || dice.IntN(2) == 0 {
			s.join()
			s.leave(i, dies)
			continue
		}
		s.leave(i, dies)
		s.sleep(dur(dice.Int64N, 2*simLease))
		s.join()
	}
}
