package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// Options are what a demo does, and where.
type Options struct {
	Dialogues []Dialogue // Dialogues are what users and bot say. Load reads them.
	Redis     string     // Redis is the server's URL. Empty means a server in this process.
	Namespace string     // Namespace is the first part of every key. Empty means as in store.Options.
	Open      Open       // Open opens the store.

	Replicas  int           // Replicas is how many processes serve the bot.
	Kill      int           // Kill is how many of them are killed and replaced.
	Freeze    int           // Freeze is how often one of them is stopped for longer than a lease.
	Users     int           // Users is how many users talk at once.
	Duplicate float64       // Duplicate is the share of the messages that is delivered twice.
	Lease     time.Duration // Lease is the lease of a session.
	Think     time.Duration // Think is how long users think before a message, on average.
	Work      time.Duration // Work is how long the bot works on a message.
	Seed      uint64        // Seed repeats the random choices of another run. 0 means new ones.

	JSON    bool         // JSON is whether the figures are printed as one JSON object.
	Verbose bool         // Verbose is whether the replicas' logs are passed on.
	Out     *text.Writer // Out gets the figures.
	Err     *text.Writer // Err gets what happens meanwhile.

	patience time.Duration // without any progress for so long, beside thinking and work, the replay is given up; 0 means 30 s
}

// Open opens a store, as store.Open does. Its errors go to whoever runs the demo.
type Open func(ctx context.Context, url string, opts *store.Options) (*store.Store, error)

// ErrNotClean says that a session was not what its dialogue says. What differs
// was printed.
var ErrNotClean = errors.New("not clean")

// demoRun is one run of the demo.
type demoRun struct {
	Options
	bot      string
	platform *platform
	fleet    *fleet
	display  *text.Progress

	killed  int  // replicas, so far
	frozen  int  // times that one was
	stalled bool // the replay was given up
	elapsed time.Duration
}

// errStalled ends a replay in which nothing goes on.
var errStalled = errors.New("the replay stands still")

// Run replays the dialogues, compares the sessions with them, and prints what it
// found. It returns ErrNotClean if a session is not what its dialogue says.
func Run(ctx context.Context, opts Options) error {
	r, found, err := opts.play(ctx)
	if err != nil {
		return err
	}
	return r.report(found)
}

// play replays the dialogues and compares the sessions with them.
func (o Options) play(ctx context.Context) (r *demoRun, found result, err error) {
	url := o.Redis
	if url == "" {
		server, err := embedded.Start(slog.New(slog.DiscardHandler)) // the demo says itself where its sessions are
		if err != nil {
			return nil, found, err
		}
		defer server.Close()
		url = server.URL()
	}
	st, err := o.Open(ctx, url, &store.Options{Namespace: o.Namespace, Name: "demo"})
	if err != nil {
		return nil, found, err
	}
	defer st.Close()
	if o.Seed == 0 {
		o.Seed = mathrand.Uint64() >> 32
	}
	program, err := executable()
	if err != nil {
		return nil, found, err
	}

	r = &demoRun{Options: o, bot: "demo-" + strings.ToLower(rand.Text()[:6])}
	r.display = text.NewProgress(o.Err, turns(o.Dialogues))
	defer r.display.Close()
	r.platform = newPlatform(o.Dialogues, 2*o.Users)
	if err := r.platform.listen(); err != nil {
		return nil, found, err
	}
	defer r.platform.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.fleet = &fleet{
		executable: program,
		say:        r.display.Say,
		crashed:    cancel,
		config: replicaConfig{
			Redis: url, Namespace: o.Namespace, Bot: r.bot, Platform: r.platform.url,
			TTL: time.Hour, Lease: o.Lease, Work: o.Work, Verbose: o.Verbose,
		},
	}
	if o.Verbose {
		r.fleet.verbose = r.display
	}
	r.platform.fleet = r.fleet
	defer r.fleet.stop()

	r.announce(url)
	err = r.replay(ctx)
	if err == nil {
		if !r.stalled {
			r.settle(ctx, st)
		}
		r.fleet.stop() // nothing changes any more
		found, err = r.verify(ctx, st)
	}
	r.display.Close()
	return r, found, err
}

func (r *demoRun) announce(url string) {
	where := "in this process, and gone with it"
	if r.Redis != "" {
		where = "on " + text.Address(url)
	}
	r.display.Say("%s (%s) of %s at once; seed %d", text.Count(len(r.Dialogues), "dialogue", "dialogues"),
		text.Count(turns(r.Dialogues), "turn", "turns"), text.Count(min(r.Users, len(r.Dialogues)), "user", "users"), r.Seed)
	r.display.Say("%s, their sessions %s", text.Count(r.Replicas, "replica", "replicas"), where)
}

// replay starts the fleet and lets the users talk until each has heard the last
// reply. If they hear nothing more, it ends too: the verdict says what is lost.
func (r *demoRun) replay(ctx context.Context) error {
	var start errgroup.Group
	for range r.Replicas {
		start.Go(func() error { return r.join(ctx) })
	}
	if err := start.Wait(); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	helpers, stopHelpers := context.WithCancel(ctx)
	defer stopHelpers()
	var helping sync.WaitGroup
	helping.Go(func() { r.watch(helpers, cancel) })
	helping.Go(func() {
		if err := r.disturb(helpers); err != nil && helpers.Err() == nil {
			cancel(err)
		}
	})

	began := time.Now()
	users, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	users.Go(func() error {
		defer close(next)
		for i := range r.Dialogues {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range min(r.Users, len(r.Dialogues)) {
		users.Go(func() error {
			for i := range next {
				rng := mathrand.New(mathrand.NewPCG(r.Seed, uint64(i)))
				u := user{rng: rng, impatient: rng.Float64() < 0.2, duplicate: r.Duplicate, think: r.Think}
				if err := r.platform.say(ctx, u, r.platform.talks[r.Dialogues[i].id]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := users.Wait()
	r.elapsed = time.Since(began)
	stopHelpers()
	helping.Wait()
	r.platform.copies.Wait()
	if errors.Is(err, errStalled) {
		r.display.Say("nothing goes on any more: given up")
		r.stalled = true
		return nil
	}
	return err
}

// join starts a replica.
func (r *demoRun) join(ctx context.Context) error {
	started, err := r.fleet.join(ctx)
	if err != nil {
		return err
	}
	r.display.Say("%s joined", started)
	return nil
}

// disturb kills and freezes replicas, in an order drawn by the seed, evenly
// spread over the middle half of the replay.
func (r *demoRun) disturb(ctx context.Context) error {
	rng := mathrand.New(mathrand.NewPCG(r.Seed, 1<<32))
	total, deeds := int64(turns(r.Dialogues)), int64(r.Kill+r.Freeze)
	for i := range deeds {
		at := total/4 + total*(2*i+1)/(4*deeds)
		for r.platform.accepted.Load() < at {
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		victim := r.fleet.pick(rng, nil)
		if victim == nil {
			continue
		}
		deed := r.killOne
		if left := deeds - i; rng.Int64N(left) < int64(r.Freeze-r.frozen) {
			deed = r.freezeOne
		}
		if err := deed(ctx, victim); err != nil {
			return err
		}
	}
	return nil
}

// killOne kills a replica when it has just accepted a message, so that there is
// something to take over, and lets a new one join.
func (r *demoRun) killOne(ctx context.Context, victim *replica) error {
	victim.doomed.Store(true)
	select {
	case <-victim.ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second): // nobody writes to it
		r.fleet.kill(victim)
	}
	r.killed++
	return r.join(ctx)
}

// freezeOne stops a replica for so long that it loses whatever it has in hand,
// without its knowing.
func (r *demoRun) freezeOne(ctx context.Context, victim *replica) error {
	if err := freeze(victim.cmd.Process); err != nil {
		return fmt.Errorf("freeze %s: %w", victim, err)
	}
	r.frozen++
	long := r.Lease + r.Lease/2
	r.display.Say("%s frozen for %v", victim, long)
	err := sleep(ctx, long)
	return errors.Join(err, thaw(victim.cmd.Process))
}

// watch shows the figures, and gives up when nothing goes on.
func (r *demoRun) watch(ctx context.Context, giveUp func(error)) {
	began, patience := time.Now(), cmp.Or(r.patience, 30*time.Second)+2*r.Think+r.Work+2*r.Lease
	for sleep(ctx, 100*time.Millisecond) == nil {
		p := r.platform
		done := p.replied.Load()
		pace := float64(done) / time.Since(began).Seconds()
		live, duplicates, over := r.fleet.size(), p.duplicates.Load(), p.takenOver.Load()
		r.display.Show(done,
			fmt.Sprintf("%.0f/s, %s, %d duplicates dropped, %d taken over", pace, text.Count(live, "replica", "replicas"), duplicates, over),
			fmt.Sprintf("%.0f/s, %d repl., %d dupl., %d taken over", pace, live, duplicates, over))
		if time.Since(time.Unix(0, p.lastProgress.Load())) > patience {
			giveUp(errStalled)
			return
		}
	}
}

// settle waits, within limits, until no session has anything left to do: a turn
// without a reply may still run, and a reply that was received may still have to
// be noted, by a replica that takes over from a dead one.
func (r *demoRun) settle(ctx context.Context, st *store.Store) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+3*r.Lease)
	defer cancel()
	bot, err := st.Bot(ctx, r.bot, nil)
	if err != nil {
		return // the comparison says so
	}
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(16)
	for _, d := range r.Dialogues {
		readers.Go(func() error {
			for {
				status, err := bot.Session(d.id).Status(ctx)
				if err == nil && status.Waiting == 0 && status.Unsent == 0 || errors.Is(err, session.ErrNotFound) {
					return nil
				}
				if err := sleep(ctx, 50*time.Millisecond); err != nil {
					return err
				}
			}
		})
	}
	readers.Wait() // what did not settle is found by the comparison
}

// verify reads all sessions and compares each with its dialogue.
func (r *demoRun) verify(ctx context.Context, st *store.Store) (result, error) {
	bot, err := st.Bot(ctx, r.bot, nil)
	if err != nil {
		return result{}, err
	}
	results := make([]result, len(r.Dialogues))
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(16)
	for i, d := range r.Dialogues {
		readers.Go(func() error {
			received := r.platform.talks[d.id].received
			s := bot.Session(d.id)
			snap, err := s.Load(ctx)
			var chat []session.Message
			if err == nil {
				chat, err = s.History(ctx, session.All())
			}
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrCorrupt):
				results[i] = missing(d, received, err)
			case err != nil:
				return fmt.Errorf("read the session of dialogue %q: %w", d.id, err)
			default:
				results[i] = verify(d, snap, chat, received)
			}
			return nil
		})
	}
	if err := readers.Wait(); err != nil {
		return result{}, err
	}
	var found result
	for _, one := range results {
		found.add(one)
	}
	return found, nil
}
