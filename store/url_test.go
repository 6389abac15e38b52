package store

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

func TestParseURLBuildsTheClientForEachKindOfServer(t *testing.T) {
	one := func(raw string) *redis.Options {
		t.Helper()
		client, err := ParseURL(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		defer client.Close()
		return client.(*redis.Client).Options()
	}
	if o := one("redis://u:p@h:7000/3?pool_size=7"); o.Addr != "h:7000" || o.DB != 3 || o.Username != "u" || o.Password != "p" || o.PoolSize != 7 || !o.ContextTimeoutEnabled || o.TLSConfig != nil {
		t.Errorf("redis: %+v", o)
	}
	if o := one("redis://h"); o.Addr != "h:6379" {
		t.Errorf("the default port: %s", o.Addr)
	}
	if o := one("rediss://h"); o.TLSConfig == nil || o.TLSConfig.ServerName != "h" {
		t.Errorf("rediss: %+v", o.TLSConfig)
	}
	if o := one("unix:///run/redis.sock?db=2"); o.Network != "unix" || o.Addr != "/run/redis.sock" || o.DB != 2 {
		t.Errorf("unix: %+v", o)
	}

	client, err := ParseURL("rediss+cluster://u:p@a:1,b?read_timeout=1s")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := client.(*redis.ClusterClient).Options()
	if strings.Join(c.Addrs, " ") != "a:1 b:6379" || c.Username != "u" || c.Password != "p" || c.ReadTimeout != time.Second || !c.ContextTimeoutEnabled {
		t.Errorf("cluster: %+v", c)
	}
	if c.TLSConfig == nil || c.TLSConfig.ServerName != "" {
		t.Errorf("cluster TLS: %+v", c.TLSConfig)
	}

	client, err = ParseURL("redis+sentinel://u:p@a:1,b/main/4?sentinel_password=s")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if o := client.(*redis.Client).Options(); o.DB != 4 || o.Username != "u" || o.Password != "p" {
		t.Errorf("sentinel: %+v", o)
	}
}

func TestABadURLIsRefusedAndTheWrongPartNamed(t *testing.T) {
	for raw, part := range map[string]string{
		"":                               "scheme",
		"localhost:6379":                 "scheme",
		"http://h":                       `"http"`,
		"redis+ring://h":                 `"redis+ring"`,
		"redis://h:port":                 `"port"`,
		"redis://h:70000":                `"70000"`,
		"redis://a,b":                    "2 hosts",
		"redis://":                       "empty",
		"redis://h/x":                    "database",
		"redis://h?no_such_option=1":     "no_such_option",
		"redis+cluster://a:1,:2":         "empty",
		"redis+cluster://a/1":            `"/1"`,
		"redis+sentinel://a:1":           "master",
		"redis+sentinel://a:1/main/x":    "database",
		"redis://u:geheim@h:bad":         `"bad"`,
		"redis+cluster://u:geheim@h:bad": `"bad"`,
		"redis://u:geheim@h%zz":          "",
	} {
		t.Run(raw, func(t *testing.T) {
			_, err := ParseURL(raw)
			if !errors.Is(err, session.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q shows the password", err)
			}
		})
	}
}

func TestOpenOfAServerThatIsNotThereFailsSoonAndNamesIt(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := closed.Addr().String()
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, url := range map[string]string{
		"nobody listens": "redis://" + addr, "nobody answers": "redis://" + silent.Addr().String(),
		"no cluster node": "redis+cluster://" + addr, "no sentinel": "redis+sentinel://" + addr + "/main",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := Open(ctx, url, &Options{Timeout: 300 * time.Millisecond})
			if err == nil || ctx.Err() != nil {
				t.Fatalf("Open: %v (ctx: %v)", err, ctx.Err())
			}
			if _, host, _ := strings.Cut(url, "://"); !strings.Contains(err.Error(), host) && !strings.Contains(err.Error(), "Sentinels") {
				t.Errorf("%q does not name %s", err, host)
			}
		})
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"redis://h", "rediss://u:p@h:1/2?db=3", "unix:///s", "redis+cluster://a:1,b:2", "redis+sentinel://a/m/1", "redis+sentinel://[::1]:1/m", "redis://[::1]", "x", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		client, err := ParseURL(raw)
		if err != nil {
			if !errors.Is(err, session.ErrInvalid) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		client.Close()
	})
}
