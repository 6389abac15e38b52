package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// tailOptions are what tail was asked.
type tailOptions struct {
	*env
	bot  string // empty: all bots
	id   string // empty: all sessions
	json bool
}

func newTail(e *env) *cobra.Command {
	o := &tailOptions{env: e}
	cmd := &cobra.Command{
		Use:   "tail [BOT|BOT/ID]",
		Short: "Follow what happens to sessions, until ctrl-C",
		Long: `Print a line for each thing that happens to a session from now on: an event was
accepted, a turn committed, an event given up, a session created, changed, reset,
destroyed or expired. Where lines may be missing, as after a lost connection, a
line says so. No texts are shown: those are botsession history -f.

The user of the Redis needs the rights that a replica needs.`,
		Example: `  botsession tail pizza
  botsession tail pizza/42 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.Contains(args[0], "/") {
				ref, err := refArg(cmd, args)
				o.bot, o.id = ref.Bot, ref.ID
				return err
			}
			return oneBot(&o.bot)(cmd, args)
		},
		ValidArgsFunction: e.completeRef,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// A noticed is a notice as tail --json prints it.
type noticed struct {
	Kind    string    `json:"kind"`
	Bot     string    `json:"bot"`
	Session string    `json:"session,omitempty"` // Session is empty of a gap.
	State   string    `json:"state,omitempty"`
	Version int64     `json:"version,omitempty"`
	Time    time.Time `json:"time"`
}

func (o *tailOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, false)
	if err != nil {
		return err
	}
	defer st.Close()
	bots, failed, err := o.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	if len(bots) == 0 {
		return missing(fmt.Errorf("there is no bot"), "is it the right server, and the right --namespace?")
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // of the lines, and of failed
	var watching sync.WaitGroup
	for _, bot := range bots {
		watching.Go(func() {
			for n, err := range bot.Watch(watch) {
				mu.Lock()
				if err == nil {
					err = o.print(n)
				}
				if err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
				if err != nil {
					break
				}
			}
			cancel() // one that cannot be followed ends all: what is missing would look like silence
		})
	}
	watching.Wait()
	if ctx.Err() != nil {
		return nil // ctrl-C is how it ends
	}
	return failed.err()
}

func (o *tailOptions) print(n store.Notice) error {
	if o.id != "" && n.Kind != "gap" && n.Ref.ID != o.id {
		return nil
	}
	if o.json {
		line := noticed{Kind: n.Kind, Bot: n.Ref.Bot, State: n.State, Version: n.Version, Time: n.Time}
		if n.Ref.ID != "" {
			line.Session = n.Ref.String()
		}
		return text.WriteJSON(o.out, line)
	}
	at := o.out.Paint(text.Dim, n.Time.In(o.zone).Format(time.TimeOnly))
	if n.Kind == "gap" {
		_, err := fmt.Fprintln(o.out, at, o.out.Paint(text.Yellow, "lines of "+n.Ref.Bot+" may be missing here"))
		return err
	}
	kind := text.Pad(n.Kind, len("destroyed"))
	if n.Kind == "dead" {
		kind = o.out.Paint(text.Red, kind)
	}
	_, err := fmt.Fprintf(o.out, "%s %s %s  %s\n", at, kind, n.Ref.String(), o.out.Paint(text.Dim, fmt.Sprintf("%s v%d", text.Clean(n.State), n.Version)))
	return err
}
