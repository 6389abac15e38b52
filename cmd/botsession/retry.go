package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// retryOptions are what retry was asked.
type retryOptions struct {
	acting
	refs   []session.Ref
	bot    string // bot bounds heldBy; empty: all bots
	reply  bool
	take   bool
	reset  bool
	heldBy string
	rate   string
}

func newRetry(e *env) *cobra.Command {
	o := &retryOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "retry REF... | --held-by NAME [BOT]",
		Short: "Try the event at the head of sessions again now",
		Long: `Try the event at the head of each session again now, and not after its
back-off: what made it fail is mended. How often it failed stays counted, and
the command says where one more failure makes it a dead letter; --reset forgets
it. With --reply it is the reply at the head.

Where a replica has it in hand nothing is done, unless with --take: then that
replica is fenced, and a crash is counted. This is for a handler that does not
return. What it does outside goes on, and replies that it was sending may be
sent twice. With --held-by that is done to all sessions which one replica
holds, as botsession replicas and ls --held-by show them: it hangs, or stands
still.`,
		Example: `  botsession retry pizza/42
  botsession retry pizza/42 pizza/43 --reset --reason "the billing API is back"
  botsession retry pizza/42 --take
  botsession retry --held-by replica-a-x1y2z3 --rate 20/s`,
		Args:              func(cmd *cobra.Command, args []string) error { return o.args(cmd, args) },
		ValidArgsFunction: o.complete,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.reply, "reply", false, "the reply at the head, not the event")
	flags.BoolVar(&o.take, "take", false, "take it from a replica that has it in hand")
	flags.BoolVar(&o.reset, "reset", false, "forget how often it has failed, so that it has all its attempts again")
	flags.StringVar(&o.heldBy, "held-by", "", "all sessions that the replica of this `name` holds; with --take")
	flags.StringVar(&o.rate, "rate", "", "at most so `many` sessions in a time: 20/s, 100/m")
	o.flags(cmd)
	return cmd
}

func (o *retryOptions) args(cmd *cobra.Command, args []string) (err error) {
	if o.pause, err = pauseOf(o.rate); err != nil {
		return err
	}
	if o.heldBy == "" {
		o.refs, err = refsArg(cmd, args)
		return err
	}
	if o.reply {
		return usage(errors.New("--reply and --held-by: one of them; what a replica holds is tried again, whatever it is"), cmd.CommandPath()+" --help")
	}
	o.take = true
	return oneBot(&o.bot)(cmd, args)
}

// complete completes sessions, or one bot.
func (o *retryOptions) complete(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if o.heldBy != "" {
		return o.completeBot(cmd, args, begun)
	}
	return o.completeRefs(cmd, args, begun)
}

// pauseOf reads a rate, and returns the time from one to the next.
func pauseOf(rate string) (time.Duration, error) {
	if rate == "" {
		return 0, nil
	}
	count, per, _ := strings.Cut(rate, "/")
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[per]
	n, err := strconv.Atoi(count)
	if err != nil || n <= 0 || unit == 0 {
		return 0, usage(fmt.Errorf("--rate %q is not a number in a time", rate), "as in --rate 20/s, 100/m or 500/h")
	}
	return unit / time.Duration(n), nil
}

func (o *retryOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	if o.heldBy != "" {
		if err := o.find(ctx); err != nil {
			return err
		}
	}
	j := job{verb: "retry", past: "retried"}
	if j.deeds, err = o.prepare(ctx, o.refs, o.one); err != nil {
		return err
	}
	if o.take {
		j.common.add("holders", "whoever has them in hand will be fenced; what their handlers do outside goes on")
	}
	j.common.add("then", "what is first in each is tried now")
	return o.perform(ctx, j)
}

// find finds what the replica holds.
func (o *retryOptions) find(ctx context.Context) error {
	bots, failed, err := o.bots(ctx, o.st, o.bot)
	if err != nil {
		return err
	}
	for _, err := range failed {
		o.fails(err)
	}
	for _, bot := range bots {
		for s, err := range bot.Sessions(ctx, store.Filter{HeldBy: o.heldBy}) {
			switch {
			case err == nil:
				o.refs = append(o.refs, s.Ref)
			case errors.Is(err, session.ErrCorrupt):
				o.fails(err)
			default:
				return err
			}
		}
	}
	if len(o.refs) == 0 && len(failed) == 0 {
		return missing(fmt.Errorf("replica %s holds no session", o.heldBy), "botsession replicas lists the replicas, and what they hold")
	}
	return nil
}

// one prepares to try the head again.
func (o *retryOptions) one(ctx context.Context, f *fleet, s *store.Session) (d deed, err error) {
	h, err := s.Heads(ctx)
	if err != nil {
		return d, err
	}
	reply, status := o.reply, h.Status
	if o.take && status.Lease.Held(status.Now) && status.Lease.Work != session.WorkUpdate {
		reply = status.Lease.Work == session.WorkReply
	}
	update := o.take && holds(status, session.WorkUpdate)
	head, err := headOf(h, reply)
	if err != nil && !update {
		return d, err
	}
	waits := err == nil
	if waits {
		o.head(&d.plan, h, reply)
	}
	if update {
		d.plan.add("holder", "%s runs an Update since %s: it will be fenced, and its caller told", text.Clean(status.Lease.Holder), o.at(status.Lease.Since, status.Now))
	} else if holds(status, workOf(reply)) {
		if !o.take {
			return d, fmt.Errorf("retry %s: %w", s.Ref(), &session.InHandError{Ref: s.Ref(), Holder: status.Lease.Holder, Since: status.Lease.Since})
		}
		o.holder(&d.plan, status, workOf(reply))
	}
	if waits {
		o.then(&d.plan, f, status, reply)
	}
	d.do = func(ctx context.Context, s *store.Session) (string, error) {
		if update {
			if err := s.Unlock(ctx, status.Lease.Token); err != nil || !waits {
				return "unlocked", err
			}
		}
		return "retried", s.Retry(ctx, head, store.Retrial{Take: o.take, Reset: o.reset})
	}
	return d, nil
}

// then says what comes of it.
func (o *retryOptions) then(p *plan, f *fleet, s session.Status, reply bool) {
	r, what := s.Event, "it is tried now"
	if reply {
		r = s.Reply
	}
	if holds(s, workOf(reply)) {
		r.Crashes++ // by fencing
	}
	most := f.settings.Options.MaxAttempts
	switch {
	case o.reset && attempts(r) != "":
		what += fmt.Sprintf("; that it had %s is forgotten", attempts(r))
	case o.reset:
	case r.Failures+1 >= most:
		what += "; one more failure makes it a dead letter"
	case r.Crashes+1 > crashesPer*most:
		what += "; one more crash makes it a dead letter"
	}
	switch {
	case !reply && s.Unsent > 0:
		what += fmt.Sprintf(", behind %s: retry --reply", text.Count(s.Unsent, "reply that is to be sent", "replies that are to be sent"))
	case len(f.serving()) == 0:
		what += ". Nobody serves " + f.bot.Name() + ": it waits for a replica"
	}
	p.add("then", "%s", what)
}

// crashesPer is how many more crashes than failures the head may have.
const crashesPer = 4
