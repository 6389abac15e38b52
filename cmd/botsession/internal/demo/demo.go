// Package demo shows with real processes what a fleet of replicas survives.
//
// It replays dialogues: users send messages to a platform, the platform posts
// each one to the webhook of some replica, and the replicas post the replies back.
// Meanwhile replicas are killed and frozen, and messages are delivered twice. At
// the end every session must be exactly what its dialogue says.
//
//	users ─▶ platform ── POST /webhook ──▶ replicas, each a process ◀─▶ Redis
//	            ▲                             │
//	            └───────── POST /replies ─────┘
//
// [Run] plays once, [Soak] again and again. [Replica] is what runs in the processes.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// Options say what a demo does, and where.
type Options struct {
	Dialogues []Dialogue // Dialogues are what users and bot say to each other. Load reads them.
	Redis     string     // Redis is the URL of the server. Empty means a server in this process.
	Namespace string     // Namespace is as in store.Options.
	Open      Open       // Open opens the store.

	Replicas  int           // Replicas is how many processes serve the bot, at least 1.
	Kill      int           // Kill is how many replicas are killed, each replaced by a new one.
	Freeze    int           // Freeze is how many times a replica is stopped for longer than a lease. See CanFreeze.
	Users     int           // Users is how many users talk at once, at least 1.
	Duplicate float64       // Duplicate is the share of the messages that are delivered twice, 0 to 1.
	Lease     time.Duration // Lease is as in store.Options, for the replicas.
	Think     time.Duration // Think is how long a user waits before each message, on average.
	Work      time.Duration // Work is how long the bot works on a message.
	Seed      uint64        // Seed makes the random choices. 0 means a new one.

	JSON    bool         // JSON is whether the figures are printed as one JSON object.
	Verbose bool         // Verbose is whether the replicas' logs are printed.
	Out     *text.Writer // Out gets the figures.
	Err     *text.Writer // Err gets what happens meanwhile.

	patience time.Duration // patience is how long a replay may stand still, beside Think, Work and Lease. 0 means 30 s.
}

// Open opens a store, as store.Open does. Whoever calls Run is shown its errors, so
// they may say more than those of store.Open.
type Open func(ctx context.Context, url string, opts *store.Options) (*store.Store, error)

// ErrNotClean says that a session is not what its dialogue says. The differences
// have been printed.
var ErrNotClean = errors.New("not clean")

// Run replays the dialogues, compares the sessions with them, and prints what it
// found. It returns ErrNotClean if they differ, the error of Open, the cause of a
// ctx that ended, or why it could not go on.
func Run(ctx context.Context, opts Options) error {
	p, found, err := opts.play(ctx)
	if err != nil {
		return err
	}
	return p.report(found)
}

// A play is one replay of the dialogues.
type play struct {
	Options
	bot      *store.Bot
	platform *platform
	fleet    *fleet
	progress *text.Progress

	killed  int           // replicas killed so far
	frozen  int           // times that a replica was frozen so far
	stalled bool          // whether the replay was given up
	elapsed time.Duration // from the first message to the last reply
}

// play replays the dialogues and compares the sessions with them.
func (o Options) play(ctx context.Context) (p *play, found result, err error) {
	url := o.Redis
	if url == "" {
		server, err := embedded.Open(ctx, &store.Options{Logger: slog.New(slog.DiscardHandler)}) // its warning that it keeps nothing is said by announce
		if err != nil {
			return nil, found, err
		}
		defer server.Close()
		url = server.URL()
	}
	st, err := o.Open(ctx, url, &store.Options{Namespace: o.Namespace, Name: "demo", Logger: text.NewLogger(o.Err)})
	if err != nil {
		return nil, found, err
	}
	defer st.Close()
	if o.Seed == 0 {
		o.Seed = newSeed()
	}
	program, err := executable()
	if err != nil {
		return nil, found, err
	}

	p = &play{Options: o}
	p.bot, err = st.Bot(ctx, "demo-"+strings.ToLower(rand.Text()[:6]), botOptions())
	if err != nil {
		return nil, found, err
	}
	p.progress = text.NewProgress(o.Err, turns(o.Dialogues))
	defer p.progress.Close()
	p.platform = newPlatform(o.Dialogues, 2*o.Users)
	if err := p.platform.listen(); err != nil {
		return nil, found, err
	}
	defer p.platform.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.fleet = &fleet{
		executable: program,
		say:        p.progress.Say,
		crashed:    cancel,
		config: replicaConfig{
			Redis: url, Namespace: o.Namespace, Bot: p.bot.Name(), Platform: p.platform.url,
			Lease: o.Lease, Work: o.Work, Verbose: o.Verbose,
		},
	}
	if o.Verbose {
		p.fleet.verbose = p.progress
	}
	p.platform.fleet = p.fleet
	defer p.fleet.stop()

	p.announce(url)
	if err := p.replay(ctx); err != nil {
		return nil, found, err
	}
	if !p.stalled {
		p.settle(ctx)
	}
	p.fleet.stop() // nothing changes any more
	found, err = p.compare(ctx)
	return p, found, err
}

// newSeed returns a random seed that is short enough to be typed.
func newSeed() uint64 { return mathrand.Uint64() >> 32 }

func (p *play) announce(url string) {
	where := "in this process, and gone with it"
	if p.Redis != "" {
		where = "on " + text.Address(url)
	}
	p.progress.Say("%s (%s) of %s at once; seed %d", text.Count(len(p.Dialogues), "dialogue", "dialogues"),
		text.Count(turns(p.Dialogues), "turn", "turns"), text.Count(min(p.Users, len(p.Dialogues)), "user", "users"), p.Seed)
	p.progress.Say("%s, their sessions %s", text.Count(p.Replicas, "replica", "replicas"), where)
}
