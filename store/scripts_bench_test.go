package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// What the two scripts of a turn cost the server, with nothing in its way: the
// calls of a real turn, for many sessions in one pipeline. The least of all
// rounds is told, in µs of each script: what is more is the machine's.
func BenchmarkScripts(b *testing.B) {
	const sessions = 64
	url := redistest.Single(b)
	client, err := ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	st, err := New(b.Context(), client, nil)
	if err != nil {
		b.Fatal(err)
	}
	bot := botOf(b, st, "bot", nil)
	handle := func(_ context.Context, t *Turn) error {
		t.SetIntent(&session.Intent{Name: "order", Score: 0.9, Sentence: t.Event().Text})
		if t.State() == "ordering" {
			t.Move("paying")
		} else {
			t.Move("ordering")
		}
		t.Set("size", "large")
		t.Set("count", 2)
		t.Reply("A large pizza it is. Shall I bring it to Mill Lane?")
		return nil
	}
	said := func(i int) session.Event {
		return session.Event{ID: rand.Text(), Text: "a large one, please", Platform: "web", User: fmt.Sprint("user-", i)}
	}
	ctx, stop := context.WithCancel(b.Context())
	var served sync.WaitGroup
	served.Go(func() { bot.Serve(ctx, handle, &ServeOptions{Concurrency: 1}) })
	for bot.serving.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	for range 2 { // the second finds the session
		for i := range sessions {
			r, err := bot.Accept(ctx, fmt.Sprint("user-", i), said(i))
			if err == nil {
				_, err = r.Wait(ctx)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	stop()
	served.Wait()
	ctx = b.Context()

	var calls uint64
	r := bot.newRunner(ctx, handle, ServeOptions{}, 1)
	round := func(script *lua.Script, argv func(i int, at place) []string) (answers []reply, micros float64) {
		cmds := make([]*redis.Cmd, sessions)
		before := scriptMicros(b, client)
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range cmds {
				at := st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("user-", i)})
				calls++
				args := []any{string(ids.NewCall(st.Name(), calls)), fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())}
				for _, arg := range argv(i, at) {
					args = append(args, arg)
				}
				cmds[i] = pipe.EvalSha(ctx, script.SHA(), st.layout.keys(script, at), args...)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		for i, cmd := range cmds {
			answer := call.NewReply(script, cmd.Val().([]any))
			if answer.Status() != "OK" { // one that was refused costs less
				b.Fatalf("session %d: %s %v", i, script.Name, answer)
			}
			answers = append(answers, answer)
			st.caller.Clock.Heard(st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("user-", i)}).bucket, answer.Now())
		}
		return answers, (scriptMicros(b, client) - before) / sessions
	}
	known := make([]*stored.Record, sessions)
	least := [2]float64{math.Inf(1), math.Inf(1)}
	for n := 0; b.Loop(); n++ {
		events := make([]*event, sessions)
		for i := range events {
			if events[i], err = bot.encodeEvent(said(i), bot.options()); err != nil {
				b.Fatal(err)
			}
			events[i].window = st.window(bot.options())
		}
		handed, micros := round(lua.Accept, func(i int, at place) []string {
			record := ""
			if known[i] != nil {
				record = known[i].Text()
			}
			return bot.askAccept(bot.options(), at, events[i], bot.options().room(), true, record).args
		})
		least[0] = min(least[0], micros)
		ends := make([]plain, sessions)
		_, micros = round(lua.Commit, func(i int, at place) []string {
			h := r.inHand(at, time.Now(), handed[i], events[i], known[i])
			if h.bad != nil {
				b.Fatal(h.bad)
			}
			turn := newTurn(bot, h.opts, at.ref, h.rec, h.event, 1, h.log)
			if err := handle(ctx, turn); err != nil {
				b.Fatal(err)
			}
			w, err := turn.end()
			if err != nil {
				b.Fatal(err)
			}
			short := false
			if ends[i], short = r.plain(h, w, ""); !short {
				b.Fatalf("session %d: its turn is one for settle", i)
			}
			known[i] = ends[i].after
			return ends[i].args
		})
		least[1] = min(least[1], micros)
		if n%20 == 19 { // the ids seen stay few
			for i := range sessions {
				key := st.layout.key("events", st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("user-", i)}))
				for field := range client.HGetAll(ctx, key).Val() {
					client.HDel(ctx, key, field)
				}
			}
		}
	}
	b.ReportMetric(least[0], "accept-µs")
	b.ReportMetric(least[1], "commit-µs")
	b.ReportMetric(least[0]+least[1], "turn-µs")
}

func scriptMicros(b *testing.B, client redis.UniversalClient) (micros float64) {
	info := client.Info(b.Context(), "commandstats").Val()
	_, line, _ := strings.Cut(info, "cmdstat_evalsha:")
	_, usec, _ := strings.Cut(line, "usec=")
	fmt.Sscan(strings.SplitN(usec, ",", 2)[0], &micros)
	return micros
}
