package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// auditOptions are what audit was asked.
type auditOptions struct {
	*env
	bot   string // empty: all bots
	limit int
	wide  bool
	json  bool
}

func newAudit(e *env) *cobra.Command {
	o := &auditOptions{env: e}
	cmd := &cobra.Command{
		Use:   "audit [BOT]",
		Short: "List what was done by hand, the latest first",
		Long: `List what was done by hand to the sessions of one bot, or of all bots, the
latest first: when, by whom (--as, else the system's user), what, and why
(--reason). The server keeps the last thousand for each of the parts into which
sessions are divided. What botsession send says is not in it: that is an event
like others.`,
		Example: `  botsession audit pizza
  botsession audit --limit 0 --json`,
		Args:              oneBot(&o.bot),
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().IntVar(&o.limit, "limit", 50, "at most so many lines; 0 or less means all")
	cmd.Flags().BoolVar(&o.wide, "wide", false, "cut nothing on a terminal")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// An audited is an act as audit --json prints it.
type audited struct {
	Session string `json:"session,omitempty"` // Session is empty if it was done to the bot.
	session.Act
}

func (o *auditOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bots, failed, err := o.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	var acts []session.Act
	for _, bot := range bots {
		n := 0
		for act, err := range bot.Audit(ctx) {
			if err != nil {
				failed = append(failed, err)
				continue
			}
			acts = append(acts, act)
			if n++; o.limit > 0 && n > o.limit {
				break
			}
		}
	}
	slices.SortStableFunc(acts, func(a, b session.Act) int { return b.Time.Compare(a.Time) })
	more := o.limit > 0 && len(acts) > o.limit
	if more {
		acts = acts[:o.limit]
	}
	switch {
	case o.json:
		for _, act := range acts {
			a := audited{Act: act}
			if act.Ref.ID != "" {
				a.Session = act.Ref.String()
			}
			if err := text.WriteJSON(o.out, a); err != nil {
				return err
			}
		}
	case len(acts) > 0:
		o.table(acts)
	case len(failed) == 0:
		fmt.Fprintln(o.err, "nothing was done by hand")
	}
	if more {
		fmt.Fprintf(o.err, "more than %s: these are the latest; --limit 0 lists all\n", text.Count(o.limit, "act", "acts"))
	}
	return failed.err()
}

func (o *auditOptions) table(acts []session.Act) {
	t := text.NewTable(o.out, "WHEN", "BY", "DID", "TO", "WHAT", "WHY")
	t.CutEnd(6)
	if !o.wide {
		t.Shrink(map[int]int{2: 6, 4: 12, 5: 10, 6: 10})
	}
	today := time.Now().In(o.zone).Format(time.DateOnly)
	for _, a := range acts {
		when := a.Time.In(o.zone)
		format := time.DateTime
		if when.Format(time.DateOnly) == today {
			format = time.TimeOnly
		}
		to := a.Ref.Bot
		if a.Ref.ID != "" {
			to = a.Ref.String()
		}
		t.Row(when.Format(format), text.Clean(a.By), text.Clean(a.Verb), to, orDash(text.Clean(a.Object)), orDash(text.Clean(a.Reason)))
	}
	if t.Render() {
		fmt.Fprintln(o.err, "long texts are cut: --wide shows them whole")
	}
}
