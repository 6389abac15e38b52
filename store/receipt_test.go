package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// TestAReceiptHasNoOtherTurnsReplies is what the linearizability test has found,
// made certain: a chat that no longer begins where it began. [store.Outcome]
// promises the turn's own replies "as long as the chat holds them".
func TestAReceiptHasNoOtherTurnsReplies(t *testing.T) {
	t.Parallel()
	st, err := store.Open(t.Context(), redistest.Single(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	bot := botOf(t, st, "bot", &store.BotOptions{HistoryLimit: 2, RecordOnly: true})
	var receipts []*store.Receipt
	for _, id := range []string{"one", "two"} {
		if _, err := bot.Accept(t.Context(), "1", session.Event{ID: id, Text: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := bot.Drain(t.Context(), func(_ context.Context, t *store.Turn) error {
			t.Record(session.Message{Content: "re " + t.Event().Text})
			return nil
		}, nil); err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, bot.Receipt("1", id))
	}
	var got []string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, r := range receipts {
		o, err := r.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range o.Replies {
			got = append(got, r.EventID+": "+m.String())
		}
	}
	if want := []string{"two: re two"}; !slices.Equal(got, want) {
		t.Errorf("the receipts' replies are %q, want %q", got, want)
	}
}
