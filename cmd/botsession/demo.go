package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/demo"
)

// demoOptions are what demo and soak were asked.
type demoOptions struct {
	*env
	demo.Options
	file  string // of dialogues; empty: the carried ones
	limit int    // of dialogues; 0: none
}

func newDemo(e *env) *cobra.Command {
	o := &demoOptions{env: e}
	trouble := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay dialogues through replicas that are killed, and compare",
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
their own.

With --trouble nothing is replayed: a bot hotel is brought into trouble, and
stays in it until ctrl-C, for those who want to try the other commands.`,
		Example: `  botsession demo
  botsession demo --trouble
  botsession demo --replicas 5 --kill 3 --duplicate 0.5
  botsession demo --redis redis://127.0.0.1:6379 --dialogues chats.jsonl --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if trouble {
				return o.run(cmd.Context(), demo.Trouble)
			}
			if o.file != "" {
				// Many real dialogues are replayed as fast as they go.
				if !cmd.Flags().Changed("think") {
					o.Think = 0
				}
				if !cmd.Flags().Changed("work") {
					o.Work = 0
				}
			}
			return o.run(cmd.Context(), demo.Run)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&trouble, "trouble", false, "replay nothing, but bring a fleet into trouble, to try the other commands on")
	flags.IntVar(&o.Replicas, "replicas", 3, "how many replicas the fleet has")
	flags.IntVar(&o.Kill, "kill", 1, "how many replicas are killed, and replaced, in the middle of the replay")
	flags.IntVar(&o.Freeze, "freeze", 0, "how many replicas are frozen for longer than a lease, with SIGSTOP, and go on then")
	flags.StringVar(&o.file, "dialogues", "", "replay this file: JSON lines, plain or gzip (default: two dozen carried dialogues)")
	flags.IntVar(&o.limit, "limit", 0, "replay only the first so many dialogues; 0 means all")
	flags.IntVar(&o.Users, "users", 50, "how many users talk at once")
	flags.Float64Var(&o.Duplicate, "duplicate", 0.1, "share of the messages that is delivered twice, to two replicas at once")
	flags.DurationVar(&o.Lease, "lease", 2*time.Second, "lease of a session: how soon another replica takes over")
	flags.DurationVar(&o.Think, "think", 800*time.Millisecond, "how long users think before a message, on average (with --dialogues: 0)")
	flags.DurationVar(&o.Work, "work", 50*time.Millisecond, "how long the bot works on a message (with --dialogues: 0)")
	flags.Uint64Var(&o.Seed, "seed", 0, "repeat the random choices of another run; 0 means new ones")
	flags.BoolVar(&o.JSON, "json", false, "print the figures as one JSON object")
	flags.BoolVarP(&o.Verbose, "verbose", "v", false, "pass on the replicas' logs")
	return cmd
}

// run checks what was asked, and plays it.
func (o *demoOptions) run(ctx context.Context, play func(context.Context, demo.Options) error) error {
	if err := o.validate(); err != nil {
		return err
	}
	var err error
	var unread *fs.PathError
	if o.Dialogues, err = demo.Load(o.file, o.limit); errors.As(err, &unread) {
		return failed(err, "")
	} else if err != nil {
		return failed(err, `one dialogue a line: {"id": "a", "turns": [{"speaker": "user", "text": "hi", "intent": "greet", "slots": {}}, {"speaker": "system", "text": "hello"}]}`)
	}
	o.Redis, o.Namespace, o.Open, o.Out, o.Err = o.redis, o.namespace, openStore, o.out, o.err
	err = play(ctx, o.Options)
	var told *toldError
	switch {
	case err == nil, ctx.Err() != nil, errors.As(err, &told):
		return err
	case errors.Is(err, demo.ErrNotClean):
		return errSilent
	}
	return failed(err, "botsession demo --verbose passes on the replicas' logs")
}

func (o *demoOptions) validate() error {
	hint := "botsession demo --help"
	switch {
	case o.Replicas < 1:
		return usage(fmt.Errorf("--replicas %d: at least one is needed", o.Replicas), hint)
	case o.Kill < 0:
		return usage(fmt.Errorf("--kill %d is negative", o.Kill), hint)
	case o.Freeze < 0:
		return usage(fmt.Errorf("--freeze %d is negative", o.Freeze), hint)
	case o.Freeze > 0 && !demo.CanFreeze:
		return usage(errors.New("--freeze: this system cannot stop a process and let it go on"), hint)
	case o.limit < 0:
		return usage(fmt.Errorf("--limit %d is negative", o.limit), hint)
	case o.Users < 1:
		return usage(fmt.Errorf("--users %d: at least one is needed", o.Users), hint)
	case !(o.Duplicate >= 0 && o.Duplicate <= 1):
		return usage(fmt.Errorf("--duplicate %v is not between 0 and 1", o.Duplicate), hint)
	case o.Lease < 100*time.Millisecond:
		return usage(fmt.Errorf("--lease %v is under 100ms", o.Lease), hint)
	case o.Think < 0:
		return usage(fmt.Errorf("--think %v is negative", o.Think), hint)
	case o.Work < 0:
		return usage(fmt.Errorf("--work %v is negative", o.Work), hint)
	}
	return nil
}
