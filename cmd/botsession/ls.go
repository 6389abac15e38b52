package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// listOptions are what ls was asked.
type listOptions struct {
	*env
	bot      string // empty: all bots
	filter   store.Filter
	idle     time.Duration
	platform string // platform is --platform, which no list is by
	since    string // since is --active-since
	after    string // after is a cursor
	limit    int    // of sessions; 0 or less: none
	wide     bool
	json     bool
}

func newList(e *env) *cobra.Command {
	o := &listOptions{env: e}
	cmd := &cobra.Command{
		Use:   "ls [BOT]",
		Short: "List live sessions, the last active first",
		Long: `List the live sessions of one bot, or of all bots: the last active first, to
the minute; with --waiting, else with --idle, those first for which that is true
for longest; with --user bot by bot, in the order of their ids; with --dead or
--held-by bot by bot. If there are more than --limit, the first in that order
are shown. In --json each has a cursor, with which --after goes on behind it.

WAITING counts events in the inbox, the one in hand included. HELD BY is the
replica whose turn runs on the session now; where the last attempt failed, when
it is tried again. IDLE is the time since the session last changed.

On a terminal that is too narrow, PLATFORM is left out, and long names are cut
in the middle. With --wide, with --json and in a pipe all of it is there.`,
		Example: `  botsession ls pizza --state ordering
  botsession ls pizza --waiting
  botsession ls pizza --idle 24h --limit 50 --after CURSOR
  botsession ls --user ann --json`,
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return nil
			case 1:
				o.bot = args[0]
				return botArg(o.bot)
			}
			return usage(fmt.Errorf("ls takes one bot, not %d", len(args)), "botsession ls lists the sessions of all bots")
		},
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.filter.State, "state", "", "only sessions in this state")
	flags.StringVar(&o.platform, "platform", "", "only sessions on this platform; the list is read on until enough fit")
	flags.StringVar(&o.filter.User, "user", "", "only sessions of this user")
	flags.DurationVar(&o.idle, "idle", 0, "only sessions that did not change for so `long`")
	flags.StringVar(&o.since, "active-since", "", "only sessions that changed `since`: 90m, or 2026-01-02T15:04:05Z")
	flags.BoolVar(&o.filter.Waiting, "waiting", false, "only sessions in which something waits")
	flags.BoolVar(&o.filter.Dead, "dead", false, "only sessions that have dead letters")
	flags.StringVar(&o.filter.HeldBy, "held-by", "", "only sessions that the replica of this `name` holds, as HELD BY shows it")
	flags.StringVar(&o.after, "after", "", "go on behind the session with this `cursor`; needs BOT")
	flags.IntVar(&o.limit, "limit", 100, "at most so many; 0 or less means all")
	flags.BoolVar(&o.wide, "wide", false, "leave nothing out on a terminal")
	flags.BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// listed is a session as ls --json prints it.
type listed struct {
	Session string `json:"session"` // as show and history take it
	session.Status
	IdleMS int64 `json:"idle_ms"`
}

func (o *listOptions) run(ctx context.Context) error {
	if err := o.complete(time.Now()); err != nil {
		return err
	}
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	sessions, err := o.list(ctx, st) // what could be read is shown, whatever could not
	if len(sessions) == 0 {
		if err == nil {
			fmt.Fprintln(o.err, o.nothing())
		}
		return err
	}
	more := o.limit > 0 && len(sessions) > o.limit
	if more {
		sessions = sessions[:o.limit]
	}
	if o.json {
		for _, s := range sessions {
			if err := text.WriteJSON(o.out, listed{s.Ref.String(), s, idle(s).Milliseconds()}); err != nil {
				return err
			}
		}
	} else {
		o.table(sessions)
	}
	if more {
		which, _ := o.order()
		of := "more than " + text.Count(o.limit, "session", "sessions")
		if n := o.total(ctx, st); n > int64(o.limit) {
			of = fmt.Sprintf("%s of %s", humanize.Comma(int64(o.limit)), text.Count(n, "session", "sessions"))
		}
		fmt.Fprintf(o.err, "%s: these are %s; --limit 0 lists all\n", of, which)
	}
	return err
}

// total counts the sessions that fit, where that is counted already: of all, of a state,
// of those that wait and of those with dead letters. Else, and with an error, it is 0.
func (o *listOptions) total(ctx context.Context, st *store.Store) (n int64) {
	count := func(c store.Counts) int64 { return c.Sessions }
	switch f := o.filter; {
	case o.platform != "" || o.after != "":
		return 0
	case f == store.Filter{}:
	case f == store.Filter{State: f.State}:
		count = func(c store.Counts) int64 { return c.States[f.State] }
	case f == store.Filter{Waiting: true}:
		count = func(c store.Counts) int64 { return c.Waiting }
	default:
		return 0
	}
	bots, failed, err := o.bots(ctx, st, o.bot)
	for _, bot := range bots {
		c, e := bot.Counts(ctx)
		err = errors.Join(err, e)
		n += count(c)
	}
	if err != nil || len(failed) > 0 {
		return 0
	}
	return n
}

// complete makes the filter of what the flags say.
func (o *listOptions) complete(now time.Time) error {
	if o.idle > 0 {
		o.filter.IdleSince = now.Add(-o.idle)
	}
	if o.since != "" {
		ago, err := time.ParseDuration(o.since)
		if o.filter.ActiveSince = now.Add(-ago); err != nil {
			o.filter.ActiveSince, err = time.Parse(time.RFC3339, o.since)
		}
		if err != nil {
			return usage(fmt.Errorf("--active-since %q is neither a duration nor a moment", o.since), "as in --active-since 90m, or --active-since 2026-01-02T15:04:05Z")
		}
	}
	if o.after != "" && o.bot == "" {
		return usage(errors.New("--after needs a bot: a cursor is of one bot's list"), "botsession ls BOT --after CURSOR")
	}
	o.filter = o.filter.After(o.after)
	return nil
}

// order says which sessions come first, and how those of several bots come together;
// without compare bot by bot.
func (o *listOptions) order() (first string, compare func(a, b session.Status) int) {
	switch f := o.filter; {
	case f.Dead || f.HeldBy != "":
		return "the first that were found", nil
	case f.Waiting:
		return "those that wait for longest", func(a, b session.Status) int { return a.Since.Compare(b.Since) }
	case f.User != "" && o.bot == "":
		return "the first by bot and id", nil
	case f.User != "":
		return "the first by id", nil
	case !f.IdleSince.IsZero():
		return "those that are idle for longest", func(a, b session.Status) int { return a.Active.Compare(b.Active) }
	}
	return "the last active", func(a, b session.Status) int { return b.Active.Compare(a.Active) }
}

// list reads the sessions asked for in their order, and one more than the limit if
// there is one.
func (o *listOptions) list(ctx context.Context, st *store.Store) (sessions []session.Status, err error) {
	bots := []string{o.bot}
	if o.bot == "" {
		if bots, err = st.Bots(ctx); err != nil {
			return nil, err
		}
	}
	var failed failures
	_, compare := o.order()
	for _, name := range bots {
		if compare == nil && o.limit > 0 && len(sessions) > o.limit {
			break
		}
		bot, err := o.declared(ctx, st, name)
		if err != nil {
			if o.bot != "" {
				return nil, err
			}
			failed = append(failed, err)
			continue
		}
		n := 0
		for s, err := range bot.Sessions(ctx, o.filter) {
			if errors.Is(err, session.ErrInvalid) {
				return nil, usage(err, "a cursor is in each line of botsession ls BOT --json, and goes on with the same flags")
			}
			if err != nil {
				failed = append(failed, err)
				continue
			}
			if o.platform != "" && s.Platform != o.platform {
				continue
			}
			sessions = append(sessions, s)
			if n++; o.limit > 0 && n > o.limit {
				break
			}
		}
	}
	if compare != nil {
		slices.SortStableFunc(sessions, compare)
	}
	return sessions, failed.err()
}

// nothing says that there are no sessions of those that were asked for.
func (o *listOptions) nothing() string {
	what := "no live sessions"
	if o.bot != "" {
		what += " of bot " + o.bot
	}
	if o.filter.State != "" {
		what += fmt.Sprintf(" in state %q", o.filter.State)
	}
	if o.platform != "" {
		what += fmt.Sprintf(" on %q", o.platform)
	}
	if o.filter.User != "" {
		what += fmt.Sprintf(" of user %q", o.filter.User)
	}
	if f := o.filter; f.Waiting || f.Dead || f.HeldBy != "" || !f.IdleSince.IsZero() || !f.ActiveSince.IsZero() || o.after != "" {
		what += " that fit all flags"
	}
	return what
}

func (o *listOptions) table(sessions []session.Status) {
	t := text.NewTable(o.out, "SESSION", "STATE", "PLATFORM", "MESSAGES", "WAITING", "HELD BY", "IDLE")
	t.Right(4, 5, 7)
	if !o.wide {
		t.Optional(3)
		t.Shrink(map[int]int{1: 18, 2: 10, 6: 20})
	}
	for _, s := range sessions {
		waiting := fmt.Sprint(s.Waiting)
		if s.Waiting > 0 {
			waiting = o.out.Paint(text.Yellow, waiting)
		}
		t.Row(s.Ref.String(), text.Clean(s.State), orDash(text.Clean(s.Platform)), fmt.Sprint(s.Messages), waiting, o.holder(s), text.Duration(idle(s)))
	}
	if t.Render() {
		fmt.Fprintln(o.err, "long names are cut: --wide shows them whole")
	}
}

// holder says who holds the session; failing that, when it is tried again.
func (o *listOptions) holder(s session.Status) string {
	if s.Lease.Held(s.Now) {
		return text.Clean(s.Lease.Holder)
	}
	for _, r := range []session.Retry{s.Reply, s.Event} {
		if r.At.After(s.Now) {
			why := fmt.Sprintf("failed %d×", r.Failures+r.Crashes)
			if r.Failures+r.Crashes == 0 && !r.Since.IsZero() {
				why = "put off for " + text.Duration(s.Now.Sub(r.Since))
			}
			return o.out.Paint(text.Red, fmt.Sprintf("(%s, again in %s)", why, text.Duration(r.At.Sub(s.Now))))
		}
	}
	return "-"
}

// idle is the time since the session last changed, by the server's clock.
func idle(s session.Status) time.Duration { return max(0, s.Now.Sub(s.Active)) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
