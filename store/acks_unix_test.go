//go:build unix

package store_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// An event that came twice is written once, by one connection. Whoever delivers
// it again writes nothing, and must not hear that it is safe while nobody has it:
// Redis 7.2 and Valkey would say so.
func TestADuplicateWaitsForWhatAnotherConnectionWrote(t *testing.T) {
	t.Parallel()
	url, replica := redistest.Pair(t, redistest.Waitaof)
	ctx := t.Context()
	event := session.Event{ID: "e", Text: "hi"}
	accept := func(timeout time.Duration) (*store.Receipt, error) {
		return botOf(t, open(t, url, &store.Options{Acks: 1, Timeout: timeout}), "bot", nil).Accept(ctx, "1", event)
	}
	botOf(t, open(t, url, nil), "bot", nil)
	process := processOf(t, replica)
	must(t, process.Signal(syscall.SIGSTOP))
	for _, delivery := range []string{"the first", "the second"} {
		if receipt, err := accept(2 * time.Second); !errors.Is(err, session.ErrNotAcked) {
			t.Errorf("%s delivery of an event that no replica has: %v, %v", delivery, receipt, err)
		}
	}
	must(t, process.Signal(syscall.SIGCONT))
	if receipt, err := accept(20 * time.Second); err != nil || !receipt.Duplicate {
		t.Errorf("a delivery of an event that the replica has: %v, %v", receipt, err)
	}
}
