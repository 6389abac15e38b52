package store

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
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
		"":                                  "scheme",
		"localhost:6379":                    "scheme",
		"http://h":                          "scheme",
		"redis+ring://h":                    "scheme",
		"redis://h:port":                    "port",
		"redis://h:70000":                   "port",
		"redis://bot:geheim":                "port",
		"redis://a,b":                       "2 hosts",
		"redis://":                          "empty",
		"redis:///0":                        "empty",
		"redis://h/x":                       "database",
		"redis://h/-1":                      "database",
		"redis://h/1?db=2":                  "twice",
		"redis://::1":                       "empty",
		"redis://[::1":                      "IPv6",
		"redis://h/0/1":                     "database",
		"redis://h?no_such_option=1":        "unknown parameter",
		"redis://h?pool_size=1&pool_size=2": "pool_size",
		"redis://h?idle_timeout=1&conn_max_idle_time=2": "twice",
		"redis://h?pool_size=-5":                        "pool_size",
		"redis://h?pool_size=0":                         "pool_size",
		"redis://h?pool_size=9999999999":                "pool_size",
		"redis://h?min_idle_conns=-1":                   "min_idle_conns",
		"redis://h?dial_timeout=-1s":                    "dial_timeout",
		"redis://h?read_timeout=geheim":                 "read_timeout",
		"redis://h?protocol=9":                          "protocol",
		"redis://h?skip_verify=true":                    "skip_verify",
		"redis+cluster://a:1,:2":                        "host 2",
		"redis+cluster://a/1":                           "databases",
		"redis+cluster://a?db=1":                        "databases",
		"redis+cluster://h?sentinel_password=geheim":    "unknown parameter",
		"redis+sentinel://a:1":                          "master",
		"redis+sentinel://a:1/main/x":                   "database",
		"redis://u:geheim@h:bad":                        "port",
		"redis+cluster://u:geheim@h:bad":                "port",
		"redis://u:geheim@h%zz":                         "character",
		"redis://:#geheim@cache:6379/0":                 "%23",
		"redis+cluster://bot:#geheim@h:1":               "%23",
		"redis://bot:geheim/x@cache:6379":               "%2F",
		"redis+cluster://bot:1234/geheim@h:1":           "%2F",
		"redis+sentinel://bot:1234/geheim@h:1/m":        "%2F",
		"redis://bot:geheim?x@cache:6379":               "%3F",
		"redis://bot:gehe@im@cache:6379":                "%40",
		"redis://bot:100%geheim@h:1":                    "%25",
		"redis://bot:geheim %20@h:1":                    "white space",
		"unix://bot:geheim/@/run/redis.sock":            "%2F",
		"unix://:ge@/heim@/run/redis.sock":              "%2F",
		"unix://geheim":                                 "socket",
		"unix://":                                       "path",
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

// Each parameter arrives at each kind of client, or is refused by name.
func TestEachParameterArrivesOrIsRefused(t *testing.T) {
	for name, p := range parameters {
		if p.field == "" || p.field == "TLSConfig" {
			continue
		}
		value := "3"
		for _, scheme := range []string{"redis://h", "unix:///s", "redis+cluster://h", "redis+sentinel://h/m"} {
			client, err := ParseURL(scheme + "?" + name + "=" + value)
			if err != nil {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%s on %s: %v", name, scheme, err)
				}
				continue
			}
			var options any
			switch c := client.(type) {
			case *redis.Client:
				options = *c.Options()
			case *redis.ClusterClient:
				options = *c.Options()
			}
			if field := reflect.ValueOf(options).FieldByName(p.field); !field.IsValid() || field.IsZero() {
				if name != "pool_fifo" && name != "conn_max_lifetime_jitter" { // "3" is no bool; the jitter is at most the lifetime
					t.Errorf("%s on %s does not arrive", name, scheme)
				}
			}
			client.Close()
		}
	}
}

// URLs are put together around a secret, escaped or not. None is shown by an
// error, and what is accepted has this secret and this host.
func checkSecretURL(t *testing.T, secret, before, behind string) {
	t.Helper()
	if len(secret) < 4 {
		return
	}
	for _, scheme := range []string{"redis", "rediss", "redis+cluster", "rediss+sentinel", "unix"} {
		for _, escaped := range []bool{false, true} {
			text, end := secret, "host-of-mine:7000"+behind
			if escaped {
				text = strings.NewReplacer(":", "%3A", "@", "%40").Replace(url.PathEscape(secret))
			}
			if scheme == "unix" && !escaped && strings.HasPrefix(before+text, "/") {
				continue // that is a path, whatever is in it
			}
			if scheme == "unix" {
				end = "/sock" + behind
			}
			raw := scheme + "://" + before + text + "@" + end
			client, err := ParseURL(raw)
			if err != nil {
				if !errors.Is(err, session.ErrInvalid) {
					t.Errorf("%q: %v", raw, err)
				}
				if strings.ContainsAny(secret, "0123456789") && strings.Contains(err.Error(), secret) { // the texts of errors have no digits but a few
					t.Errorf("%q: the error shows %q: %v", raw, secret, err)
				}
				if escaped && behind == "" && scheme != "rediss+sentinel" {
					t.Errorf("%q, which escapes what it must, is refused: %v", raw, err)
				}
				continue
			}
			var user, password string
			var hosts []string
			switch c := client.(type) {
			case *redis.Client:
				user, password, hosts = c.Options().Username, c.Options().Password, []string{c.Options().Addr}
			case *redis.ClusterClient:
				user, password, hosts = c.Options().Username, c.Options().Password, c.Options().Addrs
			}
			client.Close()
			if hosts[0] != "FailoverClient" && (len(hosts) != 1 || hosts[0] != "host-of-mine:7000" && hosts[0] != "/sock") {
				t.Errorf("%q connects to %q", raw, hosts)
			}
			if escaped && user != secret && password != secret {
				t.Errorf("%q logs in as %q with %q", raw, user, password)
			}
		}
	}
}

func TestNoErrorShowsASecretAndNoneConnectsElsewhere(t *testing.T) {
	for _, c := range []string{"", "#", "/", "?", "@", "%", ":", "[", "]", ",", "&", "=", ";", "+", "\\", " ", "%zz", "//", "/0", ":6379", "é", "\x00", "\n"} {
		for _, before := range []string{":", "bot:", ""} {
			for _, behind := range []string{"", "?pool_size=3", "?x=y"} {
				checkSecretURL(t, "pa55"+c+"w0rd", before, behind)
				checkSecretURL(t, c+"s3cr3t", before, behind)
				checkSecretURL(t, "s3cr3t"+c, before, behind)
			}
		}
	}
}

func FuzzParseURLAroundASecret(f *testing.F) {
	f.Add("pa55#w0rd", ":", "")
	f.Add("100%s3cret", "bot:", "?db=1")
	f.Fuzz(func(t *testing.T, secret, before, behind string) {
		if len(secret) < 8 || before != "" && before != ":" && before != "bot:" || strings.ContainsAny(behind, "@,/:") || strings.Contains(before+behind, secret) || behind != "" && behind[0] != '?' {
			return
		}
		checkSecretURL(t, secret, before, behind)
	})
}

func TestOpenSaysWhenOneSideSpeaksTLS(t *testing.T) {
	t.Parallel()
	plain := miniredis.RunT(t)
	server := httptest.NewTLSServer(nil) // any that speaks TLS
	t.Cleanup(server.Close)
	for raw, want := range map[string]string{
		"rediss://" + plain.Addr():                   "does not speak TLS",
		"rediss+cluster://" + plain.Addr():           "does not speak TLS",
		"redis://" + server.Listener.Addr().String(): "speaks TLS",
	} {
		_, err := Open(t.Context(), raw, &Options{Timeout: 500 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", raw, err, want)
		}
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
