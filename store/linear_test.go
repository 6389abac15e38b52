package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/faultnet"
	"github.com/botsession/botsession/store/internal/redistest"
)

// Clients call, and a fleet handles events, on a bad network and while replicas
// die. What each was told, and when, is checked against a session to which one
// thing happens at a time: against the model in linear_model_test.go.
// linear_acts_test.go has the calls, and linear_broken_test.go shows what the
// checker finds in what is wrong.
//
// A call of unknown outcome has happened by the time it returns, or never will:
// that is promised, and so it is not left open until the end of the history.

var linearOps = flag.Int("linear.ops", 100_000, "how many operations are checked for linearizability")

// The size of a history: what the checker needs grows with it out of proportion.
const (
	clients   = 4  // of one session
	acts      = 18 // of each of them
	sessions  = 36 // at once
	replicas  = 3
	faultRate = 0.004 // of a script; those that share its pipeline suffer with it
	deathRate = 700 * time.Millisecond
)

// A mortal is a replica that serves: a store of its own, behind a proxy of its own.
type mortal struct {
	net  *faultnet.Proxy
	bot  *store.Bot
	stop context.CancelFunc
}

// A lifetime is the run of a fleet whose replicas die and are replaced.
type lifetime struct {
	t     *testing.T
	addr  string
	spoil spoiler // breaks what the replicas send; nil: nothing
	near  *store.Bot
	fleet [replicas]atomic.Pointer[mortal]
	serve sync.WaitGroup
	epoch time.Time
	over  context.CancelFunc // what is wrong was found

	mu      sync.Mutex
	kinds   map[string]int // of operations: "set: done"
	slowest time.Duration  // of the verdicts

	round, checked, unsure, struck atomic.Int64
	failed                         atomic.Int64 // acts that were certainly not done
	wrong                          atomic.Pointer[[]porcupine.Operation]
	undecided                      atomic.Int64 // sessions whose history is too unsure to decide in time
}

func TestConcurrentCallsAndTurnsAreLinearizable(t *testing.T) {
	t.Parallel()
	l := newLifetime(t, nil)
	began := time.Now()
	total := *linearOps
	if testing.Short() {
		total = min(total, 10_000)
	}
	deaths := l.run(total)
	if h := l.wrong.Load(); h != nil {
		t.Errorf("not linearizable:\n%s", transcript(*h))
	}
	// On a busy machine many calls time out, and each unknown outcome doubles what the
	// checker must try: now and then that is too much for it. It must not be the rule.
	if n := l.undecided.Load(); n*50 > l.round.Load() {
		t.Errorf("%d of %d sessions were not decided within %v", n, l.round.Load(), checkLimit)
	}
	n := l.checked.Load()
	t.Logf("%d operations in %d sessions checked (%d sessions not decided) in %v; %d with an unknown outcome, %d failed, %d faults, %d replicas died; slowest verdict %v",
		n, l.round.Load(), l.undecided.Load(), time.Since(began).Round(time.Millisecond), l.unsure.Load(), l.failed.Load(), l.struck.Load(), deaths, l.slowest.Round(time.Millisecond))
	t.Log(l.kinds)
	if t.Failed() || total < 10_000 {
		return
	}
	for verb, results := range map[string]string{
		"create": "done, unknown outcome", "set": "done, not found, unknown outcome", "delete": "done, not found, unknown outcome",
		"flag": "done, not found, unknown outcome", "move": "done, not found, wrong state, unknown outcome",
		"apply": "done, not found, unknown outcome", "record": "done, not found, unknown outcome", "load": "done, not found",
		"history": "done, not found", "reset": "done, not found, unknown outcome", "destroy": "done, not found",
		"update": "done, not found, unknown outcome", "accept": "done, duplicate, unknown outcome", "turn": "done", "outcome": "done handled, done dropped",
	} {
		for result := range strings.SplitSeq(results, ", ") {
			if l.kinds[verb+": "+result] == 0 {
				t.Errorf("no %s ended with %q: that is too few to tell anything", verb, result)
			}
		}
	}
}

func newLifetime(t *testing.T, spoil spoiler) *lifetime {
	l := &lifetime{t: t, addr: strings.TrimPrefix(redistest.Single(t), "redis://"), spoil: spoil, epoch: time.Now(), kinds: map[string]int{}}
	st, _ := openLab(t, l.addr, "linear", patience, patience, mortalLease)
	l.near = newBot(t, st, false)
	return l
}

const mortalLease = 250 * time.Millisecond

func newBot(t *testing.T, st *store.Store, eager bool) *store.Bot {
	return botWith(t, st, "bot", store.BotOptions{Initial: "s0", Backoff: 5 * time.Millisecond, MaxAttempts: 1000},
		store.ServeOptions{Grace: 50 * time.Millisecond, Eager: eager})
}

// run has total operations done and checked, or until one history is wrong. It
// returns how many replicas have died.
func (l *lifetime) run(total int) (deaths int) {
	ctx, cancel := context.WithCancel(l.t.Context())
	defer bounded.Wait(l.t, "all replicas end", &l.serve)
	defer cancel()
	random := rand.New(rand.NewPCG(seed(l.t), 0))
	for i := range l.fleet {
		l.replace(ctx, i, random.Uint64())
	}
	l.serve.Go(func() { // one replica that nothing disturbs, so that what the dead leave is soon found
		for ctx.Err() == nil {
			_, _ = l.near.Drain(ctx, handle, with(l.near))
			time.Sleep(50 * time.Millisecond)
		}
	})
	var work sync.WaitGroup
	working, enough := context.WithCancel(ctx)
	l.over = enough
	defer enough()
	for range sessions {
		first := random.Uint64()
		work.Go(func() {
			random := rand.New(rand.NewPCG(first, 1))
			for l.checked.Load() < int64(total) && working.Err() == nil {
				l.session(working, random)
			}
		})
	}
	over := make(chan struct{})
	go func() { work.Wait(); close(over) }()
	end := time.Now().Add(20 * time.Minute)
	for {
		select {
		case <-over:
			for i := range l.fleet {
				l.struck.Add(int64(l.fleet[i].Load().net.Counts().Struck))
			}
			return deaths
		case <-time.After(deathRate):
			if time.Now().After(end) {
				l.t.Fatal("not all sessions are done after 20 minutes")
			}
			for i := range l.fleet {
				l.fleet[i].Load().net.Release()
			}
			l.replace(ctx, deaths%replicas, random.Uint64())
			deaths++
		}
	}
}

// replace ends a replica in the middle of what it does, and starts another.
func (l *lifetime) replace(ctx context.Context, i int, seed uint64) {
	if old := l.fleet[i].Load(); old != nil {
		l.struck.Add(int64(old.net.Counts().Struck))
		old.net.Close()
		old.stop()
	}
	r := &mortal{net: faultnet.New(l.t, l.addr)}
	st, client := openLab(l.t, r.net.Addr(), "linear", 100*time.Millisecond, 300*time.Millisecond, mortalLease)
	if l.spoil != nil {
		client.AddHook(l.spoil)
	}
	r.bot = newBot(l.t, st, seed%2 == 0)
	ctx, r.stop = context.WithCancel(ctx)
	l.serve.Go(func() {
		if err := r.bot.Serve(ctx, handle, with(r.bot)); err != nil {
			l.t.Errorf("Serve: %v", err)
		}
	})
	r.net.Random(seed, faultRate, append(slices.Clone(allFaults), faultnet.Cuts...)...)
	l.fleet[i].Store(r)
}

// handle is the bot. The model's "turn" does the same.
func handle(_ context.Context, t *store.Turn) error {
	id, plan, arg := planOf(t.Event().Text)
	n, _ := counter.Get(t)
	line := lineOf("re "+id, n, t.State())
	switch plan {
	case "fail":
		if t.Attempt() == 1 {
			return errNo
		}
	case "slow":
		time.Sleep(5 * time.Millisecond)
	case "move":
		t.Move(arg)
	case "set":
		t.Set(keyNames[0], id)
	case "reset":
		t.Reset(session.Reset(arg))
		n = 0
	}
	counter.Set(t, n+1)
	t.Record(session.Message{Content: line})
	return nil
}

// A past is what one session's clients did, and were told.
type past struct {
	*lifetime
	id   string
	wait sync.WaitGroup

	mu      sync.Mutex
	history []porcupine.Operation
	events  []delivery
}

type delivery struct {
	text  string
	first int64 // when it was offered first
	ended bool  // its turn is in the history, or never was
}

func (l *lifetime) now() int64 { return int64(time.Since(l.epoch)) }

// session lets a few clients loose on a fresh session, and checks what they saw.
func (l *lifetime) session(ctx context.Context, random *rand.Rand) {
	p := &past{lifetime: l, id: fmt.Sprint(l.round.Add(1))}
	var work sync.WaitGroup
	for c := range clients {
		random := rand.New(rand.NewPCG(random.Uint64(), 2))
		work.Go(func() {
			for i := range acts {
				a := p.draw(random, fmt.Sprint(c, ".", i))
				limit := time.Second
				if random.IntN(20) == 0 {
					limit = time.Duration(random.IntN(20)) * time.Millisecond
				}
				p.do(ctx, l.fleet[random.IntN(replicas)].Load().bot, c, a, limit)
			}
		})
	}
	work.Wait()
	p.wait.Wait()
	for i := range p.events {
		if !p.events[i].ended {
			p.await(ctx, clients, i, l.near.Receipt(p.id, p.events[i].id()), patience)
		}
	}
	p.do(ctx, l.near, clients, act{verb: "load"}, patience)
	p.do(ctx, l.near, clients, act{verb: "history", on: true}, patience)
	if ctx.Err() == nil {
		l.judge(p.history)
	}
}

func (d delivery) id() string { id, _, _ := planOf(d.text); return id }

func (l *lifetime) judge(history []porcupine.Operation) {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	began := time.Now()
	v := verdict(history)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, took)
	for _, o := range history {
		a, r := o.Input.(act), o.Output.(result)
		kind := a.verb + ": " + r.what
		if a.verb == "outcome" {
			kind += " " + r.said
		}
		l.kinds[kind]++
	}
	switch v {
	case porcupine.Illegal:
		l.wrong.CompareAndSwap(nil, &history)
		l.over()
	case porcupine.Unknown:
		if l.undecided.Add(1) > 20 {
			l.over()
		}
		return
	}
	l.checked.Add(int64(len(history)))
}

// do does one act, and records it unless it was certainly not done.
func (p *past) do(ctx context.Context, bot *store.Bot, client int, a act, limit time.Duration) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	call := p.now()
	r, receipt, err := perform(within, bot, p.id, a)
	p.record(client, a, r, call)
	if r.what == unknown { // what came of it bounds what the checker must try
		p.do(ctx, p.near, client, act{verb: "load"}, patience)
	}
	if r.what == "" && bot == p.near && ctx.Err() == nil {
		p.t.Errorf("%s on a good network: %v", a.verb, err)
	}
	if receipt != nil {
		p.wait.Go(func() { // if this replica cannot tell, another can: the sooner, the less the checker must try
			if !p.await(ctx, client, a.event, receipt, lease) {
				p.await(ctx, client, a.event, p.near.Receipt(p.id, receipt.EventID), patience)
			}
		})
	}
}

func (p *past) record(client int, a act, r result, call int64) {
	switch r.what {
	case "":
		p.failed.Add(1)
		return
	case unknown:
		p.unsure.Add(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = append(p.history, porcupine.Operation{ClientId: client, Input: a, Output: r, Call: call, Return: p.now()})
}

// await learns how an event ended. The first to learn of its turn records that:
// it happened since the event was offered first. It reports whether anything was
// learnt.
func (p *past) await(ctx context.Context, client, event int, receipt *store.Receipt, limit time.Duration) bool {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	call := p.now()
	o, err := receipt.Wait(within)
	what := string(o.Status)
	switch {
	case errors.Is(err, session.ErrNotFound):
		what = "none"
	case err != nil && limit == patience && ctx.Err() == nil:
		what = fmt.Sprint("lost: ", err) // which the model knows nothing of
	case err != nil:
		return false
	}
	p.mu.Lock()
	d := &p.events[event]
	turn := !d.ended && what == "handled"
	d.ended = d.ended || what != "none"
	a, first := act{verb: "outcome", text: d.text, event: event}, d.first
	p.mu.Unlock()
	if !turn {
		p.record(client, a, result{what: done, said: what}, call)
		return true
	}
	r := result{what: done}
	if len(o.Replies) > 0 {
		r.said = o.Replies[0].String()
	}
	a.verb = "turn"
	p.record(client, a, r, first)
	return true
}
