package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// newSoak is the demo, over and over, with deaths and freezes drawn anew: a test
// of a server, or of a change to the store, that runs for as long as one likes.
func newSoak(e *env) *cobra.Command {
	o := &demoOptions{env: e, patience: 30 * time.Second}
	var long time.Duration
	cmd := &cobra.Command{
		Use:    "soak",
		Short:  "Repeat the demo with deaths and freezes for a while; the first difference ends it",
		Args:   noArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if long <= 0 {
				return usage(fmt.Errorf("--for %v: a time is needed", long), "")
			}
			if err := o.validate(); err != nil {
				return err
			}
			return o.soak(cmd.Context(), long)
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&long, "for", 10*time.Minute, "how long; the round that runs then is played to its end")
	flags.IntVar(&o.replicas, "replicas", 4, "how many replicas the fleet has")
	flags.StringVar(&o.file, "dialogues", "", "replay this file, as the demo does")
	flags.IntVar(&o.limit, "limit", 0, "replay only the first so many dialogues in each round; 0 means all")
	flags.IntVar(&o.users, "users", 50, "how many users talk at once")
	flags.DurationVar(&o.lease, "lease", time.Second, "lease of a session")
	flags.Uint64Var(&o.seed, "seed", 0, "repeat the random choices of another soak; 0 means new ones")
	return cmd
}

// soak plays rounds, and prints a line for each.
func (o *demoOptions) soak(ctx context.Context, long time.Duration) error {
	if o.seed == 0 {
		o.seed = mathrand.Uint64() >> 32
	}
	rng := mathrand.New(mathrand.NewPCG(o.seed, 0))
	fmt.Fprintf(o.out, "soak for %v; seed %d\n", long, o.seed)
	turns := 0
	began := time.Now()
	for round := 1; time.Since(began) < long; round++ {
		quiet := *o.env
		quiet.err = text.NewWriter(io.Discard, quiet.getenv)
		one := *o
		one.env = &quiet
		one.kill, one.duplicate, one.seed = rng.IntN(4), rng.Float64()/2, rng.Uint64()>>32
		if canFreeze {
			one.freeze = rng.IntN(4)
		}
		r, found, err := one.play(ctx)
		if err != nil {
			return err
		}
		f := r.figures(found)
		turns += f.Turns
		fmt.Fprintf(o.out, "%6.0fs  round %d: %d turns, %.0f/s, %d killed, %d frozen, %d taken over, %d duplicates dropped, %d replies sent again; in all %d turns\n",
			time.Since(began).Seconds(), round, f.Turns, f.TurnsPerSecond, f.Killed, f.Frozen, f.Takeovers, f.DuplicatesDropped, f.Resent, turns)
		if !found.clean() {
			fmt.Fprintf(o.out, "seed of that round: %d\n", one.seed)
			return r.verdict(found, f)
		}
		if ctx.Err() != nil {
			return failed(errors.New("interrupted"), "")
		}
	}
	fmt.Fprintln(o.out, "Clean: nothing lost, duplicated or out of order.")
	return nil
}
