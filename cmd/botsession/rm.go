package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// removeOptions are what rm was asked.
type removeOptions struct {
	acting
	refs []session.Ref
	bot  string // bot is whose idle sessions are removed; empty: refs are
	idle time.Duration
}

func newRemove(e *env) *cobra.Command {
	o := &removeOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "rm REF... | rm BOT --idle TIME",
		Short: "Remove sessions, with their chats and what waits in them",
		Long: `Remove sessions, with data, chat and all that waits: events are dropped, and
their senders are not told. A turn in hand is fenced. Dead letters stay, and
the ids of events, so that a late duplicate does not make the session again;
the user's next message does. To remove all that is kept of a user: botsession
erase.

With --idle all sessions of a bot are removed that did not change for so long.
Those in which something waits stay, and those that change meanwhile.`,
		Example: `  botsession rm pizza/test-1 pizza/test-2
  botsession rm pizza --idle 720h --dry-run`,
		Args:              func(cmd *cobra.Command, args []string) error { return o.args(cmd, args) },
		ValidArgsFunction: e.completeRefs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	cmd.Flags().DurationVar(&o.idle, "idle", 0, "all sessions of the bot that did not change for so `long`")
	o.flags(cmd)
	return cmd
}

func (o *removeOptions) args(cmd *cobra.Command, args []string) (err error) {
	hint := cmd.CommandPath() + " pizza --idle 720h"
	switch {
	case !cmd.Flags().Changed("idle"):
		o.refs, err = refsArg(cmd, args)
		return err
	case o.idle <= 0:
		return usage(fmt.Errorf("--idle %v is not positive", o.idle), hint)
	case len(args) != 1:
		return usage(fmt.Errorf("--idle needs one bot, not %d", len(args)), hint)
	}
	o.bot = args[0]
	return botArg(o.bot)
}

func (o *removeOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	j := job{verb: "remove", past: "removed", common: plan{{"then", "data, chat and what waits are gone; dead letters stay"}}}
	if o.bot != "" {
		j.deeds, err = o.find(ctx)
	} else {
		j.deeds, err = o.prepare(ctx, o.refs, o.one)
	}
	if err != nil {
		return err
	}
	return o.perform(ctx, j)
}

// find finds the sessions that are idle.
func (o *removeOptions) find(ctx context.Context) (deeds []deed, err error) {
	f, err := o.fleetOf(ctx, o.bot)
	if err != nil {
		return nil, err
	}
	deeds, err = o.collect(ctx, f, store.Filter{IdleSince: time.Now().Add(-o.idle)}, func(s session.Status) deed {
		return deed{plan: plan{{"idle", "for " + text.Duration(idle(s))}}, do: o.remove(true)}
	})
	if err == nil && len(deeds) == 0 {
		err = missing(fmt.Errorf("no session of %s is idle for %s", o.bot, text.Duration(o.idle)), "")
	}
	return deeds, err
}

func (o *removeOptions) one(ctx context.Context, _ *fleet, s *store.Session) (d deed, err error) {
	h, err := s.Heads(ctx)
	if err != nil {
		return d, err
	}
	status := h.Status
	d.plan.add("remove", "%s, in state %s, a chat of %s, last changed %s",
		who(status.User, status.Platform), text.Clean(status.State), text.Count(status.Messages, "message", "messages"), o.ago(status.Active, status.Now))
	if status.Waiting+status.Unsent > 0 {
		d.plan.add("drop", "%s", drops(status.Waiting, status.Unsent))
	}
	o.holder(&d.plan, status, session.WorkEvent, session.WorkReply, session.WorkUpdate)
	d.do = o.remove(false)
	return d, nil
}

// remove removes a session; one that was idle only if it still is.
func (o *removeOptions) remove(idleOnly bool) func(context.Context, *store.Session) (string, error) {
	return func(ctx context.Context, s *store.Session) (string, error) {
		if idleOnly {
			status, err := s.Status(ctx)
			switch {
			case err != nil:
				return "", err
			case idle(status) < o.idle:
				return "", fmt.Errorf("%w: %s is not idle any more", session.ErrChanged, s.Ref())
			case status.Waiting+status.Unsent > 0:
				return "", fmt.Errorf("%w: in %s wait %s", errNothing, s.Ref(), drops(status.Waiting, status.Unsent))
			}
		}
		d, err := s.Destroy(ctx)
		if err != nil {
			return "", err
		}
		if said := drops(d.Events, d.Replies); said != "" {
			return "removed, and dropped " + said, nil
		}
		return "removed", nil
	}
}

// drops says what waits, and goes with a session; "" if nothing does.
func drops(events, replies int64) string {
	var said []string
	if events > 0 {
		said = append(said, text.Count(events, "event", "events"))
	}
	if replies > 0 {
		said = append(said, text.Count(replies, "reply", "replies")+" not sent")
	}
	return strings.Join(said, " and ")
}
