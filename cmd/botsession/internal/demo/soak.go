package demo

import (
	"context"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// Soak runs the demo over and over, with kills, freezes and duplicates drawn anew
// for each round, until the time is over, and prints a line for each round. It ends
// with the first round whose sessions differ from their dialogues, as Run does.
func Soak(ctx context.Context, opts Options, long time.Duration) error {
	if opts.Seed == 0 {
		opts.Seed = newSeed()
	}
	rng := mathrand.New(mathrand.NewPCG(opts.Seed, 0))
	fmt.Fprintf(opts.Out, "soak for %v; seed %d\n", long, opts.Seed)
	turns := 0
	began := time.Now()
	for round := 1; time.Since(began) < long; round++ {
		one := opts
		one.Err = text.NewWriter(io.Discard, os.Getenv)
		one.Kill, one.Duplicate, one.Seed = rng.IntN(4), rng.Float64()/2, rng.Uint64()>>32
		if CanFreeze {
			one.Freeze = rng.IntN(4)
		}
		p, found, err := one.play(ctx)
		if err != nil {
			return err
		}
		f := p.figures(found)
		turns += f.Turns
		fmt.Fprintf(opts.Out, "%6.0fs  round %d: %d turns, %.0f/s, %d killed, %d frozen, %d taken over, %s dropped, %s sent again; in all %d turns\n",
			time.Since(began).Seconds(), round, f.Turns, f.TurnsPerSecond, f.Killed, f.Frozen, f.Takeovers,
			text.Count(f.DuplicatesDropped, "duplicate", "duplicates"), text.Count(f.Resent, "reply", "replies"), turns)
		if !found.clean() {
			fmt.Fprintf(opts.Out, "seed of that round: %d\n", one.Seed)
			return p.verdict(opts.Out, found)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	fmt.Fprintln(opts.Out, "Clean: nothing lost, duplicated or out of order.")
	return nil
}
