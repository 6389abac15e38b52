//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// struck is a call that meets a user without one right.
type struck struct {
	name  string
	begin func(ctx context.Context, p *patient) error // with all rights
	call  func(ctx context.Context, p *patient) error
}

// A patient is one session of a store of its own.
type patient struct {
	bot     *store.Bot
	session *store.Session
	handler store.Handler
}

const visits store.Key[int] = "visits"

func (p *patient) say(ctx context.Context, text string) error {
	_, err := p.bot.Accept(ctx, "1", session.Event{ID: text, Text: text})
	return err
}

func (p *patient) drain(ctx context.Context) error {
	_, err := p.bot.Drain(ctx, p.handler, with(p.bot))
	return err
}

// settle drains until nothing waits: a lease this short may be lost on a busy machine,
// and what it was for is handled by a later Drain.
func (p *patient) settle(ctx context.Context) error {
	for {
		if err := p.drain(ctx); err != nil {
			return err
		}
		status, err := p.session.Status(ctx)
		if err != nil || status.Waiting+status.Unsent == 0 && status.Lease.Work == session.WorkNone {
			return err
		}
	}
}

func struckCalls() []struck {
	none := func(context.Context, *patient) error { return nil }
	idle := func(ctx context.Context, p *patient) error {
		return errors.Join(p.say(ctx, "first"), p.settle(ctx), p.session.SetFile(ctx, session.File{Name: "f", Data: []byte("bytes")}))
	}
	failed := func(ctx context.Context, p *patient) error {
		p.handler = func(context.Context, *store.Turn) error { return store.RetryAfter(time.Hour, errNo) }
		return errors.Join(p.say(ctx, "first"), p.say(ctx, "behind"), p.drain(ctx))
	}
	head := store.Head{Event: "first"}
	dead := func(ctx context.Context, p *patient) error {
		return errors.Join(idle(ctx, p), p.say(ctx, "second"), p.session.Skip(ctx, store.Head{Event: "second"}))
	}
	second := func(ctx context.Context, p *patient) error { return p.say(ctx, "second") }
	return []struck{
		{"Accept, a new session", none, second},
		{"Accept", idle, second},
		{"Session.Set", idle, func(ctx context.Context, p *patient) error { return p.session.Set(ctx, "k", 1) }},
		{"Session.Move", idle, func(ctx context.Context, p *patient) error {
			return p.session.Move(ctx, session.Transition{From: "after first", To: "elsewhere"})
		}},
		{"Session.Reply", idle, func(ctx context.Context, p *patient) error { return p.session.Reply(ctx, "hi") }},
		{"Session.Reset", idle, func(ctx context.Context, p *patient) error { return p.session.Reset(ctx, session.DropChat) }},
		{"Session.Retry", failed, func(ctx context.Context, p *patient) error { return p.session.Retry(ctx, head, store.Retrial{}) }},
		{"Session.Skip", failed, func(ctx context.Context, p *patient) error { return p.session.Skip(ctx, head) }},
		{"Session.Drop", failed, func(ctx context.Context, p *patient) error { return p.session.Drop(ctx, 2) }},
		{"Session.Redeliver", dead, func(ctx context.Context, p *patient) error {
			at, err := lastLetter(ctx, p.session)
			if err == nil {
				_, err = p.session.Redeliver(ctx, at)
			}
			return err
		}},
		{"Session.Discard", dead, func(ctx context.Context, p *patient) error {
			at, err := lastLetter(ctx, p.session)
			if err == nil {
				err = p.session.Discard(ctx, at)
			}
			return err
		}},
		{"Session.Destroy", idle, func(ctx context.Context, p *patient) error { _, err := p.session.Destroy(ctx); return err }},
	}
}

// Redis checks the user's rights at every command of a script, and undoes
// nothing. Open has seen all rights; one that is lost later must stop a script
// before it writes.
func TestACallWithoutARightChangesNothing(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	root := observer(t, url)
	asReplica := asUser(t, url, "replica", append(rights(t, "replica"), "~n*", "&n*", "+scan")...)
	client, err := store.ParseURL(asReplica)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	stopped := 0
	for i, call := range struckCalls() {
		for _, command := range neededByScripts(t) {
			if call.strike(t, root, client, fmt.Sprintf("n%d-%s", i, command), command) {
				stopped++
			}
		}
	}
	if stopped == 0 {
		t.Error("no call needs any right: this test shows nothing")
	}
	t.Logf("%d calls were stopped", stopped)
}

// Whichever right is missing while its scripts run, a turn that commits, one that
// fails at first and one that gives up are handled as if it had been there: late.
func TestTurnsWithoutARightAreHandledOnceAllTheSame(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	root := observer(t, url)
	client, err := store.ParseURL(asUser(t, url, "replica", append(rights(t, "replica"), "~n*", "&n*", "+scan")...))
	must(t, err)
	t.Cleanup(func() { client.Close() })
	stopped := 0
	for _, command := range neededByScripts(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		st, err := store.New(ctx, client, &store.Options{Namespace: "n-" + command, Buckets: 1, Timeout: 300 * time.Millisecond, Lease: 30 * time.Millisecond})
		must(t, err)
		runs, sent := map[string]int{}, map[string]bool{}
		p := &patient{bot: botWith(t, st, "bot", store.BotOptions{Backoff: time.Millisecond}, store.ServeOptions{
			Send: func(_ context.Context, d store.Delivery) error { sent[d.Message.String()] = true; return nil },
		})}
		p.session = p.bot.Session("1")
		p.handler = func(_ context.Context, turn *store.Turn) error {
			text := turn.Event().Text
			runs[text]++
			n, _ := visits.Get(turn)
			visits.Set(turn, n+1)
			turn.Move("after " + text)
			turn.Reply("well, " + text)
			switch {
			case text == "give up":
				return store.GiveUp(errors.New("as it was told"))
			case text == "fail" && runs[text] == 1:
				return errors.New("as it was told")
			}
			return nil
		}
		for _, text := range []string{"commit", "fail", "give up"} {
			must(t, p.say(ctx, text))
		}
		must(t, root.Do(ctx, "ACL", "SETUSER", "replica", "-"+command).Err())
		for range 5 { // each goes on where the one before was stopped
			if p.drain(ctx) != nil {
				stopped++
			}
			time.Sleep(10 * time.Millisecond)
		}
		must(t, root.Do(ctx, "ACL", "SETUSER", "replica", "+"+command).Err())
		until(t, "without "+command+" all is handled in the end", func() bool {
			must(t, p.drain(ctx))
			s, err := p.session.Status(ctx)
			must(t, err)
			return s.Waiting+s.Unsent == 0 && s.Lease.Work == session.WorkNone
		})
		chat, err := p.session.History(ctx, session.All())
		must(t, err)
		var said []string
		for _, m := range chat {
			said = append(said, m.String())
		}
		letters, err := p.session.DeadLetters(ctx)
		must(t, err)
		n, _, err := visits.Load(ctx, p.session)
		must(t, err)
		if want := []string{"commit", "well, commit", "fail", "well, fail", "give up"}; !slices.Equal(said, want) || n != 2 || len(letters) != 1 ||
			!maps.Equal(sent, map[string]bool{"well, commit": true, "well, fail": true}) {
			t.Errorf("without %s: the chat is %q, %d turns left their mark, %d dead letters, sent %v", command, said, n, len(letters), sent)
		}
		must(t, st.Whole(ctx))
		cancel()
	}
	if stopped == 0 {
		t.Error("no turn needs any right: this test shows nothing")
	}
	t.Logf("%d times a turn was stopped", stopped)
}

// Redis asks for a command's keys as if all its arguments were there, and looks at
// what an earlier script left where they are not: so a question about a right
// must be whole. A user who may touch all keys never sees this.
func TestAUserOfSomeKeysIsServedWhateverRanBefore(t *testing.T) {
	t.Parallel()
	acl := filepath.Join(t.TempDir(), "users.acl")
	must(t, os.WriteFile(acl, nil, 0o600))
	server := redistest.Restartable(t, "--appendonly", "yes", "--appendfsync", "always", "--aclfile", acl)
	url := asUser(t, server.URL, "replica", rights(t, "replica")...)
	root, ctx := observer(t, server.URL), t.Context()
	must(t, root.Do(ctx, "ACL", "SAVE").Err())
	bot := botOf(t, open(t, url, nil), "bot", nil)
	s := bot.Session("1")
	_, err := s.Create(ctx, store.Origin{})
	must(t, err)

	server.Stop(os.Kill)
	server.Start()
	must(t, s.Set(ctx, "k", 1)) // the first script that this server runs

	others := func() error {
		return root.Eval(ctx, "return redis.call('SET', KEYS[1], 'x')", []string{"shop:cart:7"}).Err()
	}
	must(t, others())
	must(t, s.Set(ctx, "k", 2))
	_, err = bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
	must(t, err)
	n, err := bot.Drain(ctx, func(context.Context, *store.Turn) error { return others() }, nil)
	if n != 1 || err != nil {
		t.Errorf("%d turns, %v", n, err)
	}
}

// neededByScripts returns the commands of a replica's rights that a script may
// be without for a moment, and the connection live on.
func neededByScripts(t *testing.T) (commands []string) {
	for _, right := range rights(t, "replica") {
		command, ok := strings.CutPrefix(right, "+")
		if ok && !strings.ContainsAny(command, "@|") &&
			!slices.Contains([]string{"hello", "eval", "evalsha", "ping", "subscribe", "unsubscribe", "info", "time"}, command) {
			commands = append(commands, command)
		}
	}
	return commands
}

// strike makes the call without the right, and reports whether that stopped it.
func (c struck) strike(t *testing.T, root *redis.Client, client redis.UniversalClient, space, command string) (stopped bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st, err := store.New(ctx, client, &store.Options{Namespace: space, Buckets: 1, Lease: 30 * time.Millisecond})
	must(t, err)
	p := &patient{bot: botWith(t, st, "bot", store.BotOptions{Backoff: time.Millisecond}, store.ServeOptions{
		Send: func(context.Context, store.Delivery) error { return nil },
	})}
	p.session = p.bot.Session("1")
	p.handler = func(_ context.Context, turn *store.Turn) error {
		n, _ := visits.Get(turn)
		visits.Set(turn, n+1)
		turn.Move("after " + turn.Event().Text)
		turn.Reply("well, " + turn.Event().Text)
		return nil
	}
	must(t, c.begin(ctx, p))

	before := dump(t, root, space)
	must(t, root.Do(ctx, "ACL", "SETUSER", "replica", "-"+command).Err())
	err = c.call(ctx, p)
	must(t, root.Do(ctx, "ACL", "SETUSER", "replica", "+"+command).Err())
	if err == nil {
		must(t, st.Whole(ctx)) // it did without that right, whole
		return false
	}
	if after := dump(t, root, space); !maps.Equal(before, after) {
		t.Errorf("%s without %s answers %v, and wrote something", c.name, command, err)
	}
	if errors.Is(err, session.ErrNoPermission) == errors.Is(err, session.ErrUnknownOutcome) { // unknown, where the script stopped at a read
		t.Errorf("%s without %s answers %v", c.name, command, err)
	}
	must(t, c.call(ctx, p)) // and works again when the right is back
	return true
}

// dump reads all that is stored under a namespace, as bytes.
func dump(t *testing.T, client *redis.Client, space string) map[string]string {
	t.Helper()
	keys, err := client.Keys(t.Context(), space+":{*").Result()
	must(t, err)
	all := map[string]string{}
	for _, key := range keys {
		all[key], err = client.Dump(t.Context(), key).Result()
		must(t, err)
	}
	return all
}
