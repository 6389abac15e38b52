package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// stuckOptions are what stuck was asked.
type stuckOptions struct {
	*env
	bot   string // empty: all bots
	over  time.Duration
	by    string
	limit int
	wide  bool
	json  bool
}

func newStuck(e *env) *cobra.Command {
	o := &stuckOptions{env: e}
	cmd := &cobra.Command{
		Use:   "stuck [BOT]",
		Short: "List what waits for too long, and why",
		Long: `List the sessions in which something waits for longer than --over, the longest
wait first, with the first event and why it waits: who has it in hand and since
when, how often it failed and when it is tried again, that it was put off, or
that nobody serves the bot. Above the table stands who serves.

EVENTS counts those that wait, the one in hand included; (full) says that the
session takes no more. With --by why the sessions are counted by reason.`,
		Example: `  botsession stuck pizza
  botsession stuck pizza --over 1m --by why
  botsession stuck --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.by != "" && o.by != "why" {
				return usage(fmt.Errorf("--by %q", o.by), "--by why")
			}
			return oneBot(&o.bot)(cmd, args)
		},
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&o.over, "over", 10*time.Second, "only what waits for longer than so `long`")
	flags.StringVar(&o.by, "by", "", "count by `why`, instead of a line for each session")
	flags.IntVar(&o.limit, "limit", 50, "at most so many lines; 0 or less means all")
	flags.BoolVar(&o.wide, "wide", false, "cut nothing on a terminal")
	flags.BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// A waiter is a session in which something waits for too long.
type waiter struct {
	Session string `json:"session"`
	WaitsMS int64  `json:"waits_ms"`
	Full    bool   `json:"full,omitempty"` // Full is whether it takes no more events.
	why
	Heads store.Heads `json:"heads"`

	fleet  *fleet
	status session.Status
}

func (w waiter) waits() time.Duration { return w.status.Now.Sub(w.status.Since) }

func (o *stuckOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bots, failed, err := o.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	var all []waiter
	var counts store.Counts
	for _, bot := range bots {
		f, err := o.fleet(ctx, bot)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if !o.json {
			fmt.Fprintln(o.err, f.headline())
		}
		n, err := bot.Counts(ctx)
		counts.Sessions, counts.Dead, counts.Waiting = counts.Sessions+n.Sessions, counts.Dead+n.Dead, counts.Waiting+n.Waiting
		if err != nil {
			failed = append(failed, err)
		}
		few := 0
		for s, err := range bot.Waiting(ctx) {
			if err != nil {
				failed = append(failed, err)
				continue
			}
			if s.Now.Sub(s.Since) <= o.over {
				break // those behind it wait for less
			}
			all = append(all, waiter{Session: s.Ref.String(), WaitsMS: s.Now.Sub(s.Since).Milliseconds(), Full: int(s.Waiting) >= f.settings.Options.InboxLimit, why: f.whyOf(s), fleet: &f, status: s})
			if few++; o.by == "" && o.limit > 0 && few > o.limit {
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b waiter) int { return cmp.Compare(b.WaitsMS, a.WaitsMS) })
	if o.by != "" {
		if err := o.groups(all); err != nil {
			return err
		}
		o.sum(len(all), false, counts)
		return failed.err()
	}
	more := o.limit > 0 && len(all) > o.limit
	if more {
		all = all[:o.limit]
	}
	for i := range all {
		w := &all[i]
		// One that is gone meanwhile, or is damaged, is shown by what was known of it.
		if w.Heads, err = w.fleet.bot.Session(w.status.Ref.ID).Heads(ctx); err != nil && w.Heads.Status.Ref.ID == "" {
			w.Heads.Status = w.status
		}
	}
	if o.json {
		for _, w := range all {
			w.Heads = o.hide(w.Heads)
			if err := text.WriteJSON(o.out, w); err != nil {
				return err
			}
		}
		return failed.err()
	}
	if len(all) > 0 {
		o.table(all)
	}
	o.sum(len(all), more, counts)
	return failed.err()
}

func (o *stuckOptions) table(all []waiter) {
	t := text.NewTable(o.out, "SESSION", "WAITS", "EVENTS", "HEAD", "WHY")
	t.Right(2, 3)
	t.CutEnd(5)
	if !o.wide {
		t.Shrink(map[int]int{1: 15, 4: 10, 5: 34})
	}
	for _, w := range all {
		events := humanize.Comma(w.status.Waiting)
		if w.Full {
			events += o.out.Paint(text.Red, " (full)")
		}
		t.Row(w.Session, text.Duration(w.waits()), events, o.head(w.Heads), w.Text)
	}
	if t.Render() {
		fmt.Fprintln(o.err, "long texts are cut: --wide shows them whole")
	}
}

// head shows the first event, or else the first reply.
func (o *stuckOptions) head(h store.Heads) string {
	switch {
	case h.Event != nil && h.Status.Unsent == 0:
		return o.said(h.Event.Text) + " " + text.Clean(h.Event.ID)
	case h.Reply != nil:
		return "reply " + o.said(h.Reply.String())
	case h.Event != nil:
		return o.said(h.Event.Text) + " " + text.Clean(h.Event.ID)
	}
	return "-"
}

// A reason is how many sessions wait for the same one.
type reason struct {
	Why      string `json:"why"`
	Sessions int    `json:"sessions"`
	Events   int64  `json:"events"`
	Longest  int64  `json:"longest_ms"`
	Example  string `json:"example"` // Example is the session that waits for longest.
}

// groups prints how many wait by reason, of sessions with the longest wait first.
func (o *stuckOptions) groups(all []waiter) error {
	var reasons []*reason
	by := map[string]*reason{}
	for _, w := range all {
		r := by[w.group()]
		if r == nil {
			r = &reason{Why: w.group(), Longest: w.WaitsMS, Example: w.Session}
			by[r.Why], reasons = r, append(reasons, r)
		}
		r.Sessions++
		r.Events += w.status.Waiting
	}
	slices.SortStableFunc(reasons, func(a, b *reason) int { return cmp.Compare(b.Sessions, a.Sessions) })
	if o.json {
		for _, r := range reasons {
			if err := text.WriteJSON(o.out, r); err != nil {
				return err
			}
		}
		return nil
	}
	if len(reasons) == 0 {
		return nil
	}
	t := text.NewTable(o.out, "WHY", "SESSIONS", "EVENTS", "LONGEST", "FOR EXAMPLE")
	t.Right(2, 3, 4)
	t.CutEnd(1)
	if !o.wide {
		t.Shrink(map[int]int{1: 20, 5: 12})
	}
	for _, r := range reasons {
		t.Row(r.Why, humanize.Comma(int64(r.Sessions)), humanize.Comma(r.Events), text.Duration(time.Duration(r.Longest)*time.Millisecond), r.Example)
	}
	t.Render()
	return nil
}

// sum says how many wait of how many, below the table.
func (o *stuckOptions) sum(n int, more bool, c store.Counts) {
	if o.json {
		return
	}
	line := fmt.Sprintf("%s of %s waits for longer than %s (--over)", humanize.Comma(int64(n)), text.Count(c.Sessions, "session", "sessions"), o.over)
	switch {
	case more:
		line = fmt.Sprintf("the %d that wait for longest, of %s in which something waits; --limit 0 lists all", n, text.Count(c.Waiting, "session", "sessions"))
	case n == 0:
		line = fmt.Sprintf("none of %s waits for longer than %s (--over)", text.Count(c.Sessions, "session", "sessions"), o.over)
	case n > 1:
		line = fmt.Sprintf("%s of %s wait for longer than %s (--over)", humanize.Comma(int64(n)), text.Count(c.Sessions, "session", "sessions"), o.over)
	}
	if c.Dead > 0 {
		line += fmt.Sprintf("; %s dead letters: botsession dead", humanize.Comma(c.Dead)+map[bool]string{true: " has", false: " have"}[c.Dead == 1])
		if o.bot != "" {
			line += " " + o.bot
		}
	}
	fmt.Fprintln(o.err, line)
}

// hide takes out of what is written as JSON what is not to be shown.
func (e *env) hide(h store.Heads) store.Heads {
	if h.Event != nil {
		event := e.hideEvent(*h.Event)
		h.Event = &event
	}
	if h.Reply != nil {
		reply := e.hideMessage(*h.Reply)
		h.Reply = &reply
	}
	return h
}

func (e *env) hideEvent(v session.Event) session.Event {
	v.Payload = text.JSONable(v.Payload)
	if e.redact() {
		v.Text, v.Payload, v.File = text.Redacted(len(v.Text)), nil, nil
	}
	return v
}

func (e *env) hideMessage(m session.Message) session.Message {
	m.Content, m.Metadata = text.JSONable(m.Content), text.JSONableMap(m.Metadata)
	if e.redact() {
		m.Content, m.Metadata = text.Redacted(len(m.String())), nil
	}
	return m
}
