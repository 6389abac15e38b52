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

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

var (
	simulateSeed  = flag.Uint64("simulate.seed", 0, "the first `seed` of TestSimulation; without -simulate.seeds the only one, with its log")
	simulateSeeds = flag.Uint64("simulate.seeds", 0, "how many seeds TestSimulation runs; zero means 100")
)

// TestSimulation runs whole fleets in virtual time. A seed decides how many
// replicas and users there are, what users say, how long handlers take and how
// they fail, which requests and replies are lost, delayed, or delivered after
// their caller gave up, which replicas stand still for longer than their lease,
// die, or are shut down, and what operators do in between. Then the network is
// good, and when all is quiet the promises of doc.go are checked.
//
// Does a seed replay? All that is drawn is drawn by the seed and a name ("the
// second request of replica 3 to commit session 1"), never in the order in which
// goroutines come, and each request arrives at a nanosecond of its own. So about
// half of the seeds give the same log, line by line, again and again (see
// TestSimulationReplays). Two things of the store itself are not the seed's:
//
//   - its pauses (looks, back-offs, Update) come from math/rand/v2, which nobody
//     can seed. Where a pause begins with an answer, link makes it as long as it
//     can be; one that begins without a request, when none of the buckets is a
//     replica's to look at, is as long as it likes;
//   - of several goroutines that send at one moment, sender lets two fly alone
//     and the others together, whoever comes first.
//
// A finding is therefore printed with the whole log of its run, and with how
// often its seed fails when it runs again.
func TestSimulation(t *testing.T) {
	first, n := max(*simulateSeed, 1), *simulateSeeds
	switch {
	case n == 0 && *simulateSeed > 0:
		n = 1
	case n == 0:
		n = 100
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // each script makes a Lua state
	var next, failed atomic.Uint64
	var total simTally
	t.Run("seeds", func(t *testing.T) {
		for range min(runtime.GOMAXPROCS(0), int(n)) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for failed.Load() < 3 {
					i := next.Add(1) - 1
					if i >= n {
						return
					}
					seed := first + i
					done := false
					defer func() {
						if !done {
							t.Errorf("broken off: go test ./store -run 'TestSimulation$' -simulate.seed %d", seed)
						}
					}()
					s := simulate(t, seed)
					done = true
					total.add(s)
					if len(s.findings) > 0 {
						again, of := 0, 10
						for range of {
							again += min(len(simulate(t, seed).findings), 1)
						}
						t.Errorf("%s\ngo test ./store -run 'TestSimulation$' -simulate.seed %d   # failed %d times of %d again", strings.Join(s.findings, "\n"), seed, again, of)
					}
					if n == 1 || len(s.findings) > 0 && failed.Add(1) == 1 {
						t.Logf("the log of seed %d:\n%s", seed, strings.Join(s.log, "\n"))
					}
				}
			})
		}
	})
	total.log(t)
}

// What a seed draws is the same in every run. How often the whole log is, too,
// is only told.
func TestSimulationReplays(t *testing.T) {
	first, n, same := max(*simulateSeed, 1), min(max(*simulateSeeds, 10), 200), 0
	for seed := first; seed < first+n; seed++ {
		a, b := simulate(t, seed), simulate(t, seed)
		if slices.Equal(a.log, b.log) {
			same++
		}
		said := func(s *simulation) (all []string) {
			for _, u := range s.users {
				all = append(all, u.events...)
			}
			return all
		}
		if x, y := said(a), said(b); !slices.Equal(x, y) {
			t.Errorf("seed %d: users said %v, and then %v", seed, x, y)
		}
	}
	t.Logf("%d of %d seeds gave the same log twice", same, n)
}

// A simulation is one run.
type simulation struct {
	*world
	ctx      context.Context
	opts     store.BotOptions
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
	resets  bool   // an operator reset the session, so that its data tells nothing
	updates [2]int // that were certainly, and perhaps, made
}

type sending struct {
	user, key, text string
	seq             int64
	ok              bool
}

const (
	simLease  = 300 * time.Millisecond
	simCalm   = 4 * time.Second
	simQuiet  = 2 * time.Minute
	simWindow = time.Minute
)

func simulate(t *testing.T, seed uint64) (s *simulation) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s = &simulation{world: newWorld(t, seed), ctx: ctx, runs: map[string]int{}, tries: map[string]int{}}
		defer s.server.Close()
		s.calm = s.start.Add(simCalm)
		s.opts = store.BotOptions{
			Send: s.send, Lease: simLease, MaxTurn: 3 * time.Second, Grace: simLease / 2,
			MaxAttempts: 3, Backoff: 100 * time.Millisecond, Concurrency: 8, TTL: time.Hour, DedupeWindow: simWindow,
		}
		look := newLink(s.world, "eye")
		look.open = true
		client := s.connect(look)
		defer client.Close()
		for _, script := range lua.All {
			if err := client.ScriptLoad(ctx, script.Text).Err(); err != nil {
				t.Fatal(err)
			}
		}
		s.eyes = s.open(client, "eye")
		s.eye = s.eyes.Bot("bot", &s.opts)
		s.run()
	})
	slices.Sort(s.log) // lines of one moment come in any order
	return s
}

func (s *simulation) find(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findings = append(s.findings, fmt.Sprintf(format, args...))
}

func (s *simulation) open(client *redis.Client, name string) (st *store.Store) {
	s.named(name, func() {
		var err error
		buckets := 1 + s.dice("buckets").IntN(2)
		if st, err = store.New(s.ctx, client, &store.Options{
			Name: name, Buckets: buckets, Timeout: time.Second, Logger: s.logger(name),
		}); err != nil {
			s.t.Fatal(err)
		}
	})
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
	r.store = s.open(r.client, name)
	r.open = false
	r.not["reap"] = time.Now().Add(11 * time.Second)
	dice := s.dice("pauses", name)
	for range dice.IntN(3) {
		from := time.Now().Add(dur(dice.Int64N, 2500*time.Millisecond))
		until := from.Add(simLease/2 + dur(dice.Int64N, 5*simLease))
		if until.Before(s.calm) {
			r.pause = append(r.pause, span{from, until})
		}
	}
	r.bot, r.front = r.store.Bot("bot", &s.opts), r.store.Bot("bot", &s.opts)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(s.ctx)
	s.note("%s joins as %s", name, r.store.Name())
	s.serving.Go(func() { r.ended <- r.bot.Serve(ctx, s.handler(name)) })
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
// whose network failed may: it loses a turn somewhat before its lease ends.
func (s *simulation) handsBack(r *replica) {
	for _, u := range s.users {
		st, err := s.eye.Session(u.id).Status(s.ctx)
		if err == nil && r.failed.Load() == 0 && len(r.pause) == 0 && st.Lease.Work == session.WorkEvent && st.Lease.Held(st.Now) &&
			strings.HasPrefix(st.Lease.Holder, r.store.Name()) {
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
		u := &customer{id: fmt.Sprint("u", i)}
		s.users = append(s.users, u)
		users.Go(func() { s.talk(u) })
		users.Go(func() { s.operate(u) })
	}
	chaos.Go(s.chaos)
	users.Wait()
	chaos.Wait()
	s.late.Wait()
	time.Sleep(time.Until(s.calm))
	s.users = slices.DeleteFunc(s.users, func(u *customer) bool { // nothing was ever accepted: there is no session
		_, err := s.eye.Session(u.id).Load(s.ctx)
		return len(u.events) == 0 && errors.Is(err, session.ErrNotFound)
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
		time.Sleep(100*time.Millisecond + dur(dice.Int64N, time.Second))
		i := dice.IntN(len(s.replicas))
		dies := dice.IntN(3) > 0
		if len(s.replicas) == 1 || dice.IntN(2) == 0 {
			s.join()
			s.leave(i, dies)
			continue
		}
		s.leave(i, dies)
		time.Sleep(dur(dice.Int64N, 2*simLease))
		s.join()
	}
}
