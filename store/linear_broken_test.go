package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

// A checker that finds nothing may be one that cannot find anything. So here are
// histories that are wrong, and stores that are broken.

func TestTheCheckerTellsRightHistoriesFromWrongOnes(t *testing.T) {
	t.Parallel()
	at := func(client int, call, back int64, a act, r result) porcupine.Operation {
		if r.what == "" {
			r.what = done
		}
		if a.verb == "history" {
			r.chat = r.chat.all(r.said)
		}
		return porcupine.Operation{ClientId: client, Call: call, Return: back, Input: a, Output: r}
	}
	create := at(0, 0, 1, act{verb: "create"}, result{yes: true})
	set := func(client int, call, back int64, text string, what string) porcupine.Operation {
		return at(client, call, back, act{verb: "set", text: text}, result{what: what})
	}
	update := func(client int, call, back int64, n int, what string) porcupine.Operation {
		text := fmt.Sprint("u", client)
		return at(client, call, back, act{verb: "update", text: text}, result{what: what, said: lineOf(text, n, "s0")})
	}
	load := func(call, back, version, seq int64, n int, a string) porcupine.Operation {
		return at(9, call, back, act{verb: "load"}, result{snap: mind{life: 1, version: version, seq: seq, state: "s0", n: n, data: [3]string{a}}})
	}
	event := act{verb: "accept", text: "e0 count"}
	turn, outcome := event, event
	turn.verb, outcome.verb = "turn", "outcome"
	chat := func(call, back int64, texts ...string) porcupine.Operation {
		return at(9, call, back, act{verb: "history"}, result{said: strings.Join(texts, "\n") + "\n"})
	}
	reset := at(3, 5, 6, act{verb: "reset"}, result{})
	renewed := func(o porcupine.Operation) porcupine.Operation { // in the life behind the reset
		r := o.Output.(result)
		r.snap.life = 2
		o.Output = r
		return o
	}
	type history = []porcupine.Operation
	for _, c := range []struct {
		name         string
		right, wrong history
	}{
		{
			"a lost update",
			history{create, update(1, 2, 9, 0, done), update(2, 3, 8, 1, done), load(10, 11, 3, 2, 2, "")},
			history{create, update(1, 2, 9, 0, done), update(2, 3, 8, 0, done), load(10, 11, 3, 2, 1, "")},
		},
		{
			"an event that is applied twice",
			history{create, at(1, 2, 3, event, result{}), at(1, 2, 9, turn, result{}), at(1, 4, 5, event, result{what: duplicate}),
				load(10, 11, 2, 2, 1, ""), chat(12, 13, "e0 count", "re e0 n=0 in s0")},
			history{create, at(1, 2, 3, event, result{}), at(1, 2, 9, turn, result{}), at(1, 4, 5, event, result{what: duplicate}),
				load(10, 11, 3, 4, 2, ""), chat(12, 13, "e0 count", "re e0 n=0 in s0", "e0 count", "re e0 n=1 in s0")},
		},
		{
			"an event that is accepted twice",
			history{create, at(1, 2, 5, event, result{what: unknown}), at(2, 3, 4, event, result{})},
			history{create, at(1, 2, 5, event, result{}), at(2, 3, 4, event, result{})},
		},
		{
			"an event that is lost",
			history{create, at(1, 2, 3, event, result{what: unknown}), at(1, 4, 5, outcome, result{said: "none"})},
			history{create, at(1, 2, 3, event, result{}), at(1, 4, 5, outcome, result{said: "none"})},
		},
		{
			"a stale read",
			history{create, set(1, 2, 5, "x", done), load(3, 6, 1, 0, 0, "")},
			history{create, set(1, 2, 5, "x", done), load(6, 7, 1, 0, 0, "")},
		},
		{
			"two reads that see two writes in different orders",
			history{create, set(1, 2, 9, "x", done), set(2, 2, 9, "y", done), load(3, 4, 2, 0, 0, "x"), load(5, 6, 3, 0, 0, "y")},
			history{create, set(1, 2, 9, "x", done), set(2, 2, 9, "y", done), load(3, 4, 3, 0, 0, "x"), load(5, 6, 3, 0, 0, "y")},
		},
		{
			"a commit after a reset",
			history{create, update(1, 2, 3, 0, done), update(2, 4, 9, 1, done), reset, renewed(load(10, 11, 4, 2, 0, ""))},
			history{create, update(1, 2, 3, 0, done), update(2, 4, 9, 1, done), reset, renewed(load(10, 11, 4, 2, 2, ""))},
		},
		{
			"a call of unknown outcome that happens when its caller was told",
			history{create, set(1, 2, 5, "x", unknown), load(6, 7, 2, 0, 0, "x"), load(8, 9, 2, 0, 0, "x")},
			history{create, set(1, 2, 5, "x", unknown), load(6, 7, 1, 0, 0, ""), load(8, 9, 2, 0, 0, "x")},
		},
		{
			"a call of unknown outcome that happens twice",
			history{create, update(1, 2, 5, 0, unknown), load(6, 7, 2, 1, 1, "")},
			history{create, update(1, 2, 5, 0, unknown), load(6, 7, 3, 2, 2, "")},
		},
		{
			"a life that goes backwards",
			history{create, load(2, 3, 1, 0, 0, "")},
			history{create, load(2, 3, 1, 0, 0, ""), reset, load(7, 8, 2, 0, 0, "")},
		},
	} {
		if v := verdict(c.right); v != porcupine.Ok {
			t.Errorf("%s, as it should be: %s\n%s", c.name, v, transcript(c.right))
		}
		if v := verdict(c.wrong); v != porcupine.Illegal {
			t.Errorf("%s: %s\n%s", c.name, v, transcript(c.wrong))
		}
	}
}

// A spoiler changes scripts on their way to the server.
type spoiler func(args []any)

func (spoiler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s spoiler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s(cmd.Args())
		return next(ctx, cmd)
	}
}

func (s spoiler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s(cmd.Args())
		}
		return next(ctx, cmds)
	}
}

// noFence lets whoever once held a session commit.
func noFence(t *testing.T) spoiler {
	const fence = "s.token ~= token or s.work ~= (digest == '' and 'update' or 'event') or "
	if strings.Count(lua.Settle.Text(), fence) != 1 {
		t.Fatal("settle.lua has another fence than this test breaks")
	}
	text := strings.Replace(lua.Settle.Text(), fence, "", 1)
	return func(args []any) {
		if len(args) > 1 && args[1] == lua.Settle.SHA() {
			args[0], args[1] = "eval", text
		}
	}
}

// noDedupe gives an argument of a script another value each time that it is sent.
func noDedupe(t *testing.T, script *lua.Script, name string) spoiler {
	var sent atomic.Int64
	at := -1
	for i, arg := range script.Args {
		if arg == name {
			at = 3 + len(script.Keys) + i
		}
	}
	if at < 0 {
		t.Fatalf("%s.lua has no argument %s", script.Name, name)
	}
	return func(args []any) {
		if len(args) > at && (args[1] == script.SHA() || args[1] == script.Text()) {
			args[at] = fmt.Sprintf("x%015d", sent.Add(1))
		}
	}
}

func TestAFleetThatIsBrokenIsCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil spoiler
	}{
		{"no commit is fenced", noFence(t)},
		{"no call is recognised when it comes again", noDedupe(t, lua.Change, "op")},
		{"no event is recognised when it comes again", noDedupe(t, lua.Accept, "digest")},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLifetime(t, c.spoil)
			l.run(50_000)
			h := l.wrong.Load()
			if h == nil {
				t.Fatalf("%d operations, and nothing wrong was found", l.checked.Load())
			}
			t.Logf("found among %d operations, in a history of %d", l.checked.Load(), len(*h))
		})
	}
}

// A stage has one session, and two replicas on a good network: one of them may be
// broken.
func stage(t *testing.T, spoil spoiler) (p *past, broken *store.Bot) {
	l := newLifetime(t, nil)
	st, client := openLab(t, l.addr, "linear", patience, patience, patience)
	if spoil != nil {
		client.AddHook(spoil)
	}
	p = &past{lifetime: l, id: "1"}
	p.do(t.Context(), l.near, 0, act{verb: "create"}, patience)
	return p, newBot(t, st, false)
}

// end looks at the session, and returns the verdict.
func (p *past) end(ctx context.Context) porcupine.CheckResult {
	p.do(ctx, p.near, 0, act{verb: "load"}, patience)
	p.do(ctx, p.near, 0, act{verb: "history", on: true}, patience)
	return verdict(p.history)
}

func TestACommitBehindAResetIsCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spoil spoiler
		want  porcupine.CheckResult
	}{{nil, porcupine.Ok}, {noFence(t), porcupine.Illegal}} {
		p, bot := stage(t, c.spoil)
		ctx := t.Context()
		p.do(ctx, p.near, 0, act{verb: "update", text: "first"}, patience)
		call, a, r := p.now(), act{verb: "update", text: "late"}, result{what: done}
		_, err := bot.Update(ctx, p.id, func(_ context.Context, t *store.Turn) error {
			n, _ := counter.Get(t)
			r.said = lineOf(a.text, n, t.State())
			counter.Set(t, n+1)
			t.Record(session.Message{Content: r.said})
			p.do(ctx, p.near, 1, act{verb: "reset"}, patience)
			return nil
		})
		if err != nil {
			r.what = "" // fenced: certainly not done
		}
		p.record(0, a, r, call)
		if v := p.end(ctx); v != c.want || (err == nil) != (c.spoil != nil) {
			t.Errorf("verdict %s, want %s; the late commit: %v\n%s", v, c.want, err, transcript(p.history))
		}
	}
}

func TestAnEventThatIsAppliedTwiceIsCaught(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spoil spoiler
		want  porcupine.CheckResult
	}{{nil, porcupine.Ok}, {noDedupe(t, lua.Accept, "digest"), porcupine.Illegal}} {
		p, bot := stage(t, c.spoil)
		ctx := t.Context()
		p.events = []delivery{{text: "e0 count", first: p.now()}}
		event := act{verb: "accept", text: p.events[0].text}
		p.do(ctx, p.near, 0, event, patience)
		call := p.now()
		if _, err := bot.Accept(ctx, p.id, session.Event{ID: "e0", Text: event.text}); err != nil {
			t.Fatal(err)
		}
		// As if the second one's receipt had said what it should: what it did is enough.
		p.record(1, event, result{what: duplicate}, call)
		if _, err := p.near.Drain(ctx, handle, nil); err != nil {
			t.Fatal(err)
		}
		bounded.Wait(t, "all who wait return", &p.wait)
		p.await(ctx, 0, 0, p.near.Receipt(p.id, "e0"), patience)
		if v := p.end(ctx); v != c.want {
			t.Errorf("verdict %s, want %s\n%s", v, c.want, transcript(p.history))
		}
	}
}
