package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/botsession/botsession/store/embedded"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"an unknown command", []string{"lss"}, `
error: unknown command "lss"
hint: did you mean botsession ls?
`},
		{"a command unlike any", []string{"frobnicate"}, `
error: unknown command "frobnicate"
hint: botsession --help lists the commands
`},
		{"an unknown flag", []string{"ls", "--colour"}, `
error: unknown flag: --colour
hint: botsession ls --help lists the flags
`},
		{"a flag of the wrong type", []string{"demo", "--replicas", "few"}, `
error: invalid argument "few" for "--replicas" flag: strconv.ParseInt: parsing "few": invalid syntax
hint: botsession demo --help lists the flags
`},
		{"no session", []string{"show"}, `
error: show needs one session, not 0
hint: botsession show pizza/42, as botsession ls prints it
`},
		{"two sessions", []string{"history", "a/1", "a/2"}, `
error: history needs one session, not 2
hint: botsession history pizza/42, as botsession ls prints it
`},
		{"a bot where a session is wanted", []string{"show", "pizza"}, `
error: invalid: session "pizza": want bot/id
hint: botsession show pizza/42, as botsession ls prints it
`},
		{"a session where a bot is wanted", []string{"ls", "pizza/42"}, `
error: invalid: bot name "pizza/42": '/' is not a letter, a digit, '.', '_', '-' or ':'
hint: one session: botsession show pizza/42
`},
		{"two bots", []string{"ls", "pizza", "bank"}, `
error: ls takes one bot, not 2
hint: botsession ls lists the sessions of all bots
`},
		{"an argument where none is wanted", []string{"version", "please"}, `
error: version takes no arguments
hint: botsession version --help
`},
		{"a URL of a strange scheme", []string{"ls", "--redis", "http://u:s3cret@h"}, `
error: invalid: redis URL: unknown scheme: want redis, rediss, unix, redis+cluster, rediss+cluster, redis+sentinel or rediss+sentinel
hint: an address looks like redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT/MASTER
`},
		{"a control character in an argument", []string{"\x1b[2J"}, `
error: unknown command "\x1b[2J"
hint: botsession --help lists the commands
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command(t, env, test.args...).check(t, transcript{Code: 2, Err: test.want})
		})
	}
	t.Run("no Redis", func(t *testing.T) {
		t.Parallel()
		command(t, nil, "ls").check(t, transcript{Code: 2, Err: `
error: no Redis is given
hint: --redis redis://HOST:PORT, or REDIS_URL in the environment
`})
	})
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"ls", "--help"}, {"help", "demo"}, {"help", "history"}, {"help", "settings"}, {"help", "show"}} {
		got := rawCommand(t, nil, args...)
		if got.Code != 0 || !strings.Contains(got.Stdout, "Usage:") || got.Err != "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, got.Code, got.Stdout, got.Err)
		}
		if regexp.MustCompile(`(?m)^  (replica|soak) `).MatchString(got.Stdout) {
			t.Errorf("%q shows a hidden command:\n%s", args, got.Stdout)
		}
		for line := range strings.Lines(got.Stdout) {
			if len(line) > 81 || strings.Contains(line, "(default )") {
				t.Errorf("%q: %q", args, line)
			}
		}
	}
}

func TestDataThatThisToolDoesNotReadIsNoFaultOfTheServer(t *testing.T) {
	t.Parallel()
	for layout, want := range map[string]string{
		"99":  "hint: use the botsession of the fleet's version\n",
		"one": "hint: is it the right server, and the right --namespace?\n",
	} {
		redis := miniredis.RunT(t)
		redis.HSet("bs:meta", "layout", layout, "buckets", "8", "id", "x")
		got := rawCommand(t, nil, "ls", "--redis", "redis://"+redis.Addr())
		if got.Code != 1 || got.Stdout != "" || !strings.HasSuffix(got.Err, want) {
			t.Errorf("layout %s: exit %d, stdout %q, stderr %q", layout, got.Code, got.Stdout, got.Err)
		}
	}
}

func TestAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := listener.Addr().String()
	listener.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })

	for name, addr := range map[string]string{"nobody listens": free, "nobody answers": silent.Addr().String()} {
		for _, args := range [][]string{{"ls"}, {"show", "a/1"}, {"history", "a/1"}, {"demo"}} {
			t.Run(name+": "+args[0], func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				got := rawCommand(t, nil, append(args, "--redis", "redis://u:s3cret@"+addr)...)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %v", took)
				}
				if got.Code != 4 || got.Stdout != "" || strings.Count(got.Err, addr) == 0 || !strings.Contains(got.Err, "hint: does the server run there?") {
					t.Errorf("exit %d, stdout %q, stderr %q", got.Code, got.Stdout, got.Err)
				}
				if strings.Contains(got.Err, "s3cret") {
					t.Errorf("the password is shown: %q", got.Err)
				}
			})
		}
	}
}

func TestAServerThatRefusesIsThere(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.RequireUserAuth("ann", "s3cret")
	got := rawCommand(t, nil, "ls", "--redis", "redis://"+server.Addr())
	if got.Code != 1 || !strings.Contains(got.Err, "\nhint: user and password stand in the address: redis://USER:PASSWORD@HOST:PORT\n") {
		t.Errorf("exit %d, stderr %q", got.Code, got.Err)
	}
	for text, want := range map[string]string{
		"WRONGPASS invalid username-password pair or": "user and password ",
		"ERR DB index is out of range":                "does the address fit the server? ",
		"LOADING Redis is loading the dataset in mem": "the server is there, but not ready: ",
	} {
		if got := refused(serverError(text)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

type serverError string

func (e serverError) Error() string { return string(e) }
func (e serverError) RedisError()   {}

func TestWhatIsWrongWithTheServerIsAWarning(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	redis.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd == "INFO" {
			c.WriteBulk("aof_enabled:0\r\n")
		}
		return cmd == "INFO"
	})
	want := "warning: " + redis.Addr() + ": the append-only file is off: a crash of the server loses what was written since its last snapshot; set appendonly yes\n"
	for _, args := range [][]string{{"ls"}, {"demo", "--limit", "1", "--kill", "0", "--think", "1ms"}} {
		if got := rawCommand(t, nil, append(args, "--redis", "redis://"+redis.Addr())...); got.Code != 0 || !strings.HasPrefix(got.Err, want) {
			t.Errorf("%s: exit %d, stderr %q", args[0], got.Code, got.Err)
		}
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		if conn, err := silent.Accept(); err == nil {
			interrupt()
			<-t.Context().Done()
			conn.Close()
		}
	}()
	var errs strings.Builder
	code := run(ctx, []string{"ls", "--redis", "redis://" + silent.Addr().String()}, strings.NewReader(""), io.Discard, &errs)
	if code != exitFailed || errs.String() != "error: interrupted\n" {
		t.Errorf("exit %d, stderr %q", code, errs.String())
	}
}

func TestTheFlagWinsOverTheEnvironment(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	command(t, map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}, "ls", "--redis", server.URL()).
		check(t, transcript{Err: "no live sessions\n"})
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", ""}, "pizza\n:4\n"},
		{[]string{"show", ""}, "pizza/\n:6\n"},
		{[]string{"history", "pizza/"}, "pizza/42\n:4\n"},
	} {
		got := rawCommand(t, w.env, append([]string{"__complete"}, test.args...)...)
		if got.Code != 0 || got.Stdout != test.want {
			t.Errorf("%q: exit %d, %q, want %q (%s)", test.args, got.Code, got.Stdout, test.want, got.Err)
		}
	}
	if got := rawCommand(t, nil, "completion", "bash"); got.Code != 0 || !strings.Contains(got.Stdout, "complete") {
		t.Errorf("completion bash: exit %d, %q", got.Code, got.Err)
	}
}
