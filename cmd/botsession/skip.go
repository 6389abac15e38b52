package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// skipOptions are what skip was asked.
type skipOptions struct {
	acting
	ref   session.Ref
	reply bool
	all   bool
}

func newSkip(e *env) *cobra.Command {
	o := &skipOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "skip REF",
		Short: "Give up the event at the head of a session, and go on behind it",
		Long: `Give up the event at the head of a session: it becomes a dead letter, and what
is behind it is handled. This is for an event that can never be handled, or
whose handler does not return: a replica that has it in hand is fenced. The
user is not told; botsession reply does that. botsession dead retry brings the
event back. With --reply the reply at the head is given up.

With --all no event but the one in hand stays: all that wait are dropped, and
no dead letters are made of them. This is for a flood.`,
		Example: `  botsession skip pizza/42
  botsession skip pizza/42 --reply --reason "the platform refuses the picture"
  botsession skip pizza/42 --all`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if o.reply && o.all {
				return usage(errors.New("--reply and --all: one of them"), cmd.CommandPath()+" --help")
			}
			o.ref, err = refArg(cmd, args)
			return err
		},
		ValidArgsFunction: e.completeRef,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	cmd.Flags().BoolVar(&o.reply, "reply", false, "give up the reply at the head, not the event")
	cmd.Flags().BoolVar(&o.all, "all", false, "drop all events that wait, but the one in hand")
	o.flags(cmd)
	return cmd
}

func (o *skipOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	prepare, j := o.one, job{verb: "skip", past: "skipped"}
	if o.all {
		prepare, j = o.drop, job{verb: "drop", past: "dropped", asks: "Drop them?"}
	}
	if j.deeds, err = o.prepare(ctx, []session.Ref{o.ref}, prepare); err != nil {
		return err
	}
	return o.perform(ctx, j)
}

// one prepares to skip the head.
func (o *skipOptions) one(ctx context.Context, _ *fleet, s *store.Session) (d deed, err error) {
	h, err := s.Heads(ctx)
	if err != nil {
		return d, err
	}
	head, err := headOf(h, o.reply)
	if err != nil {
		return d, err
	}
	o.head(&d.plan, h, o.reply)
	o.holder(&d.plan, h.Status, workOf(o.reply))
	if o.reply {
		d.plan.add("then", "the reply is a dead letter and is not sent%s", behind(h.Status.Unsent-1, "reply behind it is sent", "replies behind it are sent"))
	} else {
		d.plan.add("then", "the event is a dead letter%s. The user is not told: botsession reply", behind(h.Status.Waiting-1, "event behind it is handled", "events behind it are handled"))
	}
	d.do = func(ctx context.Context, s *store.Session) (string, error) { return "skipped", s.Skip(ctx, head) }
	return d, nil
}

// drop prepares to drop what waits.
func (o *skipOptions) drop(ctx context.Context, _ *fleet, s *store.Session) (d deed, err error) {
	status, err := s.Status(ctx)
	if err != nil {
		return d, err
	}
	waiting := status.Waiting
	held := holds(status, session.WorkEvent)
	if held {
		waiting--
	}
	if waiting == 0 {
		why := fmt.Errorf("%w: no event waits in %s", errNothing, s.Ref())
		if held {
			return d, missing(fmt.Errorf("%w but the one in hand at %s", why, status.Lease.Holder), "without --all it is skipped")
		}
		return d, missing(why, "")
	}
	d.plan.add("drop", "%s: their outcome is dropped, and no dead letters are made of them", text.Count(waiting, "event that waits", "events that wait"))
	if held {
		d.plan.add("stays", "the one in hand at %s since %s", text.Clean(status.Lease.Holder), o.at(status.Lease.Since, status.Now))
	}
	d.plan.add("then", "the session takes new events. The user is not told: botsession reply")
	d.do = func(ctx context.Context, s *store.Session) (string, error) {
		return "dropped " + text.Count(waiting, "event", "events"), s.Drop(ctx, waiting)
	}
	return d, nil
}

// behind says what else there is, if anything.
func behind(n int64, one, many string) string {
	if n <= 0 {
		return ""
	}
	return "; " + text.Count(n, one, many)
}
