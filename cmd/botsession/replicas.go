package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// replicasOptions are what replicas was asked.
type replicasOptions struct {
	*env
	bot  string // empty: all bots
	wide bool
	json bool
}

func newReplicas(e *env) *cobra.Command {
	o := &replicasOptions{env: e}
	cmd := &cobra.Command{
		Use:   "replicas [BOT]",
		Short: "List the replicas of the last hour, and what they hold",
		Long: `List the replicas that served a bot, or any bot, within the last hour, with and
without room for another session, those that left and those that were not heard
of again.

USED counts the slots that are taken. STUCK counts handlers that did not return
in time and still run; once they are left alone they take no slot. HOLDS is how
many sessions the replica has in hand, and for how long the first of them.`,
		Example: `  botsession replicas pizza
  botsession ls pizza --held-by NAME`,
		Args:              oneBot(&o.bot),
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.wide, "wide", false, "cut nothing on a terminal")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// replicaShown is a replica as replicas --json prints it.
type replicaShown struct {
	Bot string `json:"bot"`
	store.Replica
	Holds  int   `json:"holds"`
	HeldMS int64 `json:"held_ms"` // HeldMS is for how long it has the first of what it holds.
}

func (o *replicasOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bots, failed, err := o.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	var all []replicaShown
	for _, bot := range bots {
		f, err := o.fleet(ctx, bot)
		if err == nil {
			err = f.holds(ctx)
		}
		if err != nil {
			failed = append(failed, err)
		}
		for _, r := range f.replicas {
			shown := replicaShown{Bot: bot.Name(), Replica: r, Holds: len(f.held[r.Name])}
			for _, s := range f.held[r.Name] {
				shown.HeldMS = max(shown.HeldMS, s.Now.Sub(s.Lease.Since).Milliseconds())
			}
			all = append(all, shown)
		}
	}
	if o.json {
		for _, r := range all {
			if err := text.WriteJSON(o.out, r); err != nil {
				return err
			}
		}
		return failed.err()
	}
	if len(all) == 0 {
		what := "any bot"
		if o.bot != "" {
			what = o.bot
		}
		fmt.Fprintf(o.err, "no replica served %s within the last hour\n", what)
		return failed.err()
	}
	o.table(all)
	return failed.err()
}

func (o *replicasOptions) table(all []replicaShown) {
	t := text.NewTable(o.out, "REPLICA", "BOT", "STATUS", "SINCE", "SEEN", "VERSION", "SLOTS", "USED", "STUCK", "HOLDS")
	t.Right(4, 5, 7, 8, 9)
	t.Optional(6)
	if !o.wide {
		t.Shrink(map[int]int{1: 12, 2: 4, 3: 4, 6: 6})
	}
	for _, r := range all {
		holds := "-"
		if r.Holds > 0 {
			holds = fmt.Sprintf("%d, for %s", r.Holds, text.Duration(time.Duration(r.HeldMS)*time.Millisecond))
		}
		stuck := fmt.Sprint(r.Stuck)
		if r.Stuck > 0 {
			stuck = o.out.Paint(text.Red, stuck)
		}
		t.Row(text.Clean(r.Name), r.Bot, o.status(r.Replica), text.Duration(r.Now.Sub(r.Since))+" ago", text.Duration(r.Now.Sub(r.Seen))+" ago",
			orDash(text.Clean(r.Version)), fmt.Sprint(r.Slots), fmt.Sprint(r.Used), stuck, holds)
	}
	if t.Render() {
		fmt.Fprintln(o.err, "long names are cut: --wide shows them whole")
	}
}

// status says in a word how a replica is.
func (o *replicasOptions) status(r store.Replica) string {
	switch {
	case r.Leaving:
		return "left"
	case !r.Present:
		return o.out.Paint(text.Red, "gone")
	case r.Used >= r.Slots:
		return o.out.Paint(text.Yellow, "full")
	}
	return o.out.Paint(text.Green, "serves")
}
