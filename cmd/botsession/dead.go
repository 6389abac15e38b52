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
)

// A deadFilter selects dead letters, by flags that all commands about them have.
type deadFilter struct {
	error   string
	since   string
	older   time.Duration
	newer   time.Duration
	replies bool

	from, till time.Time // from and till bound when a letter was given up; zero: no bound
}

// flags adds the filter's flags to a command.
func (f *deadFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.error, "error", "", "only those whose error has this `text`, in any case")
	flags.StringVar(&f.since, "since", "", "only those given up `since`: 90m, or 2026-01-02T15:04:05Z")
	flags.DurationVar(&f.older, "older", 0, "only those given up so `long` ago, or longer")
	flags.DurationVar(&f.newer, "newer", 0, "only those given up less `long` ago")
	flags.BoolVar(&f.replies, "replies", false, "only replies")
}

// bounds works out the moments.
func (f *deadFilter) bounds(now time.Time) (err error) {
	if f.since != "" {
		if f.from, err = moment("since", f.since, now); err != nil {
			return err
		}
	}
	if f.newer > 0 {
		if at := now.Add(-f.newer); at.After(f.from) {
			f.from = at
		}
	}
	if f.older > 0 {
		f.till = now.Add(-f.older)
	}
	return nil
}

func (f *deadFilter) selects(d session.DeadLetter) bool {
	return (f.error == "" || strings.Contains(strings.ToLower(d.Error), strings.ToLower(f.error))) &&
		(f.from.IsZero() || !d.Time.Before(f.from)) &&
		(f.till.IsZero() || !d.Time.After(f.till)) &&
		(!f.replies || d.Reply != nil)
}

// deadOptions are what dead was asked.
type deadOptions struct {
	*env
	deadFilter
	bot   string // empty: all bots
	limit int
	wide  bool
	json  bool
}

func newDead(e *env) *cobra.Command {
	o := &deadOptions{env: e}
	cmd := &cobra.Command{
		Use:   "dead [BOT]",
		Short: "List dead letters, and count them by error",
		Long: `List the dead letters of one bot, or of all bots: events that were given up,
and replies that could not be sent, session by session, the oldest first, also
of sessions that are gone. Below the table they are counted by error. When what
made them fail is mended, dead retry has them handled again; dead rm removes
them.`,
		Example: `  botsession dead pizza
  botsession dead pizza --error timeout --newer 1h
  botsession dead --replies --json
  botsession dead retry pizza --error timeout --newer 1h --dry-run`,
		Args:              oneBot(&o.bot),
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.deadFilter.flags(cmd)
	cmd.Flags().IntVar(&o.limit, "limit", 100, "at most so many lines; 0 or less means all")
	cmd.Flags().BoolVar(&o.wide, "wide", false, "cut nothing on a terminal")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line")
	cmd.AddCommand(newDeadRetry(e), newDeadRemove(e))
	return cmd
}

// A deadLetter is one as dead --json prints it.
type deadLetter struct {
	Session string `json:"session"`
	session.DeadLetter
	NoSession bool `json:"no_session,omitempty"` // NoSession is whether its session is gone.
}

func (o *deadOptions) run(ctx context.Context) error {
	if err := o.bounds(time.Now()); err != nil {
		return err
	}
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bots, failed, err := o.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	var shown []deadLetter
	n, sessions, byError := 0, map[session.Ref]bool{}, map[string]int{}
	gone := map[session.Ref]bool{}
	for _, bot := range bots {
		for d, err := range bot.DeadLetters(ctx) {
			if err != nil {
				failed = append(failed, err)
				continue
			}
			if !o.selects(d) {
				continue
			}
			n++
			sessions[d.Ref] = true
			byError[d.Error]++
			if o.limit > 0 && n > o.limit {
				continue // it is counted
			}
			if _, known := gone[d.Ref]; !known {
				_, err := bot.Session(d.Ref.ID).Heads(ctx)
				gone[d.Ref] = errors.Is(err, session.ErrNotFound)
			}
			shown = append(shown, deadLetter{d.Ref.String(), d, gone[d.Ref]})
		}
	}
	if o.json {
		for _, d := range shown {
			if err := text.WriteJSON(o.out, o.hidden(d)); err != nil {
				return err
			}
		}
	} else if len(shown) > 0 {
		o.table(shown)
	}
	if n == 0 {
		fmt.Fprintln(o.err, "no dead letters")
		return failed.err()
	}
	o.sum(n, len(shown), len(sessions), byError)
	return failed.err()
}

// hidden is a letter as it is written as JSON.
func (o *deadOptions) hidden(d deadLetter) deadLetter {
	if d.Event != nil {
		e := o.hideEvent(*d.Event)
		d.Event = &e
	}
	if d.Reply != nil {
		m := o.hideMessage(*d.Reply)
		d.Reply = &m
	}
	return d
}

func (o *deadOptions) table(all []deadLetter) {
	t := text.NewTable(o.out, "WHEN", "SESSION", "EVENT", "TEXT", "TRIED", "ERROR")
	t.Right(5)
	t.CutEnd(4, 6)
	if !o.wide {
		t.Shrink(map[int]int{1: 8, 2: 12, 3: 20, 4: 8, 6: 12})
	}
	today := time.Now().In(o.zone).Format(time.DateOnly)
	for _, d := range all {
		when := d.Time.In(o.zone).Format(time.DateTime)
		if clock, is := strings.CutPrefix(when, today+" "); is {
			when = clock
		}
		what, said := "-", "-"
		switch {
		case d.Event != nil:
			what, said = text.Clean(d.Event.ID), o.said(d.Event.Text)
		case d.Reply != nil:
			what, said = fmt.Sprintf("reply %d", d.Reply.Seq), o.said(d.Reply.String())
		}
		if d.NoSession {
			what += " (no session)"
		}
		t.Row(when, d.Session, what, said, fmt.Sprint(max(1, d.Failures+d.Crashes)), text.Clean(d.Error))
	}
	if t.Render() {
		fmt.Fprintln(o.err, "long texts are cut: --wide shows them whole")
	}
}

// sum says below the table how many letters there are, by error.
func (o *deadOptions) sum(n, shown, sessions int, byError map[string]int) {
	line := fmt.Sprintf("%s of %s, each kept for 30 days", text.Count(n, "dead letter", "dead letters"), text.Count(sessions, "session", "sessions"))
	if shown < n {
		line = fmt.Sprintf("%d of %s; --limit 0 lists all", shown, line)
	}
	fmt.Fprintln(o.err, line)
	const most = 10
	for i, why := range slices.SortedFunc(maps.Keys(byError), func(a, b string) int {
		return cmp.Or(cmp.Compare(byError[b], byError[a]), strings.Compare(a, b))
	}) {
		if i == most {
			fmt.Fprintf(o.err, "  and %d more errors\n", len(byError)-most)
			break
		}
		count := fmt.Sprintf("  %s  ", humanize.Comma(int64(byError[why])))
		fmt.Fprintln(o.err, count+o.err.Paragraph(why, len(count)))
	}
}
