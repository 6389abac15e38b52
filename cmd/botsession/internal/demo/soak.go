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

// Soak runs the demo over and over, with deaths, freezes and duplicates drawn
// anew, until the time is over or a session is not what its dialogue says, and
// prints a line for each round.
func Soak(ctx context.Context, o Options, long time.Duration) error {
	if o.Seed == 0 {
		o.Seed = mathrand.Uint64() >> 32
	}
	rng := mathrand.New(mathrand.NewPCG(o.Seed, 0))
	fmt.Fprintf(o.Out, "soak for %v; seed %d\n", long, o.Seed)
	turns := 0
	began := time.Now()
	for round := 1; time.Since(began) < long; round++ {
		one := o
		one.Err = text.NewWriter(io.Discard, os.Getenv)
		one.Kill, one.Duplicate, one.Seed = rng.IntN(4), rng.Float64()/2, rng.Uint64()>>32
		if CanFreeze {
			one.Freeze = rng.IntN(4)
		}
		r, found, err := one.play(ctx)
		if err != nil {
			return err
		}
		f := r.figures(found)
		turns += f.Turns
		fmt.Fprintf(o.Out, "%6.0fs  round %d: %d turns, %.0f/s, %d killed, %d frozen, %d taken over, %d duplicates dropped, %d replies sent again; in all %d turns\n",
			time.Since(began).Seconds(), round, f.Turns, f.TurnsPerSecond, f.Killed, f.Frozen, f.Takeovers, f.DuplicatesDropped, f.Resent, turns)
		if !found.clean() {
			fmt.Fprintf(o.Out, "seed of that round: %d\n", one.Seed)
			return r.verdict(found, f)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	fmt.Fprintln(o.Out, "Clean: nothing lost, duplicated or out of order.")
	return nil
}
