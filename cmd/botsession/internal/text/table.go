package text

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// A Table is rows of cells in columns, whose numbers begin at 1.
type Table struct {
	out    *Writer
	style  table.Style
	titles []string
	rows   [][]string

	right    map[int]bool
	begin    map[int]bool // columns that are cut at the end
	least    map[int]int  // column -> to which width it may be shortened
	optional int          // the column that may be left out; 0: none
}

// NewTable returns a table that people and their tools read: titles above the
// columns, and no lines.
func NewTable(w *Writer, titles ...string) *Table {
	return &Table{out: w, titles: titles, right: map[int]bool{}, begin: map[int]bool{}, style: table.Style{
		Name:    "plain",
		Box:     table.BoxStyle{PaddingRight: "  "},
		Format:  table.FormatOptions{Header: text.FormatDefault},
		Options: table.OptionsNoBordersAndSeparators,
	}}
}

// NewBox returns a table without titles in a box with lines.
func NewBox(w *Writer) *Table {
	return &Table{out: w, right: map[int]bool{}, style: table.StyleRounded}
}

// Right aligns columns to the right.
func (t *Table) Right(columns ...int) {
	for _, n := range columns {
		t.right[n] = true
	}
}

// CutEnd names columns of which the end is cut off where they are shortened: those of
// sentences. Of others it is the middle, since names differ at both ends.
func (t *Table) CutEnd(columns ...int) {
	for _, n := range columns {
		t.begin[n] = true
	}
}

// Shrink names columns that are shortened on a terminal that is too narrow for the
// rest of the table, the widest first, and to which width each may be.
func (t *Table) Shrink(least map[int]int) { t.least = least }

// Optional names a column that is left out on a terminal that is too narrow.
func (t *Table) Optional(column int) { t.optional = column }

// Row adds a row.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Render writes the table, and returns whether it shortened anything.
func (t *Table) Render() (shortened bool) {
	widths, hidden, shortened := t.fit()
	var configs []table.ColumnConfig
	for i, width := range widths {
		c := table.ColumnConfig{Number: i + 1, WidthMax: width, WidthMaxEnforcer: Shorten, Hidden: i+1 == hidden}
		if t.begin[i+1] {
			c.WidthMaxEnforcer = cutEnd
		}
		if t.right[i+1] {
			c.Align, c.AlignHeader = text.AlignRight, text.AlignRight
		}
		configs = append(configs, c)
	}
	w := table.NewWriter()
	w.SetOutputMirror(t.out)
	w.SetStyle(t.style)
	if t.titles != nil {
		w.SuppressTrailingSpaces()
		w.AppendHeader(row(t.titles))
	}
	w.SetColumnConfigs(configs)
	for _, cells := range t.rows {
		w.AppendRow(row(cells))
	}
	w.Render()
	return shortened
}

// fit returns how wide the columns are, which one is left out, and whether any is
// narrower than its cells.
func (t *Table) fit() (widths []int, hidden int, shortened bool) {
	for _, cells := range append([][]string{t.titles}, t.rows...) {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	room := t.out.width()
	if room == 0 {
		return widths, 0, false
	}
	// Beside each column its padding, and in a box a line on each side.
	beside := Width(t.style.Box.PaddingLeft + t.style.Box.PaddingRight)
	if t.style.Options.DrawBorder {
		beside++
		room--
	} else {
		room += beside // behind the last column it is cut off
	}
	for _, width := range widths {
		room -= width + beside
	}
	if room < 0 && t.optional > 0 {
		hidden = t.optional
		room += widths[hidden-1] + beside
	}
	for ; room < 0; room++ {
		widest := -1
		for n, least := range t.least {
			if i := n - 1; widths[i] > least && (widest < 0 || widths[i] > widths[widest] || widths[i] == widths[widest] && i < widest) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		shortened = true
	}
	return widths, hidden, shortened
}

func row(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	return row
}
