package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/demo"
)

// newReplica is one process of the demo's fleet. The demo starts it, and tells it
// by a line on stdin what to do. With --listen it is a replica without a demo, for
// docker-compose.yml: a bot that takes the order for a pizza.
func newReplica(e *env) *cobra.Command {
	r := demo.Replica{Open: openStore, In: e.in, Out: e.out, Err: e.err}
	cmd := &cobra.Command{
		Use:    "replica",
		Short:  "Run one replica of the demo's bot (the demo starts it)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Listen != "" {
				var err error
				if r.Redis, err = e.url(); err != nil {
					return err
				}
				r.Namespace = e.namespace
				return r.Serve(cmd.Context())
			}
			// A ctrl-C reaches the whole process group. The demo stops its
			// replicas itself, when it has heard from them what it wants to.
			signal.Ignore(os.Interrupt)
			ctx, stop := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
			defer stop()
			err := r.Serve(ctx)
			if errors.Is(err, demo.ErrNoDemo) {
				return failed(err, "botsession demo")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&r.Listen, "listen", "", "serve without a demo, with the webhook, /healthz and /metrics at this address")
	cmd.Flags().StringVar(&r.Bot, "bot", "pizza", "name of the bot, with --listen")
	return cmd
}
