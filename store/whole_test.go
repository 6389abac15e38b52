package store

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
)

// Redis takes back nothing that a script wrote before it failed. So each script of a
// usual turn is run on a session where one or two of its keys are of another type, or
// one or two of its rights are gone, on all keys or on one: it must write all or
// nothing, and say so.
func TestAScriptIsWholeWhateverTypeOrRightIsGone(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]*lua.Script{"accept": lua.Accept, "commit": lua.Commit, "commit, eagerly": lua.Commit, "sent": lua.Sent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWhole(t, script, strings.HasSuffix(name, "eagerly"))
			commands := w.commands()
			var harms []harm
			for _, key := range w.keys {
				harms = append(harms, harm{"of another type: " + key, key, "", ""})
				for _, command := range commands {
					if script == lua.Commit { // the general lines of the others ask for a right once, not for each key
						harms = append(harms, harm{"without " + command + " on " + key, "", command, key})
					}
				}
			}
			for _, command := range commands {
				harms = append(harms, harm{"without " + command, "", command, ""})
			}
			whole, none := 0, 0
			for i, a := range harms {
				for j, b := range harms[:i+1] {
					switch {
					case a.on != "" && b.on != "" && i != j: // two rights on single keys say no more than two on all
					case w.whole(t, a, b):
						whole++
					default:
						none++
					}
				}
			}
			t.Logf("%d harms: all was written %d times, nothing %d times", len(harms), whole, none)
			if whole == 0 || none == 0 {
				t.Error("a test in which only one of the two happens proves nothing")
			}
		})
	}
}

// A harm is what is done to the server before a script runs.
type harm struct {
	name    string
	key     string // key is of another type.
	command string // command is a right that the user has not,
	on      string // on this key, or on all if it is empty.
}

// A whole is a server with a session for which a script is about to run.
type whole struct {
	admin  *redis.Client
	user   *redis.Client
	script *lua.Script
	keys   []string
	argv   []any
	before map[string]kept
	after  map[string]string // after is what the keys hold when it has run.
}

type kept struct {
	dump string
	life time.Duration
}

func newWhole(t *testing.T, script *lua.Script, eager bool) *whole {
	url := redistest.Single(t)
	w := &whole{admin: client(t, url).(*redis.Client), script: script}
	ctx := t.Context()
	if w.admin.Do(ctx, "ACL", "WHOAMI").Err() != nil || !strings.Contains(w.admin.Do(ctx, "EVAL", "return tostring(redis.acl_check_cmd ~= nil)", 0).String(), "true") {
		if os.Getenv("REQUIRE_REDIS") == "1" {
			t.Fatal("REQUIRE_REDIS=1, and the server cannot tell a script what its user may do: it must be Redis 7 or Valkey")
		}
		t.Skip("SKIPPED, what a script leaves behind is not tested (REQUIRE_REDIS=1 makes this a failure): the server cannot tell a script what its user may do")
	}
	c, err := ParseURL(url)
	noError(t, err)
	st, err := New(ctx, c, &Options{Buckets: 1, Lease: time.Minute})
	noError(t, err)
	t.Cleanup(func() { st.Close(); c.Close() })
	bot := botOf(t, st, "bot", &BotOptions{})
	caught := make(chan []any, 1)
	serving, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	hook := &catcher{sha: script.SHA(), caught: caught}
	c.AddHook(hook)
	go bot.Serve(serving, func(_ context.Context, turn *Turn) error {
		turn.Set("key", turn.Event().Text)
		turn.Move("other " + turn.Event().Text)
		turn.Reply("said")
		return nil
	}, &ServeOptions{Eager: eager, Send: func(context.Context, Delivery) error { return nil }})
	for bot.serving.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	for i := range 3 {
		r, err := bot.Accept(ctx, "1", session.Event{ID: fmt.Sprint(i), Text: fmt.Sprint(i)})
		noError(t, err)
		_, err = r.Wait(ctx)
		noError(t, err)
		for {
			status, err := bot.Session("1").Status(ctx)
			noError(t, err)
			if status.Lease.Work == session.WorkNone {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	hook.armed.Store(true)
	go bot.Accept(serving, "1", session.Event{ID: "last", Text: "last"})
	args := <-caught
	n := len(script.Keys)
	for _, key := range args[3 : 3+n] {
		w.keys = append(w.keys, text(key))
	}
	for _, arg := range args[3+n:] {
		w.argv = append(w.argv, text(arg))
	}
	hook.stop()
	w.before = map[string]kept{}
	for _, key := range w.admin.Keys(ctx, "*").Val() {
		w.before[key] = kept{w.admin.Dump(ctx, key).Val(), max(w.admin.PTTL(ctx, key).Val(), 0)}
	}
	w.user = redis.NewClient(&redis.Options{Addr: w.admin.Options().Addr, Username: "user", Password: "secret", MaxRetries: -1})
	t.Cleanup(func() { w.user.Close() })
	w.restore(t)
	w.grant(t)
	if status, err := w.run(t); err != nil || status != "OK" {
		t.Fatalf("with all rights: %s, %v", status, err)
	}
	w.after = w.content(t)
	return w
}

func text(arg any) string {
	if s, ok := arg.(*string); ok {
		return *s
	}
	return fmt.Sprint(arg)
}

// commands returns what the script calls.
func (w *whole) commands() []string {
	var names []string
	for _, m := range regexp.MustCompile(`\b(?:redis\.p?call|call|try)\('([A-Z]+)'`).FindAllStringSubmatch(w.script.Text(), -1) {
		if !slices.Contains(names, m[1]) && m[1] != "TIME" { // without which nothing runs
			names = append(names, m[1])
		}
	}
	return names
}

func (w *whole) restore(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	_, err := w.admin.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.FlushAll(ctx)
		for key, k := range w.before {
			p.Restore(ctx, key, k.life, k.dump)
		}
		return nil
	})
	noError(t, err)
}

// grant gives the user all rights but those.
func (w *whole) grant(t *testing.T, harms ...harm) {
	t.Helper()
	rule := []any{"ACL", "SETUSER", "user", "reset", "on", ">secret", "allchannels", "+@all"}
	keys := map[string]bool{}
	for _, key := range w.keys {
		keys[key] = true
	}
	single := ""
	for _, h := range harms {
		switch {
		case h.command == "":
		case h.on == "":
			rule = append(rule, "-"+h.command)
		default:
			single = h.on
			rule = append(rule, "-"+h.command)
		}
	}
	rule = append(rule, "allkeys")
	if single != "" { // a selector gives back the commands on the other keys
		selector := "(+@all"
		for _, h := range harms {
			if h.command != "" && h.on == "" {
				selector += " -" + h.command
			}
		}
		for key := range keys {
			if key != single {
				selector += " ~" + strings.NewReplacer("[", "\\[", "?", "\\?").Replace(key)
			}
		}
		rule = append(rule, selector+")")
	}
	noError(t, w.admin.Do(t.Context(), rule...).Err())
}

// run runs the script as the user, as it would be sent now.
func (w *whole) run(t *testing.T) (status string, err error) {
	t.Helper()
	now := w.admin.Time(t.Context()).Val()
	args := slices.Clone(w.argv)
	args[1] = fmt.Sprint(now.Add(time.Minute).UnixMilli())
	if i := slices.Index(w.script.Args, "at"); i >= 0 {
		args[i] = fmt.Sprint(now.UnixMilli() - 1)
	}
	v, err := w.user.Eval(t.Context(), w.script.Text(), w.keys, args...).Slice()
	if err != nil {
		return "", err
	}
	return fmt.Sprint(v[0]), nil
}

// content returns what each key holds.
func (w *whole) content(t *testing.T) map[string]string {
	t.Helper()
	ctx := t.Context()
	all := map[string]string{}
	for _, key := range w.admin.Keys(ctx, "*").Val() {
		switch w.admin.Type(ctx, key).Val() {
		case "hash":
			fields := w.admin.HGetAll(ctx, key).Val()
			maps.DeleteFunc(fields, func(_, line string) bool { return strings.HasPrefix(line, "v\x00") })
			if rec, ok := fields["rec"]; ok { // but for the moments, which each run has its own of
				fields["rec"] = regexp.MustCompile(`\b1\d{12,15}\b`).ReplaceAllString(rec, "T")
				fields["hand"] = regexp.MustCompile(`1\d{12} `).ReplaceAllString(fields["hand"], "T ")
			}
			all[key] = fmt.Sprint(fields)
		case "list":
			all[key] = fmt.Sprintf("%q", w.admin.LRange(ctx, key, 0, -1).Val())
		case "zset":
			all[key] = regexp.MustCompile(`\{1\.\d+e\+12 `).ReplaceAllString(fmt.Sprint(w.admin.ZRangeWithScores(ctx, key, 0, -1).Val()), "{T ")
		default:
			all[key] = w.admin.Get(ctx, key).Val()
		}
	}
	return all
}

// whole does the harms, runs the script, and reports whether it wrote all. It fails
// the test if the script wrote a part.
func (w *whole) whole(t *testing.T, harms ...harm) bool {
	t.Helper()
	ctx := t.Context()
	name := harms[0].name + ", " + harms[1].name
	w.restore(t)
	for _, h := range harms {
		if h.key != "" {
			w.admin.Del(ctx, h.key)
			other := w.admin.Set(ctx, h.key, "of another type", 0).Err()
			if typ := forms[w.nameOf(h.key)].typ; typ == "string" {
				w.admin.Del(ctx, h.key)
				other = w.admin.RPush(ctx, h.key, "of another type").Err()
			}
			noError(t, other)
		}
	}
	w.grant(t, harms...)
	before := w.content(t)
	status, err := w.run(t)
	got := w.content(t)
	full := maps.Clone(w.after)
	counters := slices.Index(w.script.Keys, "moves") // which come last, and are not needed for the session to be right
	var partly []string
	all, nothing := true, true
	for _, key := range slices.Sorted(maps.Keys(maps.Collect(union(got, full, before)))) {
		if counters >= 0 && key == w.keys[counters] || key == harms[0].key || key == harms[1].key {
			continue
		}
		if got[key] != full[key] {
			all = false
		}
		if got[key] != before[key] {
			nothing = false
			partly = append(partly, fmt.Sprintf("%s:\n  before %s\n  now    %s\n  whole  %s", key, before[key], got[key], full[key]))
		}
	}
	switch {
	case !all && !nothing:
		t.Errorf("%s: %s %v wrote a part:\n%s", name, status, err, strings.Join(partly, "\n"))
	case all && !nothing && (err != nil || status != "OK"):
		t.Errorf("%s: all is written, and the script returned %s, %v", name, status, err)
	case nothing && !all && status == "OK":
		t.Errorf("%s: nothing is written, and the script returned OK", name)
	}
	return all && !nothing
}

func (w *whole) nameOf(key string) string {
	return w.script.Keys[slices.Index(w.keys, key)]
}

func union(all ...map[string]string) func(func(string, bool) bool) {
	return func(yield func(string, bool) bool) {
		for _, m := range all {
			for key := range m {
				if !yield(key, true) {
					return
				}
			}
		}
	}
}

// A catcher catches the next request of a script once it is armed: neither that nor
// anything that comes later is sent.
type catcher struct {
	sha     string
	armed   atomic.Bool
	shut    atomic.Bool
	sending sync.RWMutex // sending is held while something is sent.
	caught  chan<- []any
}

// stop returns when what was sent before has come back.
func (c *catcher) stop() {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.shut.Store(true)
}

func (c *catcher) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *catcher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.sending.RLock()
		defer c.sending.RUnlock()
		if c.shut.Load() {
			return redis.ErrClosed
		}
		return next(ctx, cmds)
	}
}

func (c *catcher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); len(args) > 1 && args[1] == c.sha && c.armed.CompareAndSwap(true, false) {
			c.shut.Store(true)
			c.caught <- slices.Clone(args)
		}
		c.sending.RLock()
		defer c.sending.RUnlock()
		if c.shut.Load() {
			return redis.ErrClosed
		}
		return next(ctx, cmd)
	}
}
