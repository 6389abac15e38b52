package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// deadActOptions are what dead retry and dead rm were asked.
type deadActOptions struct {
	acting
	deadFilter
	bot  string // bot is whose letters; empty: those of refs
	refs []session.Ref
	rate string
}

func newDeadRetry(e *env) *cobra.Command {
	o := &deadActOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "retry BOT | REF...",
		Short: "Have dead letters handled again",
		Long: `Have dead letters handled again, those of a bot or of some sessions: an event
comes to the end of its session's inbox, with all its attempts, and a session
that is gone is made again; a reply comes to the end of what is to be sent.
This is for when what made them fail is mended. The flags select the letters,
and --dry-run counts them.`,
		Example: `  botsession dead retry pizza/42
  botsession dead retry pizza --error timeout --newer 1h --rate 20/s`,
	}
	return o.command(cmd, job{verb: "retry", past: "retried", common: plan{{"then", "events are handled again, behind what waits; replies are sent"}}}, o.redeliver)
}

func newDeadRemove(e *env) *cobra.Command {
	o := &deadActOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "rm BOT | REF...",
		Short: "Remove dead letters",
		Long: `Remove dead letters, those of a bot or of some sessions: they are not handled,
and not kept for 30 days. The flags select the letters, and --dry-run counts
them.`,
		Example: `  botsession dead rm pizza/42
  botsession dead rm pizza --older 168h --dry-run`,
	}
	return o.command(cmd, job{verb: "remove", past: "removed", common: plan{{"then", "they are gone"}}}, o.discard)
}

// command adds what both commands have.
func (o *deadActOptions) command(cmd *cobra.Command, j job, prepare func(*fleet, *store.Session, session.DeadLetter) deed) *cobra.Command {
	cmd.Args = o.args
	cmd.ValidArgsFunction = o.completeRefs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd, j, prepare) }
	o.deadFilter.flags(cmd)
	cmd.Flags().StringVar(&o.rate, "rate", "", "at most so `many` letters in a time: 20/s, 100/m")
	o.acting.flags(cmd)
	return cmd
}

func (o *deadActOptions) args(cmd *cobra.Command, args []string) (err error) {
	if o.pause, err = pauseOf(o.rate); err != nil {
		return err
	}
	if err := o.bounds(time.Now()); err != nil {
		return err
	}
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		o.bot = args[0]
		return botArg(o.bot)
	}
	if len(args) == 0 {
		return usage(errors.New("a bot or a session is needed"), cmd.CommandPath()+" pizza, or pizza/42")
	}
	o.refs, err = refsArg(cmd, args)
	return err
}

func (o *deadActOptions) run(ctx context.Context, cmd *cobra.Command, j job, prepare func(*fleet, *store.Session, session.DeadLetter) deed) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	byError := map[string]int{}
	add := func(f *fleet, d session.DeadLetter) {
		if o.selects(d) {
			byError[d.Error]++
			s := f.bot.Session(d.Ref.ID)
			one := prepare(f, s, d)
			one.session = s
			j.deeds = append(j.deeds, one)
		}
	}
	if o.bot != "" {
		err = o.ofBot(ctx, add)
	} else {
		err = o.ofSessions(ctx, add)
	}
	if err != nil {
		return err
	}
	if len(j.deeds) == 0 && o.code == exitOK {
		return missing(fmt.Errorf("%w: no such dead letters", errNothing), "botsession dead lists them")
	}
	for i, why := range slices.SortedFunc(maps.Keys(byError), func(a, b string) int {
		return cmp.Or(cmp.Compare(byError[b], byError[a]), strings.Compare(a, b))
	}) {
		if i == few {
			j.common.add("", "and %d more errors", len(byError)-few)
			break
		}
		j.common.add("error", "%s × %s", humanize.Comma(int64(byError[why])), why)
	}
	j.thing = [2]string{"dead letter", "dead letters"}
	return o.perform(ctx, j)
}

// ofBot adds the letters of a bot.
func (o *deadActOptions) ofBot(ctx context.Context, add func(*fleet, session.DeadLetter)) error {
	f, err := o.fleetOf(ctx, o.bot)
	if err != nil {
		return err
	}
	for d, err := range f.bot.DeadLetters(ctx) {
		switch {
		case err == nil:
			add(f, d)
		case errors.Is(err, session.ErrCorrupt):
			o.fails(err)
		default:
			return err
		}
	}
	return nil
}

// ofSessions adds the letters of the sessions that were named.
func (o *deadActOptions) ofSessions(ctx context.Context, add func(*fleet, session.DeadLetter)) error {
	for _, ref := range o.refs {
		f, err := o.fleetOf(ctx, ref.Bot)
		if err != nil {
			return err
		}
		letters, err := f.bot.Session(ref.ID).DeadLetters(ctx)
		if err != nil && !o.fails(explain(ref, err)) {
			return &toldError{code: o.code}
		}
		if err == nil && len(letters) == 0 {
			o.fails(missing(fmt.Errorf("%w: %s has no dead letters", errNothing, ref), ""))
		}
		for _, d := range letters {
			add(f, d)
		}
	}
	return nil
}

// letter says which letter it is.
func (o *deadActOptions) letter(d session.DeadLetter) (p plan) {
	what := "unreadable"
	switch {
	case d.Event != nil:
		what = fmt.Sprintf("event %s, %s", text.Value(d.Event.ID), o.said(d.Event.Message()))
	case d.Reply != nil:
		what = fmt.Sprintf("reply %d, %s", d.Reply.Seq, o.said(d.Reply.String()))
	}
	p.add("letter", "%s, given up %s", what, o.date(d.Time))
	p.add("error", "%s", d.Error)
	return p
}

// redeliver prepares to have a letter handled again.
func (o *deadActOptions) redeliver(f *fleet, _ *store.Session, d session.DeadLetter) deed {
	p := o.letter(d)
	then := "the event is handled again, behind what waits, with all its attempts"
	if d.Reply != nil {
		then = "the reply is sent, behind others"
	}
	if len(f.serving()) == 0 {
		then += ". Nobody serves " + f.bot.Name() + ": it waits for a replica"
	}
	p.add("then", "%s", then)
	at := d.Time
	return deed{plan: p, do: func(ctx context.Context, s *store.Session) (string, error) {
		receipt, err := s.Redeliver(ctx, at)
		if err == nil && receipt != nil && receipt.Created {
			return "retried in a new session", nil
		}
		return "retried", err
	}}
}

// discard prepares to remove a letter.
func (o *deadActOptions) discard(_ *fleet, _ *store.Session, d session.DeadLetter) deed {
	at := d.Time
	return deed{plan: o.letter(d), do: func(ctx context.Context, s *store.Session) (string, error) {
		return "removed", s.Discard(ctx, at)
	}}
}
