package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
)

// A recorder keeps the arguments of the last call of each script.
type recorder struct {
	redis.Hook
	last map[string][]string // by the script's name; its ARGV
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, script := range []*lua.Script{lua.Accept, lua.Commit} {
			if args := cmd.Args(); cmd.Name() == "evalsha" && args[1] == script.SHA() {
				var argv []string
				for _, arg := range args[3+len(script.Keys):] {
					if text, ok := arg.(*string); ok {
						arg = *text
					}
					argv = append(argv, fmt.Sprint(arg))
				}
				r.last[script.Name] = argv
			}
		}
		return next(ctx, cmd)
	}
}

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
	tape := &recorder{last: map[string][]string{}}
	client.AddHook(tape)
	bot := botOf(b, st, "bot", nil)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	go bot.Serve(ctx, func(_ context.Context, t *Turn) error {
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
	}, &ServeOptions{Concurrency: 1})
	for bot.serving.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	turn := func(i int) {
		r, err := bot.Accept(ctx, fmt.Sprint("user-", i), session.Event{ID: rand.Text(), Text: "a large one, please", Platform: "web", User: fmt.Sprint("user-", i)})
		if err == nil {
			_, err = r.Wait(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	for range 2 { // the second finds the session
		for i := range sessions {
			turn(i)
		}
	}
	accept, commit := tape.last["accept"], tape.last["commit"]

	deadline := fmt.Sprint(time.Now().Add(time.Hour).UnixMilli())
	round := func(n int, script *lua.Script, change func(i int, argv []string)) (answers []reply, micros float64) {
		before := scriptMicros(b, client)
		cmds := make([]*redis.Cmd, sessions)
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := range cmds {
				argv := slices.Clone(map[string][]string{"accept": accept, "commit": commit}[script.Name])
				argv[0], argv[1] = string(ids.NewCall(st.Name(), uint64(n*sessions+i))), deadline
				argv[2] = fmt.Sprint("user-", i)
				change(i, argv)
				args := make([]any, len(argv))
				for j := range argv {
					args[j] = argv[j]
				}
				at := st.layout.place(session.Ref{Bot: "bot", ID: argv[2]})
				cmds[i] = pipe.EvalSha(ctx, script.SHA(), st.layout.keys(script, at), args...)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		for _, cmd := range cmds {
			answers = append(answers, cmd.Val().([]any))
		}
		return answers, (scriptMicros(b, client) - before) / sessions
	}
	slot := func(script *lua.Script, name string) int { return slices.Index(script.Args, name) }
	least := [2]float64{math.Inf(1), math.Inf(1)}
	for n := 0; b.Loop(); n++ {
		digests := make([]string, sessions)
		handed, micros := round(n, lua.Accept, func(i int, argv []string) {
			digests[i] = string(ids.DigestOf(rand.Text()))
			argv[slot(lua.Accept, "digest")] = digests[i]
		})
		least[0] = min(least[0], micros)
		answers, micros := round(n, lua.Commit, func(i int, argv []string) {
			argv[slot(lua.Commit, "token")] = handed[i].List(3).Text(1)
			argv[slot(lua.Commit, "digest")] = digests[i]
			from, to := "ordering", "paying"
			if n%2 == 0 {
				from, to = to, from
			}
			argv[slot(lua.Commit, "change...")], argv[slot(lua.Commit, "change...")+9] = from, to
		})
		least[1] = min(least[1], micros)
		for i, answer := range answers { // a turn that was refused costs less
			if handed[i].Status() != "OK" || answer.Status() != "OK" {
				b.Fatalf("session %d: accept %v, commit %v", i, handed[i], answer)
			}
		}
		if n%20 == 19 { // the ids seen stay few
			for i := range sessions {
				client.Del(ctx, st.layout.key("events", st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("user-", i)})))
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
