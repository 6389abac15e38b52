package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// bare makes two calls of EVALSHA with the arguments and the replies of our
// turn, of scripts that do nothing: what is left of us when the client and the
// server only talk.
type bare struct {
	env    env
	client *redis.Client
	calls  [][]any // two whole commands
}

func openBare(ctx context.Context, e env) (instance, error) {
	client, err := newClient(e.url)
	if err != nil {
		return nil, err
	}
	return &bare{env: e, client: client}, nil
}

// prepare makes turns of ours, and takes the calls of the last one.
func (b *bare) prepare(ctx context.Context, users []string, chat []exchange) error {
	listen := new(listener)
	inner := b.env
	inner.prefix += "-inner"
	o, err := newOurs(ctx, inner, 0, listen)
	if err != nil {
		return err
	}
	for i := range 3 {
		listen.start()
		if err = o.turn(ctx, users[0], chat[(i+len(chat)-1)%len(chat)]); err != nil {
			break
		}
	}
	heard := listen.heard()
	if err := errors.Join(err, o.close()); err != nil {
		return err
	}
	for _, cmd := range heard {
		sha, err := b.env.control.ScriptLoad(ctx, "return "+luaLiteral(cmd.reply)).Result()
		if err != nil {
			return err
		}
		cmd.args[1] = sha
		b.calls = append(b.calls, cmd.args)
	}
	if len(b.calls) != 2 {
		return fmt.Errorf("our turn made %d script calls, not 2", len(b.calls))
	}
	return nil
}

func (b *bare) turn(ctx context.Context, user string, x exchange) error {
	for _, call := range b.calls {
		if _, err := b.client.Do(ctx, call...).Result(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bare) restore(context.Context, []string) error { return nil }
func (b *bare) close() error                            { return b.client.Close() }

// A listener is a hook that notes the script calls for a session.
type listener struct {
	mu    sync.Mutex
	calls []heardCall
}

type heardCall struct {
	args  []any
	reply any
}

func (l *listener) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = nil
}

func (l *listener) heard() []heardCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func (l *listener) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *listener) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return next(ctx, cmds) }
}

func (l *listener) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		answered, ok := cmd.(interface{ Val() any })
		args := cmd.Args()
		// The beat of a replica goes to the fleet's key, a turn's calls to a session's.
		if err != nil || !ok || len(args) < 4 || args[0] != "evalsha" || !strings.Contains(fmt.Sprint(args[3]), "}:") {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls = append(l.calls, heardCall{append([]any(nil), args...), answered.Val()})
		return nil
	}
}

// luaLiteral writes a reply as Lua.
func luaLiteral(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = luaLiteral(v[i])
		}
		return "{" + strings.Join(parts, ",") + "}"
	case string:
		var b strings.Builder
		b.WriteByte('\'')
		for _, c := range []byte(v) {
			fmt.Fprintf(&b, "\\%03d", c)
		}
		b.WriteByte('\'')
		return b.String()
	case int64:
		return fmt.Sprint(v)
	}
	return "false"
}

// empty runs a script that does nothing, twice: the least that two round trips
// cost.
type empty struct {
	client *redis.Client
	sha    string
}

func openEmpty(ctx context.Context, e env) (instance, error) {
	client, err := newClient(e.url)
	if err != nil {
		return nil, err
	}
	sha, err := client.ScriptLoad(ctx, "return 1").Result()
	if err != nil {
		client.Close()
		return nil, err
	}
	return &empty{client: client, sha: sha}, nil
}

func (s *empty) turn(ctx context.Context, user string, x exchange) error {
	for range 2 {
		if err := s.client.EvalSha(ctx, s.sha, nil).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *empty) prepare(context.Context, []string, []exchange) error { return nil }
func (s *empty) restore(context.Context, []string) error             { return nil }
func (s *empty) close() error                                        { return s.client.Close() }
