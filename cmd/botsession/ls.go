package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// listOptions are what ls was asked.
type listOptions struct {
	*env
	bot    string // empty: all bots
	filter store.Filter
	limit  int // of each bot, and of all; 0 or less: none
	wide   bool
	json   bool
}

func newList(e *env) *cobra.Command {
	o := &listOptions{env: e}
	cmd := &cobra.Command{
		Use:   "ls [BOT]",
		Short: "List live sessions, newest first",
		Long: `List the live sessions of one bot, or of all bots, the last active first.
Of more sessions in a state or of a user than --limit, the first by id are shown.

WAITING counts events in the inbox, the one in hand included. HELD BY is the
replica whose turn runs on the session now; where the last attempt failed, when
it is tried again. IDLE is the time since the session last changed.

On a terminal that is too narrow, PLATFORM is left out, and long names are cut
in the middle. With --wide, with --json and in a pipe all of it is there.`,
		Example: `  botsession ls pizza --state ordering
  botsession ls --user ann --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(fmt.Errorf("ls takes one bot, not %d", len(args)), "botsession ls lists the sessions of all bots")
			}
			return nil
		},
		ValidArgsFunction: e.completeBot,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.bot = args[0]
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.filter.State, "state", "", "only sessions in this state")
	flags.StringVar(&o.filter.User, "user", "", "only sessions of this user")
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
	if o.bot != "" {
		if err := session.ValidBot(o.bot); err != nil {
			hint := ""
			if ref, err := session.ParseRef(o.bot); err == nil {
				hint = "one session: botsession show " + ref.String()
			}
			return usage(err, hint)
		}
	}
	st, err := o.inspect(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	sessions, more, failed := o.list(ctx, st) // what could be read is shown, whatever could not
	if len(sessions) == 0 {
		if failed != nil {
			return failed
		}
		return o.nothing(ctx, st)
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
		which := "newest"
		if o.filter != (store.Filter{}) {
			which = "first" // of each bot, by id
		}
		fmt.Fprintf(o.err, "these are the %s %d; --limit 0 lists all\n", which, len(sessions))
	}
	return failed
}

// list reads the sessions asked for, and whether there are more than the limit.
func (o *listOptions) list(ctx context.Context, st *store.Store) (sessions []session.Status, more bool, err error) {
	bots := []string{o.bot}
	if o.bot == "" {
		if bots, err = st.Bots(ctx); err != nil {
			return nil, false, err
		}
	}
	var failures []error
	for _, bot := range bots {
		b, err := st.Bot(ctx, bot, nil)
		if errors.Is(err, session.ErrNotFound) {
			continue // a bot that nobody has declared has no sessions
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		n := 0
		for st, err := range b.Sessions(ctx, o.filter) {
			if err != nil {
				failures = append(failures, err)
				continue
			}
			sessions = append(sessions, st)
			if n++; o.limit > 0 && n > o.limit { // one more, to see whether there are more
				break
			}
		}
	}
	err = errors.Join(failures...)
	if o.limit > 0 && len(sessions) > o.limit && o.filter != (store.Filter{}) {
		sessions, more = sessions[:o.limit], true
	}
	slices.SortStableFunc(sessions, func(a, b session.Status) int { return b.Active.Compare(a.Active) })
	if o.limit > 0 && len(sessions) > o.limit {
		sessions, more = sessions[:o.limit], true
	}
	return sessions, more, err
}

// nothing says that there are no sessions, and where there are some.
func (o *listOptions) nothing(ctx context.Context, st *store.Store) error {
	what := "no live sessions"
	if o.bot != "" {
		what += " of bot " + o.bot
	}
	if o.filter.State != "" {
		what += fmt.Sprintf(" in state %q", o.filter.State)
	}
	if o.filter.User != "" {
		what += fmt.Sprintf(" of user %q", o.filter.User)
	}
	bots, err := st.Bots(ctx)
	if err != nil {
		return err
	}
	if len(bots) > 0 && !slices.Contains(bots, o.bot) {
		what += "; bots with sessions: " + strings.Join(bots, ", ")
	}
	fmt.Fprintln(o.err, what)
	return nil
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
	switch {
	case s.Lease.Held(s.Now):
		return text.Clean(s.Lease.Holder)
	}
	for _, r := range []session.Retry{s.Reply, s.Event} {
		if r.At.After(s.Now) {
			return o.out.Paint(text.Red, fmt.Sprintf("(failed %d×, again in %s)", r.Failures+r.Crashes, text.Duration(r.At.Sub(s.Now))))
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

// completeBot completes the name of a bot from the server.
func (e *env) completeBot(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	st, err := e.inspect(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer st.Close()
	bots, err := st.Bots(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return bots, cobra.ShellCompDirectiveNoFileComp
}

// completeRef completes a bot's name, and behind its slash the id of one of
// its newest sessions.
func (e *env) completeRef(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	bot, _, slash := strings.Cut(begun, "/")
	if !slash {
		bots, directive := e.completeBot(cmd, args, begun)
		for i := range bots {
			bots[i] += "/"
		}
		return bots, directive | cobra.ShellCompDirectiveNoSpace
	}
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	st, err := e.inspect(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer st.Close()
	b, err := st.Bot(ctx, bot, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var refs []string
	for status, err := range b.Sessions(ctx, store.Filter{}) {
		if err != nil && len(refs) == 0 && !errors.Is(err, session.ErrCorrupt) {
			return nil, cobra.ShellCompDirectiveError
		}
		if err == nil {
			refs = append(refs, status.Ref.String())
		}
		if len(refs) == 100 {
			break
		}
	}
	return refs, cobra.ShellCompDirectiveNoFileComp
}
