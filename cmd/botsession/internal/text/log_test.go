package text

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALoggerWritesForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(NewWriter(&out, func(string) string { return "" })).With("replica", "host-1-abc", "bot", "pizza")
	log.Info("nothing that anybody needs")
	log.Warn("the append-only file is off")
	log.With("session", "pizza/a").Error("dead letter\x1b[2J", slog.Any("error", errors.New("no\nway")))
	want := `
warning: the append-only file is off (bot pizza)
error: dead letter\x1b[2J (bot pizza, session pizza/a, error no\nway)
`
	if diff := cmp.Diff(want, "\n"+out.String()); diff != "" {
		t.Error(diff)
	}
}
