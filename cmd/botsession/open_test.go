package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

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
				got := rawCommand(t, nil, append(args, "--redis", "redis://u:s3cret@"+addr)...)
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
		"CLUSTERDOWN The cluster is down":             "a cluster serves again when ",
		"READONLY You can't write against a rea":      "this server only follows another one: ",
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

func TestTheFlagWinsOverTheEnvironment(t *testing.T) {
	t.Parallel()
	server, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	command(t, map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}, "ls", "--redis", server.URL()).
		check(t, transcript{Err: "no live sessions\n"})
}
