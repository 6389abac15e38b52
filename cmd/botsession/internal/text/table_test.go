package text

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func renderTable(w *Writer) {
	t := NewTable(w, "SESSION", "STATE", "N")
	t.Right(3)
	t.Shrink(map[int]int{1: 8, 2: 6})
	t.Row("pizza/"+strings.Repeat("x", 40), "ordering", "1204")
	t.Row("b/日本", w.Paint(Red, "failed"), "1")
	t.Render()
}

func TestATableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		80: `
SESSION                                         STATE        N
pizza/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  ordering  1204
b/日本                                          failed       1
`,
		32: `
SESSION           STATE        N
pizza/xx…xxxxxxx  ordering  1204
b/日本            failed       1
`,
		16: `
SESSION   STATE      N
pizz…xxx  ord…ng  1204
b/日本    failed     1
`,
	} {
		var out bytes.Buffer
		renderTable(Terminal(&out, width))
		if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
			t.Errorf("%d columns: %s", width, diff)
		}
	}
	var whole bytes.Buffer
	renderTable(NewWriter(&whole, func(string) string { return "" }))
	if !strings.Contains(whole.String(), strings.Repeat("x", 40)) {
		t.Errorf("in a pipe:\n%s", whole.String())
	}
}

func TestABoxLeavesOutWhatIsOptionalOnANarrowTerminal(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		24: `
╭───────┬───┬──────────╮
│ turns │ 5 │ messages │
╰───────┴───┴──────────╯
`,
		23: `
╭───────┬───╮
│ turns │ 5 │
╰───────┴───╯
`,
	} {
		var out bytes.Buffer
		b := NewBox(Terminal(&out, width))
		b.Right(2)
		b.Optional(3)
		b.Row("turns", "5", "messages")
		b.Render()
		if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
			t.Errorf("%d columns: %s", width, diff)
		}
	}
}
