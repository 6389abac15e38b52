package main

import (
	"encoding/json"
	"fmt"
	"io"
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
	Goals      []goal
}

// writeJSON writes one object a line.
func (r *report) writeJSON(out io.Writer) error {
	lines := json.NewEncoder(out)
	write := func(kind string, v any) error {
		return lines.Encode(map[string]any{"kind": kind, "value": v})
	}
	if err := write("machine", r.Machine); err != nil {
		return err
	}
	for _, c := range r.Cells {
		if err := write("speed", c); err != nil {
			return err
		}
	}
	for _, c := range r.Costs {
		if err := write("cost", c); err != nil {
			return err
		}
	}
	for _, i := range r.Idles {
		if err := write("memory", i); err != nil {
			return err
		}
	}
	for _, x := range r.Races {
		if err := write("race", x); err != nil {
			return err
		}
	}
	for _, g := range r.Goals {
		if err := write("goal", g); err != nil {
			return err
		}
	}
	return nil
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
	for _, history := range r.Config.histories {
		r.printSpeed(p, history)
		r.printCost(p, history)
	}
	r.printMemory(p)
	r.printRace(p)
	r.printGoals(p)
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
				times(ratio(ours.PerSecond.Median, x.PerSecond.Median)), duration(x.P50.Median), duration(x.P99.Median))
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
			times(ratio(x.Up.Median+x.Down.Median, ours.Up.Median+ours.Down.Median)),
			short(x.Server.Median), short(x.Server.Min) + "–" + short(x.Server.Max), times(ratio(x.Server.Median, ours.Server.Median)),
			thousands(x.Allocs.Median), times(ratio(x.Allocs.Median, ours.Allocs.Median))})
	}
	p.table(fmt.Sprintf("%d messages of history, one turn of one caller (× ours: theirs over ours)", history), 1,
		table.Row{"contender", "round trips", "bytes up", "bytes down", "× ours", "server µs", "min–max", "× ours", "allocations", "× ours"}, rows)
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
		rows = append(rows, table.Row{i.Contender, i.Messages, thousands(i.Bytes), thousands(i.Payload), times(ratio(i.Bytes, i.Payload)), ids})
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

func (r *report) printGoals(p *printer) {
	var rows []table.Row
	for _, g := range r.Goals {
		verdict := "reached"
		if !g.Met {
			verdict = "missed by " + g.By
		}
		if g.By == "not measured" {
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

func times(v float64) string {
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
