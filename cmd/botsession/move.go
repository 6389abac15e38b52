package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// moveOptions are what move was asked.
type moveOptions struct {
	acting
	refs   []session.Ref
	bot    string // bot is whose sessions are filtered; empty: refs are moved
	to     string
	filter store.Filter
	since  string // since is --active-since
}

func newMove(e *env) *cobra.Command {
	o := &moveOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "move REF... --to STATE | move BOT --state STATE --to STATE",
		Short: "Move sessions into another state",
		Long: `Move sessions into another state: one or several, or of a bot all that are in
--state and, with --active-since, changed since then. This is for sessions that
the bot has led into a wrong state, such as after a deploy. Data, chat and what
waits stay.

Each is moved only out of the state that it was seen in: one that moves by
itself meanwhile stays where it is then, and is told. --dry-run counts them.`,
		Example: `  botsession move pizza/42 --to greeting
  botsession move pizza --state broken --active-since 90m --to start --dry-run`,
		Args:              func(cmd *cobra.Command, args []string) error { return o.args(cmd, args) },
		ValidArgsFunction: e.completeRefs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "the `state` to move into")
	flags.StringVar(&o.filter.State, "state", "", "all sessions of the bot in this `state`")
	flags.StringVar(&o.since, "active-since", "", "only sessions that changed `since`: 90m, or 2026-01-02T15:04:05Z")
	for _, name := range []string{"to", "state"} {
		// It fails for a flag that is not there alone.
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return e.completeState(cmd, args)
		})
	}
	o.flags(cmd)
	return cmd
}

// completeState completes a state in which sessions of the bot are that the first
// argument names.
func (e *env) completeState(cmd *cobra.Command, args []string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	name, _, _ := strings.Cut(args[0], "/")
	return e.complete(cmd, nil, func(ctx context.Context, st *store.Store) (states []string, err error) {
		bot, err := st.Bot(ctx, name, nil)
		if err != nil {
			return nil, err
		}
		counts, err := bot.Counts(ctx)
		for state := range counts.States {
			states = append(states, state)
		}
		return states, err
	})
}

func (o *moveOptions) args(cmd *cobra.Command, args []string) (err error) {
	if o.to == "" {
		return usage(errors.New("--to is needed: the state to move into"), cmd.CommandPath()+" pizza/42 --to greeting")
	}
	if o.filter.State == "" && o.since == "" {
		o.refs, err = refsArg(cmd, args)
		return err
	}
	hint := cmd.CommandPath() + " pizza --state broken --to greeting"
	switch {
	case o.filter.State == "":
		return usage(errors.New("--active-since needs --state: the state to move out of"), hint)
	case len(args) != 1:
		return usage(fmt.Errorf("--state needs one bot, not %d", len(args)), hint)
	case o.to == o.filter.State:
		return usage(fmt.Errorf("they are in state %q already", o.to), "")
	}
	o.bot = args[0]
	if o.since != "" {
		if o.filter.ActiveSince, err = moment("active-since", o.since, time.Now()); err != nil {
			return err
		}
	}
	return botArg(o.bot)
}

func (o *moveOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	j := job{verb: "move", past: "moved"}
	if o.bot != "" {
		j.deeds, err = o.find(ctx)
	} else {
		j.deeds, err = o.prepare(ctx, o.refs, o.one)
	}
	if err != nil {
		return err
	}
	if o.bot != "" {
		j.common = o.plan(ctx, o.fleets[o.bot], o.filter.State)
	}
	return o.perform(ctx, j)
}

// find finds the sessions that fit. They alone are moved, also if others fit by then.
func (o *moveOptions) find(ctx context.Context) (deeds []deed, err error) {
	f, err := o.fleetOf(ctx, o.bot)
	if err != nil {
		return nil, err
	}
	p := o.plan(ctx, f, o.filter.State)
	if deeds, err = o.collect(ctx, f, o.filter, func(session.Status) deed { return deed{plan: p, do: o.move(o.filter.State)} }); err != nil {
		return nil, err
	}
	if len(deeds) == 0 {
		what := fmt.Sprintf("no session of %s is in state %q", o.bot, o.filter.State)
		if o.since != "" {
			what += " and changed since " + o.date(o.filter.ActiveSince)
		}
		return nil, missing(errors.New(what), "botsession flow "+o.bot+" lists the states")
	}
	return deeds, nil
}

// one prepares to move one session.
func (o *moveOptions) one(ctx context.Context, f *fleet, s *store.Session) (d deed, err error) {
	status, err := s.Status(ctx)
	if err != nil {
		return d, err
	}
	if status.State == o.to {
		return d, missing(fmt.Errorf("%w: %s is in state %q already", errNothing, s.Ref(), o.to), "")
	}
	d.plan = o.plan(ctx, f, status.State)
	if holds(status, session.WorkEvent, session.WorkUpdate) {
		d.plan.add("holder", "%s since %s: what it does in the old state is dropped, and its turn runs again in the new one", text.Clean(status.Lease.Holder), o.at(status.Lease.Since, status.Now))
	}
	d.do = o.move(status.State)
	return d, nil
}

// move moves a session that is in a state.
func (o *moveOptions) move(from string) func(context.Context, *store.Session) (string, error) {
	return func(ctx context.Context, s *store.Session) (string, error) {
		return "moved", s.Move(ctx, session.Transition{From: from, To: o.to})
	}
}

// plan says what comes of it. A state in which no session is may be a slip.
func (o *moveOptions) plan(ctx context.Context, f *fleet, from string) (p plan) {
	p.add("state", "%s → %s", text.Clean(from), text.Clean(o.to))
	if counts, err := f.bot.Counts(ctx); err == nil && counts.States[o.to] == 0 && o.to != f.settings.Options.Initial {
		p.add("note", "no session of %s is in state %s now: is it written as the bot writes it?", f.bot.Name(), text.Clean(o.to))
	}
	return p
}
