package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/demo"
)

// newSoak is the demo, over and over, with deaths and freezes drawn anew: a test
// of a server, or of a change to the store, that runs for as long as one likes.
func newSoak(e *env) *cobra.Command {
	o := &demoOptions{env: e}
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
			return o.run(cmd.Context(), func(ctx context.Context, opts demo.Options) error { return demo.Soak(ctx, opts, long) })
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&long, "for", 10*time.Minute, "how long; the round that runs then is played to its end")
	flags.IntVar(&o.Replicas, "replicas", 4, "how many replicas the fleet has")
	flags.StringVar(&o.file, "dialogues", "", "replay this file, as the demo does")
	flags.IntVar(&o.limit, "limit", 0, "replay only the first so many dialogues in each round; 0 means all")
	flags.IntVar(&o.Users, "users", 50, "how many users talk at once")
	flags.DurationVar(&o.Lease, "lease", time.Second, "lease of a session")
	flags.Uint64Var(&o.Seed, "seed", 0, "repeat the random choices of another soak; 0 means new ones")
	return cmd
}
