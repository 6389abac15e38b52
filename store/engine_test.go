package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// An otherEngine is a server that says it is another engine.
type otherEngine struct {
	info    string
	refuses string        // refuses is what it says to every script.
	direct  *redis.Client // direct is nil, or by what the script alone looks at its key as if commands of others came between.
	looked  bool          // looked is whether that script was asked for.
}

func (e *otherEngine) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e *otherEngine) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (e *otherEngine) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		switch {
		case cmd.Name() == "info":
			if err := next(ctx, cmd); err != nil {
				return err
			}
			text := cmd.(*redis.StringCmd)
			text.SetVal(text.Val() + e.info)
			return nil
		case !strings.HasPrefix(cmd.Name(), "eval"):
			return next(ctx, cmd)
		case e.refuses != "":
			err := refusal(e.refuses)
			cmd.SetErr(err)
			return err
		case args[1] != lua.Alone.SHA() && args[1] != lua.Alone.Text():
			return next(ctx, cmd)
		}
		e.looked = true
		if e.direct == nil {
			return next(ctx, cmd)
		}
		key, alone := text(args[3]), "1"
		for was, end := e.direct.Get(ctx, key).Val(), time.Now().Add(time.Minute); alone == "1" && time.Now().Before(end); {
			if e.direct.Get(ctx, key).Val() != was {
				alone = "0"
			}
		}
		cmd.(interface{ SetVal(any) }).SetVal([]any{"OK", time.Now().UnixMilli(), alone})
		return nil
	}
}

// A refusal is an error reply.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

// Garnet runs other commands in the middle of a script, or no scripts at all, unless it
// is told otherwise.
func TestAnEngineWhoseScriptsAreNotWholeIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for name, c := range map[string]struct {
		otherEngine
		looks, opens bool
		says         string
	}{
		"Redis":                         {opens: true},
		"scripts that are whole":        {otherEngine: otherEngine{info: "garnet_version:1.0.99\r\n"}, looks: true, opens: true},
		"commands of others in between": {otherEngine: otherEngine{info: "garnet_version:1.0.99\r\n", direct: observer(t, url)}, looks: true, says: "the server is garnet 1.0.99, and runs other commands in the middle of a script"},
		"no scripts":                    {otherEngine: otherEngine{refuses: "ERR This instance has Lua scripting support disabled"}, says: "Lua scripts are needed, and the server does not run them"},
		"no such command":               {otherEngine: otherEngine{refuses: "ERR unknown command 'EVALSHA'"}, says: "Lua scripts are needed, and the server does not run them"},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := store.ParseURL(url)
			must(t, err)
			defer client.Close()
			engine := &c.otherEngine
			client.AddHook(engine)
			_, err = store.New(t.Context(), client, nil)
			if c.opens && err != nil || !c.opens && (!errors.Is(err, session.ErrUnsupported) || strings.Count(err.Error(), c.says) != 1 || strings.Contains(err.Error(), "\n")) {
				t.Errorf("Open returned %v, want %q", err, c.says)
			}
			if engine.looked != c.looks {
				t.Errorf("that its scripts are whole was tried: %t, want %t", engine.looked, c.looks)
			}
		})
	}
	until(t, "what was tried is gone", func() bool {
		keys, err := observer(t, url).Keys(t.Context(), "*").Result()
		must(t, err)
		return len(keys) == 1 && keys[0] == "bs:meta"
	})
}
