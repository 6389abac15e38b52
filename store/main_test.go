package store_test

import (
	"log/slog"
	"testing"

	"github.com/botsession/botsession/store/internal/redistest"
)

// What the store says of the troubles that these tests make would hide what they
// find.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redistest.Main(m)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
