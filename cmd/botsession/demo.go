package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// demoOptions are what the demo was asked.
type demoOptions struct {
	*env
	replicas  int
	kill      int
	freeze    int
	file      string
	limit     int
	users     int
	duplicate float64
	lease     time.Duration
	think     time.Duration
	work      time.Duration
	seed      uint64
	json      bool
	verbose   bool

	patience time.Duration // without any progress for so long, beside thinking and work, the replay is given up
}

func newDemo(e *env) *cobra.Command {
	o := &demoOptions{env: e, patience: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay dialogues through replicas that get killed, and compare every session",
		Long: `Replay dialogues through a fleet of replicas, as users would cause them, and
compare every session with its dialogue at the end.

The replicas are processes of their own. Each message reaches one of them at
random over HTTP; some reach two of them at once; some users write on before the
reply is there; and in the middle of it replicas are killed with SIGKILL, and
new ones join. The verdict is that nothing was lost, nothing came twice, and
nothing is out of order; if not, the exit code is 1.

Without --redis the sessions live in a server inside this process, so nothing
needs to be installed; REDIS_URL is not used, so that no demo runs on a real
server by accident. With --redis they stay there for an hour, under a bot of
their own.`,
		Example: `  botsession demo
  botsession demo --replicas 5 --kill 3 --duplicate 0.5
  botsession demo --redis redis://127.0.0.1:6379 --dialogues dialogues.jsonl.gz --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.file != "" {
				// Many real dialogues are replayed as fast as they go.
				if !cmd.Flags().Changed("think") {
					o.think = 0
				}
				if !cmd.Flags().Changed("work") {
					o.work = 0
				}
			}
			if err := o.validate(); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.replicas, "replicas", 3, "how many replicas the fleet has")
	flags.IntVar(&o.kill, "kill", 1, "how many replicas are killed, and replaced, in the middle of the replay")
	flags.IntVar(&o.freeze, "freeze", 0, "how many replicas are frozen for longer than a lease, with SIGSTOP, and go on then")
	flags.StringVar(&o.file, "dialogues", "", "replay this file: JSON lines, plain or gzip (default: two dozen carried dialogues)")
	flags.IntVar(&o.limit, "limit", 0, "replay only the first so many dialogues; 0 means all")
	flags.IntVar(&o.users, "users", 50, "how many users talk at once")
	flags.Float64Var(&o.duplicate, "duplicate", 0.1, "share of the messages that is delivered twice, to two replicas at once")
	flags.DurationVar(&o.lease, "lease", 2*time.Second, "lease of a session: how soon another replica takes over")
	flags.DurationVar(&o.think, "think", 800*time.Millisecond, "how long users think before a message, on average (with --dialogues: 0)")
	flags.DurationVar(&o.work, "work", 50*time.Millisecond, "how long the bot works on a message (with --dialogues: 0)")
	flags.Uint64Var(&o.seed, "seed", 0, "repeat the random choices of another run; 0 means new ones")
	flags.BoolVar(&o.json, "json", false, "print the figures as one JSON object")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "pass on the replicas' logs")
	return cmd
}

func (o *demoOptions) validate() error {
	hint := "botsession demo --help"
	switch {
	case o.replicas < 1:
		return usage(fmt.Errorf("--replicas %d: at least one is needed", o.replicas), hint)
	case o.kill < 0:
		return usage(fmt.Errorf("--kill %d is negative", o.kill), hint)
	case o.freeze < 0:
		return usage(fmt.Errorf("--freeze %d is negative", o.freeze), hint)
	case o.freeze > 0 && !canFreeze:
		return usage(errors.New("--freeze: this system cannot stop a process and let it go on"), hint)
	case o.limit < 0:
		return usage(fmt.Errorf("--limit %d is negative", o.limit), hint)
	case o.users < 1:
		return usage(fmt.Errorf("--users %d: at least one is needed", o.users), hint)
	case !(o.duplicate >= 0 && o.duplicate <= 1):
		return usage(fmt.Errorf("--duplicate %v is not between 0 and 1", o.duplicate), hint)
	case o.lease < 100*time.Millisecond:
		return usage(fmt.Errorf("--lease %v is under 100ms", o.lease), hint)
	case o.think < 0:
		return usage(fmt.Errorf("--think %v is negative", o.think), hint)
	case o.work < 0:
		return usage(fmt.Errorf("--work %v is negative", o.work), hint)
	}
	return nil
}

// demoRun is one run of the demo.
type demoRun struct {
	*demoOptions
	bot       string
	dialogues []dialogue
	platform  *platform
	fleet     *fleet
	display   *text.Progress

	killed  int  // replicas, so far
	frozen  int  // times that one was
	stalled bool // the replay was given up
	elapsed time.Duration
}

// errStalled ends a replay in which nothing goes on.
var errStalled = errors.New("the replay stands still")

func (o *demoOptions) run(ctx context.Context) error {
	r, found, err := o.play(ctx)
	if err != nil {
		return err
	}
	return r.report(found)
}

// play replays the dialogues and compares the sessions with them.
func (o *demoOptions) play(ctx context.Context) (r *demoRun, found result, err error) {
	dialogues, err := loadDialogues(o.file, o.limit)
	if err != nil {
		return nil, found, failed(err, `one dialogue a line: {"id": "a", "turns": [{"speaker": "user", "text": "hi", "intent": "greet", "slots": {}}, {"speaker": "system", "text": "hello"}]}`)
	}
	url := o.redis
	if url == "" {
		server, err := embedded.Start(slog.New(slog.DiscardHandler)) // the demo says itself where its sessions are
		if err != nil {
			return nil, found, err
		}
		defer server.Close()
		url = server.URL()
	}
	st, err := openStore(ctx, url, &store.Options{Namespace: o.namespace, Name: "demo"})
	if err != nil {
		return nil, found, err
	}
	defer st.Close()
	if o.seed == 0 {
		o.seed = mathrand.Uint64() >> 32
	}
	program, err := executable()
	if err != nil {
		return nil, found, err
	}

	r = &demoRun{demoOptions: o, dialogues: dialogues, bot: "demo-" + strings.ToLower(rand.Text()[:6])}
	r.display = text.NewProgress(o.err, turns(dialogues))
	defer r.display.Close()
	r.platform = newPlatform(dialogues, 2*o.users)
	if err := r.platform.listen(); err != nil {
		return nil, found, err
	}
	defer r.platform.close()
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.fleet = &fleet{
		executable: program,
		say:        r.display.Say,
		crashed:    cancel,
		config: replicaConfig{
			Redis: url, Namespace: o.namespace, Bot: r.bot, Platform: r.platform.url,
			TTL: time.Hour, Lease: o.lease, Work: o.work, Verbose: o.verbose,
		},
	}
	if o.verbose {
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
	switch {
	case asked.Err() != nil:
		return nil, found, failed(errors.New("interrupted"), "")
	case err != nil:
		return nil, found, failed(err, "botsession demo --verbose passes on the replicas' logs")
	}
	return r, found, nil
}

func (r *demoRun) announce(url string) {
	where := "in this process, and gone with it"
	if r.redis != "" {
		where = "on " + text.Address(url)
	}
	r.display.Say("%s (%s) of %s at once; seed %d", text.Count(len(r.dialogues), "dialogue", "dialogues"),
		text.Count(turns(r.dialogues), "turn", "turns"), text.Count(min(r.users, len(r.dialogues)), "user", "users"), r.seed)
	r.display.Say("%s, their sessions %s", text.Count(r.replicas, "replica", "replicas"), where)
}

// replay starts the fleet and lets the users talk until each has heard the last
// reply. If they hear nothing more, it ends too: the verdict says what is lost.
func (r *demoRun) replay(ctx context.Context) error {
	var start errgroup.Group
	for range r.replicas {
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
		for i := range r.dialogues {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range min(r.users, len(r.dialogues)) {
		users.Go(func() error {
			for i := range next {
				rng := mathrand.New(mathrand.NewPCG(r.seed, uint64(i)))
				u := user{rng: rng, impatient: rng.Float64() < 0.2, duplicate: r.duplicate, think: r.think}
				if err := r.platform.say(ctx, u, r.platform.talks[r.dialogues[i].ID]); err != nil {
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
	rng := mathrand.New(mathrand.NewPCG(r.seed, 1<<32))
	total, deeds := int64(turns(r.dialogues)), int64(r.kill+r.freeze)
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
		if left := deeds - i; rng.Int64N(left) < int64(r.freeze-r.frozen) {
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
	long := r.lease + r.lease/2
	r.display.Say("%s frozen for %v", victim, long)
	err := sleep(ctx, long)
	return errors.Join(err, thaw(victim.cmd.Process))
}

// watch shows the figures, and gives up when nothing goes on.
func (r *demoRun) watch(ctx context.Context, giveUp func(error)) {
	began, patience := time.Now(), r.patience+2*r.think+r.work+2*r.lease
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
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+3*r.lease)
	defer cancel()
	bot, err := st.Bot(ctx, r.bot, nil)
	if err != nil {
		return // the comparison says so
	}
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(16)
	for _, d := range r.dialogues {
		readers.Go(func() error {
			for {
				status, err := bot.Session(d.ID).Status(ctx)
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
	results := make([]result, len(r.dialogues))
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(16)
	for i, d := range r.dialogues {
		readers.Go(func() error {
			received := r.platform.talks[d.ID].received
			s := bot.Session(d.ID)
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
				return fmt.Errorf("read the session of dialogue %q: %w", d.ID, err)
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
