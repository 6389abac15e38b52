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
	if o := one("redis://:p@[::1]:7000"); o.Addr != "[::1]:7000" || o.Username != "" || o.Password != "p" {
		t.Errorf("IPv6: %+v", o)
	}
	if o := one("unix:///run/a@b/redis.sock"); o.Addr != "/run/a@b/redis.sock" || o.Password != "" {
		t.Errorf("an @ in the path of a socket: %+v", o)
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

	client, err = ParseURL("rediss+sentinel://u:p@a:1,b/main/4?sentinel_username=w&sentinel_password=s%2Bs")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if o := client.(*redis.Client).Options(); o.DB != 4 || o.Username != "u" || o.Password != "p" || o.TLSConfig == nil || o.TLSConfig.ServerName != "" {
		t.Errorf("sentinel: %+v", o)
	}
	behind, err := parseURL("redis+sentinel://a:1,[::1]/ma%2Fin?sentinel_username=w&sentinel_password=s%2Bs")
	if err != nil {
		t.Fatal(err)
	}
	if o := behind.options.(*redis.FailoverOptions); strings.Join(o.SentinelAddrs, " ") != "a:1 [::1]:26379" || o.MasterName != "ma/in" || o.SentinelUsername != "w" || o.SentinelPassword != "s+s" {
		t.Errorf("sentinel: %+v", o)
	}
}

func TestABadURLIsRefusedAndTheWrongPartNamed(t *testing.T) {
	for raw, part := range map[string]string{
		"":                           "scheme",
		"localhost:6379":             "scheme",
		"http://h":                   "scheme",
		"redis+ring://h":             "scheme",
		"redis://h:port":             "port",
		"redis://h:":                 "port",
		"redis://h:0":                "port",
		"redis://h:+7":               "port",
		"redis://h:70000":            "port",
		"redis://bot:geheim":         "port",
		"redis://u:geheim@h:bad":     "port",
		"redis+cluster://a,b:geheim": "port of host 2",
		"redis://a,b":                "2 hosts",
		"redis://":                   "the host is missing",
		"redis:///0":                 "the host is missing",
		"redis://:geheim@/0":         "the host is missing",
		"redis+cluster://a:1,:2":     "host 2 is missing",
		"redis+cluster://a,":         "host 2 is missing",
		"redis://::1":                "brackets",
		"redis://2001:db8::1":        "brackets",
		"redis://bot:ge:heim":        "brackets",
		"redis://[::1":               "IPv6",
		"redis://[::1]geheim":        "IPv6",
		"redis://[geheim]":           "IPv6",
		"redis://[1.2.3.4]":          "IPv6",
		"redis://[fe80::1%geheim]":   "IPv6",
		"redis://\u212acache":        "character that no host name has", // the Kelvin sign, whose small letter is k
		"redis://b\u00fccher":        "character that no host name has",
		"redis://u:geheim@h%zz":      "character that no host name has",
		"redis://h%41":               "character that no host name has",

		"redis://geheim@h":                           "no password", // a client would send neither
		"redis://bot:@h":                             "no password",
		"redis+cluster://geheim@h":                   "no password",
		"unix://geheim@/s":                           "no password",
		"redis+sentinel://h/m?sentinel_username=bot": "no sentinel_password",

		"redis://h/x":                 "database",
		"redis://h/-1":                "database",
		"redis://h/geheim":            "database",
		"redis://h/0/1":               "database",
		"redis://h/1?db=2":            "twice",
		"redis+cluster://a/1":         "databases",
		"redis+cluster://a?db=1":      "databases",
		"redis+sentinel://a:1":        "master",
		"redis+sentinel://a:1/main/x": "database",
		"redis+sentinel://a:1/ma%in":  "%25",

		"redis://:#geheim@cache:6379/0":          "%23",
		"redis+cluster://bot:#geheim@h:1":        "%23",
		"redis://h/0#geheim":                     "%23",
		"redis://bot:geheim/x@cache:6379":        "%2F",
		"redis+cluster://bot:1234/geheim@h:1":    "%2F",
		"redis+sentinel://bot:1234/geheim@h:1/m": "%2F",
		"redis://bot:geheim?x@cache:6379":        "%3F",
		"redis://bot:gehe@im@cache:6379":         "%40",
		"redis://bot:100%geheim@h:1":             "%25",
		"redis://bot:geheim %20@h:1":             "white space",
		"redis://bot:geheim\t@h:1":               "white space",
		"redis://bot:geheim\u00a0@h:1":           "white space",
		"redis://bot:geheim\u2028@h:1":           "white space",
		"redis://bot:geheim\ufeff@h:1":           "cannot be printed",
		"redis://bot:geheim\u0085@h:1":           "cannot be printed",
		"unix://bot:geheim/@/run/redis.sock":     "%2F",
		"unix://:ge@/heim@/run/redis.sock":       "%2F",
		"unix://bot:ge?heim@/run/redis.sock":     "%3F",
		"unix://geheim":                          "socket",
		"unix://":                                "path",
		"unix:///run/100%geheim":                 "%25",
	} {
		t.Run(raw, func(t *testing.T) {
			_, err := ParseURL(raw)
			if !errors.Is(err, session.ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
			if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "1234") {
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
