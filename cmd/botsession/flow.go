package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// flowOptions are what flow was asked.
type flowOptions struct {
	*env
	bot    string
	format string
	json   bool
}

func newFlow(e *env) *cobra.Command {
	o := &flowOptions{env: e}
	cmd := &cobra.Command{
		Use:   "flow BOT",
		Short: "Show a bot's states and moves, with how often",
		Long: `Show in which states the sessions of a bot are, and how often they moved from one
state to another since the bot was made: as tables, or as a diagram in the
language of Mermaid or of Graphviz (DOT).`,
		Example: `  botsession flow pizza
  botsession flow pizza --format mermaid
  botsession flow pizza --format dot | dot -Tsvg > pizza.svg`,
		Args: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"table", "mermaid", "dot"}, o.format) {
				return usage(fmt.Errorf("--format %q", o.format), "--format table, mermaid or dot")
			}
			return theBot(&o.bot)(cmd, args)
		},
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "table, mermaid or dot")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line: the states, then the moves")
	return cmd
}

func (o *flowOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := o.declared(ctx, st, o.bot)
	if err != nil {
		return err
	}
	counts, failed := bot.Counts(ctx) // what could be read is shown
	states := slices.SortedFunc(maps.Keys(counts.States), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts.States[b], counts.States[a]), strings.Compare(a, b))
	})
	switch {
	case o.json:
		err = o.lines(states, counts)
	case o.format == "mermaid":
		o.diagram(states, counts, "stateDiagram-v2\n", "    state \"%s\" as s%d\n", "    s%d --> s%d: %s\n", "", "#quot;")
	case o.format == "dot":
		o.diagram(states, counts, "digraph {\n", "    s%[2]d [label=\"%[1]s\"]\n", "    s%d -> s%d [label=\"%s\"]\n", "}\n", `\"`)
	default:
		o.tables(states, counts)
	}
	return cmp.Or(err, failed)
}

func (o *flowOptions) lines(states []string, c store.Counts) error {
	for _, s := range states {
		if err := text.WriteJSON(o.out, map[string]any{"state": s, "sessions": c.States[s]}); err != nil {
			return err
		}
	}
	for _, m := range c.Moves {
		if err := text.WriteJSON(o.out, map[string]any{"from": m.From, "to": m.To, "count": m.Count}); err != nil {
			return err
		}
	}
	return nil
}

func (o *flowOptions) tables(states []string, c store.Counts) {
	if len(states) == 0 && len(c.Moves) == 0 {
		fmt.Fprintf(o.err, "no live sessions of bot %s, and none has moved\n", o.bot)
		return
	}
	t := text.NewTable(o.out, "STATE", "SESSIONS")
	t.Right(2)
	t.Shrink(map[int]int{1: 8})
	for _, s := range states {
		t.Row(text.Clean(s), humanize.Comma(c.States[s]))
	}
	t.Render()
	if len(c.Moves) == 0 {
		return
	}
	fmt.Fprintln(o.out)
	t = text.NewTable(o.out, "FROM", "TO", "MOVES")
	t.Right(3)
	t.Shrink(map[int]int{1: 6, 2: 6})
	for _, m := range c.Moves {
		if m.From == "" && m.To == "" {
			m.From, m.To = "(others)", "(others)"
		}
		t.Row(text.Clean(m.From), text.Clean(m.To), humanize.Comma(m.Count))
	}
	t.Render()
}

// diagram writes states by number, since their names may be anything, and moves.
func (o *flowOptions) diagram(states []string, c store.Counts, begin, state, move, end, quote string) {
	number := map[string]int{}
	label := func(name string, more string) string {
		return strings.NewReplacer(`\`, `\\`, `"`, quote).Replace(text.Clean(name)) + more
	}
	fmt.Fprint(o.out, begin)
	add := func(name string) {
		if _, known := number[name]; known {
			return
		}
		number[name] = len(number) + 1
		more := ""
		if n := c.States[name]; n > 0 {
			more = " (" + humanize.Comma(n) + ")"
		}
		fmt.Fprintf(o.out, state, label(name, more), number[name])
	}
	for _, s := range states {
		add(s)
	}
	moves := slices.DeleteFunc(slices.Clone(c.Moves), func(m store.Flow) bool { return m.From == "" && m.To == "" })
	for _, m := range moves {
		add(m.From)
		add(m.To)
	}
	for _, m := range moves {
		fmt.Fprintf(o.out, move, number[m.From], number[m.To], humanize.Comma(m.Count))
	}
	fmt.Fprint(o.out, end)
}
