package call

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
)

// serverError is an error that a server replied with.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// TestRunFollowsItsTable gives the attempts of a call one outcome after the other,
// the last of them for ever: a status, or an error.
func TestRunFollowsItsTable(t *testing.T) {
	const noMemory, loading, stopped = serverError("OOM command not allowed"), serverError("LOADING"), serverError("ERR in a script: boom")
	for _, c := range []struct {
		name     string
		script   *lua.Script
		attempts []any
		made     int    // how many attempts; 0: as many as there is time for
		status   string // of the reply; empty: an error
		unknown  bool   // the error is that of an unknown outcome
		says     string // and says this
	}{
		{name: "settled", script: lua.Commit, attempts: []any{"OK"}, made: 1, status: "OK"},
		{name: "a refusal that names a token, after one that was lost", script: lua.Commit, attempts: []any{io.EOF, "FENCED"}, made: 2, status: "FENCED"},
		{name: "open", script: lua.Change, attempts: []any{"NOTFOUND"}, made: 1, status: "NOTFOUND"},
		{name: "open, after one that was lost", script: lua.Change, attempts: []any{io.EOF, "NOTFOUND", "OK"}, made: 3, status: "OK"},
		{name: "open, after one that was lost, for ever", script: lua.Change, attempts: []any{io.EOF, "NOTFOUND"}, unknown: true, says: "an earlier request may still be applied"},
		{name: "expired, after one that was lost", script: lua.Change, attempts: []any{io.EOF, "EXPIRED"}, made: 2, status: "EXPIRED"},
		{name: "late", script: lua.Commit, attempts: []any{"LATE", "OK"}, made: 2, status: "OK"},
		{name: "late, after one that was lost", script: lua.Commit, attempts: []any{io.EOF, "LATE"}, made: 2, unknown: true, says: "after its deadline"},
		{name: "denied", script: lua.Commit, attempts: []any{noMemory}, made: 1, says: "OOM"},
		{name: "denied by a script", script: lua.Commit, attempts: []any{"NOPERM"}, made: 1, says: "lacks the right"},
		{name: "denied, after one that was lost", script: lua.Commit, attempts: []any{io.EOF, noMemory, "OK"}, made: 3, status: "OK"},
		{name: "not now", script: lua.Commit, attempts: []any{loading, loading, "OK"}, made: 3, status: "OK"},
		{name: "not now, for ever", script: lua.Commit, attempts: []any{loading}, says: "LOADING"},
		{name: "lost, for ever", script: lua.Commit, attempts: []any{io.EOF}, unknown: true, says: "EOF"},
		{name: "torn", script: lua.Commit, attempts: []any{stopped}, made: 1, unknown: true, says: "boom"},
		{name: "a read that is lost, then denied", script: lua.Load, attempts: []any{io.EOF, noMemory}, made: 2, says: "OOM"},
		{name: "a read that is lost, for ever", script: lua.Load, attempts: []any{io.EOF}, says: "EOF"},
		{name: "a read that is torn", script: lua.Load, attempts: []any{stopped}, made: 1, says: "boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				caller := New(nil, "r", 0, false)
				caller.Clock = NewClock(1)
				made := 0
				ids, deadlines := map[any]bool{}, map[any]bool{}
				caller.Around = func(cmd redis.Cmder, _ func() error) error {
					n := 3 + len(c.script.Keys)
					ids[cmd.Args()[n]], deadlines[cmd.Args()[n+1]] = true, true
					next := c.attempts[min(made, len(c.attempts)-1)]
					made++
					if err, failed := next.(error); failed {
						return err
					}
					cmd.(once).SetVal([]any{next, time.Now().UnixMilli(), "detail"})
					return nil
				}
				ctx, cancel := caller.Bound(t.Context(), c.script, time.Second)
				defer cancel()
				x := caller.Begin(Request{Script: c.script, Keys: make([]string, len(c.script.Keys)), Args: []string{"a"}})
				r, err := x.Run(ctx)
				if c.made != 0 && made != c.made || c.made == 0 && made < 5 {
					t.Errorf("%d attempts, want %d", made, c.made)
				}
				if r.Status() != c.status || (err == nil) != (c.status != "") {
					t.Errorf("the reply is %v, the error %v", r, err)
				}
				if errors.Is(err, session.ErrUnknownOutcome) != c.unknown || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v; unknown: want %t; want %q in it", err, c.unknown, c.says)
				}
				if len(ids) != 1 {
					t.Errorf("attempts of one call had %d ids", len(ids))
				}
				if c.unknown && len(deadlines) != 1 {
					t.Errorf("attempts of a call in doubt had %d deadlines", len(deadlines))
				}
			})
		})
	}
}

// What came in a reply's place may be what a user said.
func TestAnErrorShowsNothingOfWhatCameInAReplysPlace(t *testing.T) {
	t.Parallel()
	const secret = "sesame"
	for what, place := range map[string]any{"a text": secret, "a list of one": []any{secret}, "a number": int64(4711), "a map": map[any]any{secret: secret}} {
		caller := New(nil, "r", 0, false)
		caller.Clock = NewClock(1)
		caller.Around = func(cmd redis.Cmder, _ func() error) error {
			cmd.(once).SetVal(place)
			return nil
		}
		ctx, cancel := caller.Bound(t.Context(), lua.Load, 10*time.Second)
		defer cancel()
		x := caller.Begin(Request{Script: lua.Load, Keys: make([]string, len(lua.Load.Keys))})
		_, _, err := x.attempt(ctx)
		if err == nil || !strings.Contains(err.Error(), "script load") || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}

func TestCallsThatBeginTogetherEndTogetherAndInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		caller := New(nil, "r", 0, false)
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, "mine")
		begin := func(ctx context.Context) (context.Context, time.Duration) {
			bound, end := caller.Bound(ctx, lua.Commit, 64*time.Second)
			t.Cleanup(end)
			if bound.Err() != nil || bound.Value(key{}) != ctx.Value(key{}) {
				t.Errorf("the context of a call is over at its begin, %v, or has not its caller's values", bound.Err())
			}
			at, _ := bound.Deadline()
			return bound, time.Until(at)
		}
		first, left := begin(ctx)
		if left != 64*time.Second {
			t.Errorf("the first ends in %v", left)
		}
		time.Sleep(time.Second)
		second, left := begin(t.Context())
		if left != 63*time.Second || second.Done() != first.Done() {
			t.Errorf("the second ends in %v", left)
		}
		time.Sleep(time.Millisecond)
		third, left := begin(ctx)
		if left != 64*time.Second {
			t.Errorf("the third ends in %v", left)
		}
		sooner, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, left := begin(sooner); left != time.Second {
			t.Errorf("one whose caller waits for a second ends in %v", left)
		}
		<-first.Done()
		if second.Err() == nil || third.Err() != nil {
			t.Errorf("when the first ends, the second is %v and the third %v", second.Err(), third.Err())
		}
	})
}

func TestACancelledContextEndsAReadAndNoWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		caller := New(nil, "r", 0, false)
		read, end := caller.Bound(ctx, lua.Load, time.Second)
		defer end()
		write, end := caller.Bound(ctx, lua.Commit, time.Second)
		defer end()
		cancel()
		if read.Err() == nil || write.Err() != nil {
			t.Errorf("the read's context: %v; the write's: %v", read.Err(), write.Err())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if write.Err() == nil {
			t.Error("the write's context has no end")
		}
	})
}

// TestReadsGoOnOverWhatIsOfTheMoment has the servers fail the commands of a pipeline
// one outcome after the other, the last of them for ever.
func TestReadsGoOnOverWhatIsOfTheMoment(t *testing.T) {
	const loading, noRight = serverError("LOADING"), serverError("NOPERM")
	for _, c := range []struct {
		name     string
		outcomes [][2]error // of the two commands
		sent     []int      // how many commands each pipeline has; the last goes on for ever
		says     string     // empty: all is read
	}{
		{name: "read at once", outcomes: [][2]error{{}}, sent: []int{2}},
		{name: "one that is not now", outcomes: [][2]error{{loading, nil}, {}}, sent: []int{2, 1}},
		{name: "both, which are lost", outcomes: [][2]error{{io.EOF, io.EOF}, {io.EOF, nil}, {}}, sent: []int{2, 2, 1}},
		{name: "one that is denied", outcomes: [][2]error{{nil, noRight}}, sent: []int{2}, says: "NOPERM"},
		{name: "one that is denied, and one that is not now", outcomes: [][2]error{{noRight, loading}, {}}, sent: []int{2, 1}, says: "NOPERM"},
		{name: "not now, for ever", outcomes: [][2]error{{nil, loading}}, sent: []int{2, 1, 1, 1}, says: "LOADING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := redis.NewClient(&redis.Options{MaxRetries: -1, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
				defer client.Close()
				tape := &flaky{outcomes: c.outcomes}
				client.AddHook(tape)
				caller := New(client, "r", 0, false)
				caller.Clock = NewClock(1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				a, b := HGet("a", "f"), HGet("b", "f")
				check := func(what string, err error) {
					t.Helper()
					if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
						t.Errorf("%s returns %v, want %q", what, err, c.says)
					}
					if got := tape.sent[:min(len(tape.sent), len(c.sent))]; !slices.Equal(got, c.sent) {
						t.Errorf("%s sends pipelines of %v, want %v", what, tape.sent, c.sent)
					}
					if len(c.sent) < 4 && len(tape.sent) > len(c.sent) {
						t.Errorf("%s goes on with %v", what, tape.sent[len(c.sent):])
					}
				}
				check("Read", caller.Read(ctx, a, b))
				tape.sent = nil
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var first error
				for _, r := range caller.ReadEach(ctx, []Request{{Script: lua.Status, Keys: []string{"a"}}, {Script: lua.Status, Keys: []string{"b"}}}) {
					first = cmp.Or(first, r.Err)
				}
				check("ReadEach", first)
			})
		})
	}
}

// flaky is a client's hook that stands for the server: of the commands, about the
// keys a and b, some fail.
type flaky struct {
	outcomes [][2]error
	sent     []int // how many commands each pipeline had
}

func (f *flaky) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *flaky) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error { return f.fate(cmd) }
}

func (f *flaky) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error { return f.fate(cmds...) }
}

func (f *flaky) fate(cmds ...redis.Cmder) (first error) {
	outcome := f.outcomes[min(len(f.sent), len(f.outcomes)-1)]
	f.sent = append(f.sent, len(cmds))
	for _, cmd := range cmds {
		err := outcome[0]
		if slices.Contains(cmd.Args(), any("b")) {
			err = outcome[1]
		}
		cmd.SetErr(err)
		if cmd, script := cmd.(*redis.Cmd); script && err == nil {
			cmd.SetVal([]any{"OK", int64(1)})
		}
		first = cmp.Or(first, err)
	}
	return first
}
