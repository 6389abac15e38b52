package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// statsOptions are what stats was asked.
type statsOptions struct {
	*env
	bot      string // empty: all bots
	watch    bool
	every    time.Duration
	maxWait  time.Duration
	replicas int
	maxDead  int64
	asked    func(flag string) bool // asked is whether a flag is given
	json     bool
}

func newStats(e *env) *cobra.Command {
	o := &statsOptions{env: e}
	cmd := &cobra.Command{
		Use:   "stats [BOT]",
		Short: "Show on one screen how a bot is, or probe it",
		Long: `Show on one screen how one bot is, or each: its sessions by state, what waits and
for how long, full inboxes, dead letters, who serves it, and the server.

With --watch the screen is shown again and again until ctrl-C. With --max-wait,
--min-replicas or --max-dead it is a probe: the exit code is 1 if one of them
does not hold, and the message says which.

Full inboxes are looked for among the ` + fmt.Sprint(mostLooked) + ` sessions that wait for longest.`,
		Example: `  botsession stats pizza
  botsession stats --watch
  botsession stats pizza --max-wait 30s --min-replicas 2 --max-dead 0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.every < 100*time.Millisecond {
				return usage(fmt.Errorf("--every %v is less than 100ms", o.every), "")
			}
			return oneBot(&o.bot)(cmd, args)
		},
		ValidArgsFunction: e.completeBot,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.asked = cmd.Flags().Changed
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.watch, "watch", false, "show it again and again, until ctrl-C")
	flags.DurationVar(&o.every, "every", 2*time.Second, "`pause` of --watch")
	flags.DurationVar(&o.maxWait, "max-wait", 0, "fail if something waits for so `long`")
	flags.IntVar(&o.replicas, "min-replicas", 0, "fail if fewer replicas serve a bot")
	flags.Int64Var(&o.maxDead, "max-dead", 0, "fail if more sessions have dead letters")
	flags.BoolVar(&o.json, "json", false, "one JSON object a bot and line")
	return cmd
}

// mostLooked is among how many waiting sessions full inboxes are looked for.
const mostLooked = 10_000

// A stat is how one bot is, as stats --json prints it.
type stat struct {
	Bot      string           `json:"bot"`
	Sessions int64            `json:"sessions"`
	States   map[string]int64 `json:"states"`
	Waiting  int64            `json:"waiting"`          // Waiting is how many sessions wait.
	OldestMS int64            `json:"oldest_ms"`        // OldestMS is for how long the first of them waits.
	Oldest   string           `json:"oldest,omitempty"` // Oldest is the session that waits for longest.
	Full     int              `json:"full"`             // Full is how many inboxes take no more.
	Dead     int64            `json:"dead"`             // Dead is how many sessions have dead letters.
	Replicas int              `json:"replicas"`         // Replicas is how many are there.
	Gone     int              `json:"gone"`             // Gone is how many were not heard of again, within the hour.
	Slots    int              `json:"slots"`            // Slots is how many sessions they handle at once.
	Used     int              `json:"used"`             // Used is how many of the slots are taken.
	Stuck    int              `json:"stuck"`            // Stuck is how many handlers do not return.
	Versions []string         `json:"versions"`         // Versions are those of the replicas that are there.
	Error    string           `json:"error,omitempty"`  // Error is why some figures are missing.

	fleet fleet
}

func (o *statsOptions) run(ctx context.Context) error {
	st, err := o.openQuietly(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	if !o.watch {
		return o.once(ctx, st, o.env)
	}
	screen := text.NewScreen(o.out)
	defer screen.Close()
	for {
		var page strings.Builder
		e := *o.env
		e.out, e.err = o.out.To(&page), o.err.To(&page)
		err := o.once(ctx, st, &e)
		if ctx.Err() != nil {
			return nil // ctrl-C is how it ends
		}
		if err != nil { // it is told beside the figures, and the next look may go well
			told := failures{err}
			if all, is := err.(failures); is {
				told = all
			}
			for _, err := range told {
				fmt.Fprintln(e.out, e.out.Paint(text.Red, e.out.Paragraph("error: "+err.Error(), 2)))
			}
		}
		screen.Show(page.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.every):
		}
	}
}

// once reads the figures and shows them on the streams of e. Its error has what does
// not hold of a probe, too.
func (o *statsOptions) once(ctx context.Context, st *store.Store, e *env) error {
	bots, failed, err := e.bots(ctx, st, o.bot)
	if err != nil {
		return err
	}
	var all []stat
	for _, bot := range bots {
		s, err := e.stat(ctx, bot)
		if err != nil {
			s.Error = err.Error()
			failed = append(failed, err)
		}
		all = append(all, s)
		failed = append(failed, o.probe(s)...)
	}
	if o.json {
		for _, s := range all {
			if err := text.WriteJSON(e.out, s); err != nil {
				return err
			}
		}
		return failed.err()
	}
	switch {
	case len(all) == 0:
		fmt.Fprintln(e.err, "no bots")
	case o.bot != "":
		e.statOf(all[0])
	default:
		e.statTable(all)
	}
	fmt.Fprintln(e.out)
	if err := e.statServers(ctx, st); err != nil {
		failed = append(failed, err)
	}
	return failed.err()
}

// stat reads how one bot is. With an error comes what could be read.
func (e *env) stat(ctx context.Context, bot *store.Bot) (stat, error) {
	s := stat{Bot: bot.Name(), Versions: []string{}}
	var failed error
	s.fleet, failed = e.fleet(ctx, bot)
	counts, err := bot.Counts(ctx)
	failed = cmp.Or(failed, err)
	s.Sessions, s.States, s.Waiting, s.Dead = counts.Sessions, counts.States, counts.Waiting, counts.Dead
	n := 0
	for w, err := range bot.Waiting(ctx) {
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		if n == 0 {
			s.Oldest, s.OldestMS = w.Ref.String(), w.Now.Sub(w.Since).Milliseconds()
		}
		if limit := s.fleet.settings.Options.InboxLimit; limit > 0 && int(w.Waiting) >= limit {
			s.Full++
		}
		if n++; n == mostLooked {
			break
		}
	}
	s.Slots, s.Used, s.Stuck = s.fleet.slots()
	s.Replicas, s.Gone = len(s.fleet.serving()), len(s.fleet.lost())
	s.Versions = append(s.Versions, s.fleet.versions()...)
	return s, failed
}

// probe returns which of the flags do not hold.
func (o *statsOptions) probe(s stat) (failed failures) {
	no := func(format string, args ...any) { failed = append(failed, fmt.Errorf(s.Bot+": "+format, args...)) }
	if wait := time.Duration(s.OldestMS) * time.Millisecond; o.asked("max-wait") && wait > o.maxWait {
		no("%s waits for %s (--max-wait %s)", s.Oldest, text.Duration(wait), o.maxWait)
	}
	if o.asked("min-replicas") && s.Replicas < o.replicas {
		no("replicas that serve it: %d (--min-replicas %d)", s.Replicas, o.replicas)
	}
	if o.asked("max-dead") && s.Dead > o.maxDead {
		no("sessions with dead letters: %d (--max-dead %d)", s.Dead, o.maxDead)
	}
	return failed
}

// alarm paints a figure that should be zero.
func (e *env) alarm(n int64) string {
	if n == 0 {
		return "0"
	}
	return e.out.Paint(text.Red, humanize.Comma(n))
}

func (e *env) statTable(all []stat) {
	t := text.NewTable(e.out, "BOT", "SESSIONS", "WAITING", "OLDEST", "FULL", "DEAD", "REPLICAS", "SLOTS USED", "STUCK")
	t.Right(2, 3, 4, 5, 6, 7, 8, 9)
	t.Shrink(map[int]int{1: 6})
	for _, s := range all {
		t.Row(s.Bot, humanize.Comma(s.Sessions), humanize.Comma(s.Waiting), oldest(s), e.alarm(int64(s.Full)), e.alarm(s.Dead),
			e.present(s), fmt.Sprintf("%d of %d", s.Used, s.Slots), e.alarm(int64(s.Stuck)))
	}
	t.Render()
}

func oldest(s stat) string {
	if s.Waiting == 0 {
		return "-"
	}
	return text.Duration(time.Duration(s.OldestMS) * time.Millisecond)
}

// present says how many replicas are there, and how many are gone.
func (e *env) present(s stat) string {
	line := fmt.Sprint(s.Replicas)
	if s.Replicas == 0 {
		line = e.out.Paint(text.Red, line)
	}
	if s.Gone > 0 {
		line += e.out.Paint(text.Red, fmt.Sprintf(" (%d gone)", s.Gone))
	}
	return line
}

// statOf shows one bot by itself.
func (e *env) statOf(s stat) {
	p := fieldPrinter{e.out, fieldWidth}
	p.title(s.Bot)
	line := humanize.Comma(s.Sessions)
	for i, state := range slices.SortedFunc(maps.Keys(s.States), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.States[b], s.States[a]), strings.Compare(a, b))
	}) {
		if i == 10 {
			line += fmt.Sprintf(", %d more states: botsession flow %s", len(s.States)-i, s.Bot)
			break
		}
		line += map[bool]string{true: ": ", false: ", "}[i == 0] + fmt.Sprintf("%s %s", humanize.Comma(s.States[state]), text.Clean(state))
	}
	p.field("sessions", line)
	line = humanize.Comma(s.Waiting)
	if s.Waiting > 0 {
		line += fmt.Sprintf(", the longest for %s: %s", oldest(s), s.Oldest)
	}
	p.field("waiting", line)
	p.painted(color(s.Full > 0), "full inboxes", fmt.Sprint(s.Full))
	p.painted(color(s.Dead > 0), "dead letters", fmt.Sprintf("in %s", text.Count(s.Dead, "session", "sessions")))
	p.painted(color(s.Replicas == 0), "replicas", s.fleet.headline())
	p.field("slots", fmt.Sprintf("%d of %d taken", s.Used, s.Slots))
	if len(s.Versions) > 0 {
		p.field("versions", text.Clean(strings.Join(s.Versions, ", ")))
	}
}

func color(alarm bool) text.Color {
	if alarm {
		return text.Red
	}
	return ""
}

// statServers shows each server, and what Open found.
func (e *env) statServers(ctx context.Context, st *store.Store) error {
	servers, err := st.Servers(ctx)
	for _, s := range servers {
		line := []string{"server " + text.Clean(s.Addr)}
		if s.Version != "" {
			line = append(line, text.Clean(s.Version))
		}
		if s.Memory > 0 {
			line = append(line, memory(s))
		}
		if s.Policy != "" {
			line = append(line, text.Clean(s.Policy))
		}
		fmt.Fprintln(e.out, e.out.Paragraph(strings.Join(line, ", "), 2))
	}
	for _, w := range st.Warnings() {
		fmt.Fprintln(e.out, e.out.Paint(text.Yellow, e.out.Paragraph("warning: "+w, 2)))
	}
	return err
}

func memory(s store.Server) string {
	line := humanize.IBytes(uint64(s.Memory))
	if s.MaxMemory > 0 {
		line += fmt.Sprintf(" of %s (%d%%)", humanize.IBytes(uint64(s.MaxMemory)), 100*s.Memory/s.MaxMemory)
	}
	return line
}
