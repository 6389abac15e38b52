package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// A report is all that one run found.
type report struct {
	Machine    machine
	Contenders []contender
	Config     config
	Cells      []*cell
	Costs      []*cost
	Idles      []*idle
	Races      []*raced
	Replay     *replayed
	Clusters   []*clustered
	Wake       *woken
	Wait       *waiting
	Fleets     []*fleet
	Countings  []*counting
	Latency    *latency
	Paces      []*pace
	Index      *indexed
	Lists      []*listing
	Settings   []*setting // durable and valkey
	Goals      []goal
}

// writeJSON writes one object a line.
func (r *report) writeJSON(out io.Writer) error {
	lines := json.NewEncoder(out)
	var err error
	write := func(kind string, v any) {
		if err == nil {
			err = lines.Encode(map[string]any{"kind": kind, "value": v})
		}
	}
	write("machine", r.Machine)
	for _, c := range r.Cells {
		write("speed", c)
	}
	for _, c := range r.Costs {
		write("cost", c)
	}
	for _, i := range r.Idles {
		write("memory", i)
	}
	for _, x := range r.Races {
		write("race", x)
	}
	if r.Replay != nil {
		write("replay", r.Replay)
	}
	for _, c := range r.Clusters {
		write("cluster", c)
	}
	if r.Wake != nil {
		write("wake", r.Wake)
	}
	if r.Wait != nil {
		write("wait", r.Wait)
	}
	for _, f := range r.Fleets {
		write("idle", f)
	}
	for _, c := range r.Countings {
		write("instructions", c)
	}
	for _, p := range r.Paces {
		write("eager", p)
	}
	if r.Latency != nil {
		write("latency", r.Latency)
	}
	if r.Index != nil {
		write("index", r.Index)
	}
	for _, l := range r.Lists {
		write("list", l)
	}
	for _, set := range r.Settings {
		write("server", set)
	}
	for _, g := range r.Goals {
		write("goal", g)
	}
	return err
}

// A printer writes tables, for people or as Markdown.
type printer struct {
	out      io.Writer
	markdown bool
	notes    []string
}

func (p *printer) table(title string, numbersFrom int, header table.Row, rows []table.Row) {
	t := table.NewWriter()
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	style.Options.SeparateColumns = false
	style.Options.DrawBorder = false
	t.SetStyle(style)
	t.AppendHeader(header)
	t.AppendRows(rows)
	var columns []table.ColumnConfig
	for n := numbersFrom; n < len(header); n++ {
		columns = append(columns, table.ColumnConfig{Number: n + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	if p.markdown {
		fmt.Fprintf(p.out, "**%s**\n\n%s\n\n", title, t.RenderMarkdown())
	} else {
		fmt.Fprintf(p.out, "%s\n\n%s\n\n", title, t.Render())
	}
	for i, note := range p.notes {
		fmt.Fprintf(p.out, "%s %s\n", mark(i), note)
	}
	if len(p.notes) > 0 {
		fmt.Fprintln(p.out)
	}
	p.notes = nil
}

// row writes a table of one row, or of why there is none.
func (p *printer) row(title string, header table.Row, fault string, row table.Row) {
	if fault != "" {
		row = table.Row{"fails " + p.note(fault)}
	}
	p.table(title, 0, header, []table.Row{row})
}

// note keeps a text for below the table, and returns the mark that refers to it.
func (p *printer) note(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for i, known := range p.notes {
		if known == text {
			return mark(i)
		}
	}
	p.notes = append(p.notes, text)
	return mark(len(p.notes) - 1)
}

func mark(i int) string { return fmt.Sprintf("[%d]", i+1) }

// print writes the whole report.
func (r *report) print(out io.Writer, markdown bool) {
	p := &printer{out: out, markdown: markdown}
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	if len(r.Cells) > 0 {
		for _, history := range r.Config.histories {
			r.printSpeed(p, history)
			r.printCost(p, history)
		}
	}
	r.printCountings(p)
	r.printLatency(p)
	r.printPaces(p)
	r.printMemory(p)
	r.printIndex(p)
	r.printLists(p)
	r.printRace(p)
	r.printReplay(p)
	r.printClusters(p)
	r.printWake(p)
	r.printWait(p)
	r.printFleets(p)
	r.printSettings(p)
	r.printGoals(p)
	if len(r.Cells)+len(r.Idles)+len(r.Races) == 0 {
		return // of ours alone
	}
	var rows []table.Row
	for _, c := range r.Contenders {
		rows = append(rows, table.Row{c.name, c.note})
	}
	p.table("The contenders", 2, table.Row{"contender", "its turn"}, rows)
}

func (r *report) cell(name string, history, callers int) *cell {
	for _, c := range r.Cells {
		if c.Contender == name && c.History == history && c.Callers == callers {
			return c
		}
	}
	return &cell{}
}

func (r *report) cost(name string, history int) *cost {
	for _, c := range r.Costs {
		if c.Contender == name && c.History == history {
			return c
		}
	}
	return &cost{}
}

func (r *report) printSpeed(p *printer, history int) {
	header := table.Row{"contender"}
	for _, callers := range r.Config.callers {
		header = append(header, fmt.Sprintf("%d: turns/s", callers), "min–max", "ours ×", "p50", "p99")
	}
	var rows []table.Row
	for _, c := range r.Contenders {
		row := table.Row{c.name}
		for _, callers := range r.Config.callers {
			x, ours := r.cell(c.name, history, callers), r.cell(nameOurs, history, callers)
			if x.Turns == 0 {
				row = append(row, "fails "+p.note(x.Error), "", "", "", "")
				continue
			}
			speed := thousands(x.PerSecond.Median)
			if x.Ran < callers {
				speed += " " + p.note(fmt.Sprintf("measured with %d callers, not %d: more would not fit into the memory or the time", x.Ran, callers))
			}
			row = append(row, speed, thousands(x.PerSecond.Min)+"–"+thousands(x.PerSecond.Max),
				factor(ratio(ours.PerSecond.Median, x.PerSecond.Median)), duration(x.P50.Median), duration(x.P99.Median))
		}
		rows = append(rows, row)
	}
	p.table(fmt.Sprintf("%d messages of history, by callers (ours ×: our turns a second over theirs)", history), 1, header, rows)
}

func (r *report) printCost(p *printer, history int) {
	var rows []table.Row
	ours := r.cost(nameOurs, history)
	for _, c := range r.Contenders {
		x := r.cost(c.name, history)
		if len(x.runs) == 0 {
			rows = append(rows, table.Row{c.name, "fails " + p.note(x.Error)})
			continue
		}
		rows = append(rows, table.Row{c.name, short(x.Trips), thousands(x.Up.Median), thousands(x.Down.Median),
			factor(ratio(x.Up.Median+x.Down.Median, ours.Up.Median+ours.Down.Median)),
			short(x.Server.Median), short(x.Server.Min) + "–" + short(x.Server.Max), factor(ratio(x.Server.Median, ours.Server.Median)),
			short(x.Busy.Median), factor(ratio(x.Busy.Median, ours.Busy.Median)),
			thousands(x.Allocs.Median), factor(ratio(x.Allocs.Median, ours.Allocs.Median))})
	}
	p.table(fmt.Sprintf("%d messages of history, one turn of one caller (%d: of as many; × ours: theirs over ours)", history, nearest(r.Config.callers, 32)), 1,
		table.Row{"contender", "round trips", "bytes up", "bytes down", "× ours", "server µs", "min–max", "× ours",
			fmt.Sprintf("%d: server µs", nearest(r.Config.callers, 32)), "× ours", "allocations", "× ours"}, rows)
}

func (r *report) printMemory(p *printer) {
	var rows []table.Row
	for _, i := range r.Idles {
		if i.Error != "" {
			rows = append(rows, table.Row{i.Contender, i.Messages, "fails " + p.note(i.Error)})
			continue
		}
		ids := ""
		if i.IDs > 0 {
			ids = fmt.Sprintf("%s × %s B", short(i.IDs), short(i.PerID))
		}
		rows = append(rows, table.Row{i.Contender, i.Messages, thousands(i.Bytes), thousands(i.Payload), factor(ratio(i.Bytes, i.Payload)), ids})
	}
	if len(rows) > 0 {
		p.table("An idle session", 1, table.Row{"contender", "messages", "bytes", "payload", "× payload", "ids kept, apart"}, rows)
	}
}

func (r *report) printRace(p *printer) {
	var rows []table.Row
	for _, x := range r.Races {
		if x.Error != "" {
			rows = append(rows, table.Row{x.Contender, "fails " + p.note(x.Error)})
			continue
		}
		rows = append(rows, table.Row{x.Contender, x.Counter, x.Keys, x.Turns - min(x.Counter, x.Keys)})
	}
	if len(rows) > 0 {
		p.table(fmt.Sprintf("The race: %d replicas × %d turns on one session", raceReplicas, raceTurns), 1,
			table.Row{"contender", "counter", "keys", "lost"}, rows)
	}
}

func (r *report) printReplay(p *printer) {
	x := r.Replay
	switch {
	case x == nil:
		return
	case x.Skipped != "":
		fmt.Fprintf(p.out, "The replay of dialogues is skipped: %s.\n\n", x.Skipped)
		return
	}
	var row table.Row
	if x.Error != "" {
		row = table.Row{"fails " + p.note(x.Error)}
	} else {
		row = table.Row{thousands(float64(x.Dialogues)), thousands(float64(x.Turns)), thousands(x.PerSecond),
			x.Mismatched, x.Lost, x.Duplicated, x.OutOfOrder, thousands(float64(x.Dropped))}
	}
	p.table(fmt.Sprintf("The replay: %d replica processes, every message delivered twice with a chance of %.0f %%", replayReplicas, 100*replayDuplicate), 0,
		table.Row{"dialogues", "turns", "turns/s", "mismatched", "lost", "duplicated", "out of order", "duplicates dropped"}, []table.Row{row})
}

func (r *report) printClusters(p *printer) {
	var rows []table.Row
	for _, c := range r.Clusters {
		if c.Error != "" {
			rows = append(rows, table.Row{c.Masters, "fails " + p.note(c.Error)})
			continue
		}
		rows = append(rows, table.Row{c.Masters, thousands(c.PerSecond) + " " + p.note("masters and callers share one machine: how a cluster scales is not to be seen here"),
			thousands(float64(c.Least)), thousands(float64(c.Most)), short(c.Spread) + " % " + p.note(fmt.Sprintf(
				"users' numbers are random: of %s on six masters chance alone makes some %.0f %%; and six get 42 or 43 of 256 buckets each, which makes 2 %%",
				thousands(float64(c.Users)), 253*math.Sqrt(5/float64(c.Users)))), c.Redirected})
	}
	if len(rows) > 0 {
		p.table(fmt.Sprintf("A cluster: %d callers, %s users with random numbers, the same number of turns each",
			clusterCallers, thousands(float64(r.Config.users))), 0,
			table.Row{"masters", "turns/s", "script calls, least", "most", "spread", "redirections"}, rows)
	}
}

func (r *report) printWake(p *printer) {
	if w := r.Wake; w != nil {
		p.row("A wake-up: from Accept, where nobody serves, to the handler elsewhere", table.Row{"samples", "p50", "p99", "slowest"},
			w.Error, table.Row{w.Samples, duration(w.P50), duration(w.P99), duration(w.Slowest)})
	}
}

func (r *report) printFleets(p *printer) {
	var rows []table.Row
	for _, f := range r.Fleets {
		if f.Error != "" {
			rows = append(rows, table.Row{f.Replicas, f.Bots, "fails " + p.note(f.Error)})
			continue
		}
		rows = append(rows, table.Row{f.Replicas, f.Bots, thousands(f.Commands)})
	}
	if len(rows) > 0 {
		p.table("An idle fleet", 0, table.Row{"replicas", "bots", "commands a second, with those inside scripts"}, rows)
	}
}

func (r *report) printCountings(p *printer) {
	var rows []table.Row
	for _, c := range r.Countings {
		if c.Error != "" {
			rows = append(rows, table.Row{c.Work, "not measured " + p.note(c.Error)})
			continue
		}
		rows = append(rows, table.Row{c.Work, thousands(c.Ours), thousands(c.Floor), factor(ratio(c.Ours, c.Floor))})
	}
	if len(rows) > 0 {
		p.table(fmt.Sprintf("Instructions of the server a turn, of %d turns, and of a floor that does the same", r.Countings[0].Turns), 1,
			table.Row{"turn", "ours", "floor", "× floor"}, rows)
	}
}

func (r *report) printLatency(p *printer) {
	l := r.Latency
	if l == nil {
		return
	}
	between := func(s spread) string { return short(s.Min) + "–" + short(s.Max) }
	row := table.Row{duration(l.Ours.Median), duration(l.Eager.Median), duration(l.Capped.Median), short(l.Ratio.Median), between(l.Ratio),
		short(l.Trip.Median), between(l.Trip), fmt.Sprintf("%.0f %%", 100*l.Others)}
	if l.Others < 0 {
		row[len(row)-1] = "not known"
	}
	p.row(fmt.Sprintf("p50 of one caller, %d messages, a turn of ours, one with Eager and one of the capped blob by turns", l.History),
		table.Row{"ours", "eager", "capped blob", "ours × blob", "min–max", "eager × blob", "min–max", "busy with others"}, l.Error, row)
}

func (r *report) printIndex(p *printer) {
	if i := r.Index; i != nil {
		p.row("The memory of sessions without a chat, bytes a session",
			table.Row{"sessions", "index by state and activity", "with the user, and an expiry", "its own keys"},
			i.Error, table.Row{thousands(float64(i.Sessions)), thousands(i.Index), thousands(i.All), thousands(i.Own)})
	}
}

func (r *report) printSettings(p *printer) {
	var rows []table.Row
	for _, set := range r.Settings {
		if set.Error != "" {
			rows = append(rows, table.Row{set.Name, "not measured " + p.note(set.Error)})
			continue
		}
		find := func(name string, callers int) *cell {
			for _, c := range set.Cells {
				if c.Contender == name && c.Callers == callers {
					return c
				}
			}
			return &cell{}
		}
		for _, c := range set.contenders {
			one, many := find(c.name, 1), find(c.name, 32)
			if many.Turns == 0 {
				rows = append(rows, table.Row{set.Name, c.name, "fails " + p.note(many.Error)})
				continue
			}
			rows = append(rows, table.Row{set.Name, c.name,
				thousands(many.PerSecond.Median), factor(ratio(many.PerSecond.Median, find(nameCapped, 32).PerSecond.Median)),
				duration(one.P50.Median), factor(ratio(one.P50.Median, find(nameCapped, 1).P50.Median))})
		}
	}
	if len(rows) > 0 {
		p.table(fmt.Sprintf("Other servers and settings, %d messages (× blob: against the capped blob on the same)", settingHistory), 2,
			table.Row{"server", "contender", "32: turns/s", "× blob", "1: p50", "× blob"}, rows)
	}
}

func (r *report) printGoals(p *printer) {
	var rows []table.Row
	for _, g := range r.Goals {
		verdict := "reached"
		if !g.Met {
			verdict = "missed by " + g.By
		}
		if g.By == notMeasured {
			verdict = ""
		}
		if g.Note != "" {
			verdict += " " + p.note(g.Note)
		}
		rows = append(rows, table.Row{g.Figure, g.Goal, g.Shown, verdict})
	}
	p.table("Goals", 4, table.Row{"figure", "goal", "measured", ""}, rows)
}

// thousands writes a number with separators.
func thousands(v float64) string {
	if v > 0 && v < 10 {
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func factor(v float64) string {
	if v == 0 {
		return ""
	}
	return short(v)
}

// duration writes microseconds.
func duration(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.1f s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.1f ms", us/1e3)
	}
	return fmt.Sprintf("%.0f µs", us)
}
