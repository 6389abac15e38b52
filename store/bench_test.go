package store_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// An idleObserver is told, and does nothing.
type idleObserver struct{}

func (idleObserver) Begin(ctx context.Context, _ store.Stage) context.Context { return ctx }
func (idleObserver) End(context.Context, store.Stage, store.Result)           {}

// An uncontended turn on a real server: accept, the handler, commit, and, with
// Send, the note that its reply was sent. The last one is observed.
func BenchmarkTurn(b *testing.B) {
	for _, c := range []struct {
		name  string
		sends bool
		opts  store.Options
	}{{name: "send=false"}, {name: "send=true", sends: true}, {"send=true/observed", true, store.Options{Observer: idleObserver{}}}} {
		b.Run(c.name, func(b *testing.B) {
			url := redistest.Single(b)
			st, client := open(b, url, &c.opts), observer(b, url)
			var brings store.ServeOptions
			if c.sends {
				brings.Send = func(context.Context, store.Delivery) error { return nil }
			}
			bot := botWith(b, st, "b", store.BotOptions{HistoryLimit: 100}, brings)
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
				}, &brings)
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
			bounded.Receive(b, "Serve ends", done)
		})
	}
}

// What it costs to wait until an event is safe, on a server that syncs its file
// at every write anyway.
func BenchmarkAccept(b *testing.B) {
	for _, opts := range []store.Options{{}, {Fsync: true}, {Acks: 1}, {Acks: 1, Fsync: true}} {
		b.Run(fmt.Sprintf("acks=%d/fsync=%t", opts.Acks, opts.Fsync), func(b *testing.B) {
			url, _ := redistest.Pair(b, safest...)
			bot := botOf(b, open(b, url, &opts), "b", nil)
			for n := 0; b.Loop(); n++ {
				if _, err := bot.Accept(b.Context(), strconv.Itoa(n/20), session.Event{ID: strconv.Itoa(n), Text: "hi"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
