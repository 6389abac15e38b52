package text

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// A Table is rows of cells in columns.
type Table struct{ table table.Writer }

// NewTable returns a table that people and their tools read: titles above the
// columns, and no lines.
func NewTable(w *Writer, titles ...string) *Table {
	t := newTable(w, table.Style{
		Name:    "plain",
		Box:     table.BoxStyle{PaddingRight: "  "},
		Format:  table.FormatOptions{Header: text.FormatDefault},
		Options: table.OptionsNoBordersAndSeparators,
	})
	t.table.SuppressTrailingSpaces()
	t.table.AppendHeader(row(titles))
	return t
}

// NewBox returns a table without titles in a box with lines.
func NewBox(w *Writer) *Table { return newTable(w, table.StyleRounded) }

func newTable(w *Writer, style table.Style) *Table {
	t := &Table{table.NewWriter()}
	t.table.SetOutputMirror(w)
	t.table.SetStyle(style)
	return t
}

// Right aligns columns, of which the first is 1, to the right.
func (t *Table) Right(columns ...int) {
	configs := make([]table.ColumnConfig, len(columns))
	for i, n := range columns {
		configs[i] = table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight}
	}
	t.table.SetColumnConfigs(configs)
}

// Row adds a row.
func (t *Table) Row(cells ...string) { t.table.AppendRow(row(cells)) }

// Render writes the table.
func (t *Table) Render() { t.table.Render() }

func row(cells []string) table.Row {
	row := make(table.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	return row
}

// Width returns how many columns of a terminal a text takes.
func Width(s string) int { return text.StringWidth(s) }

// Pad fills a text with spaces up to a width.
func Pad(s string, width int) string { return text.Pad(s, width, ' ') }
