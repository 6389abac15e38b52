package store_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// An uncontended turn on a real server: accept, the handler, commit, and, with
// Send, the note that its reply was sent.
func BenchmarkTurn(b *testing.B) {
	for _, sends := range []bool{false, true} {
		b.Run("send="+strconv.FormatBool(sends), func(b *testing.B) {
			url := redistest.Single(b)
			st, client := open(b, url, nil), observer(b, url)
			opts := &store.BotOptions{HistoryLimit: 100}
			if sends {
				opts.Send = func(context.Context, store.Delivery) error { return nil }
			}
			bot := st.Bot("b", opts)
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() {
				done <- bot.Serve(ctx, func(ctx context.Context, t *store.Turn) error {
					t.SetIntent(&session.Intent{Name: "order", Score: 0.9})
					t.Move("ordering")
					t.Set("size", "large")
					t.Set("count", 2)
					t.Reply("a large pizza it is")
					return nil
				})
			}()
			var n int
			turn := func() {
				n++
				r, err := bot.Accept(ctx, "user-"+strconv.Itoa(n%1000), session.Event{ID: strconv.Itoa(n), Text: "a large one, please"})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.Wait(ctx); err != nil {
					b.Fatal(err)
				}
			}
			for range 1000 { // makes the sessions
				turn()
			}
			before, warm := count(b, client), n
			b.ReportAllocs()
			for b.Loop() {
				turn()
			}
			used := count(b, client).minus(before)
			turns := float64(n - warm)
			b.ReportMetric(float64(used.micros)/turns, "server-µs/turn")
			b.ReportMetric(float64(used.commands)/turns, "commands/turn")
			b.ReportMetric(float64(used.in)/turns, "B-in/turn")
			b.ReportMetric(float64(used.out)/turns, "B-out/turn")
			stop()
			<-done
		})
	}
}
