package store

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// samples are one value for each parameter, and what the options have of it.
var samples = map[string]struct {
	text string
	want any
}{
	"db":                         {"3", 3},
	"protocol":                   {"2", 2},
	"client_name":                {"bot-1", "bot-1"},
	"max_retries":                {"5", 5},
	"min_retry_backoff":          {"11ms", 11 * time.Millisecond},
	"max_retry_backoff":          {"12s", 12 * time.Second},
	"dial_timeout":               {"13", 13 * time.Second},
	"read_timeout":               {"14s", 14 * time.Second},
	"write_timeout":              {"15s", 15 * time.Second},
	"pool_fifo":                  {"true", true},
	"pool_size":                  {"16", 16},
	"pool_timeout":               {"17s", 17 * time.Second},
	"min_idle_conns":             {"18", 18},
	"max_idle_conns":             {"19", 19},
	"max_active_conns":           {"20", 20},
	"max_concurrent_dials":       {"2", 2},
	"pipeline_pool_size":         {"22", 22},
	"pipeline_read_buffer_size":  {"2300", 2300},
	"pipeline_write_buffer_size": {"2400", 2400},
	"conn_max_idle_time":         {"25s", 25 * time.Second},
	"idle_timeout":               {"26s", 26 * time.Second},
	"conn_max_lifetime":          {"27s", 27 * time.Second},
	"max_conn_age":               {"28s", 28 * time.Second},
	"conn_max_lifetime_jitter":   {"29s&conn_max_lifetime=30s", 29 * time.Second},
	"skip_verify":                {"true", true},
	"sentinel_username":          {"watch&sentinel_password=p", "watch"},
	"sentinel_password":          {"p", "p"},
}

// Each parameter must be in the options that a client works with in the end: in a
// cluster those of the client of a node, which dials.
func TestEachParameterReachesEachKindOfClientOrIsRefusedByName(t *testing.T) {
	t.Parallel()
	node := miniredis.RunT(t)
	refused := map[string]string{ // the others are taken over everywhere
		"db": "+cluster", "skip_verify": "unix", "sentinel_username": "unix one +cluster", "sentinel_password": "unix one +cluster",
	}
	for name, p := range parameters {
		sample, found := samples[name]
		if !found {
			t.Errorf("%s has no sample", name)
		}
		for kind, base := range map[string]string{"one": "rediss://" + node.Addr(), "unix": "unix:///s", "+cluster": "redis+cluster://" + node.Addr(), "+sentinel": "rediss+sentinel://" + node.Addr() + "/m"} {
			if kind == "+cluster" && name == "skip_verify" {
				base = "rediss+cluster://" + node.Addr() // its node does not speak TLS
			}
			raw := base + "?" + name + "=" + sample.text
			target, err := parseURL(raw)
			if strings.Contains(refused[name], kind) {
				name := strings.TrimSuffix(name, "username") // the password, which it needs, may be named first
				if !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %v, want ErrInvalid with the name of the parameter", raw, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", raw, err)
				continue
			}
			client := target.client()
			t.Cleanup(func() { client.Close() })
			var final any
			switch c := client.(type) {
			case *redis.Client:
				final = c.Options()
			case *redis.ClusterClient:
				final = c.Options()
				if !target.secure {
					if err := c.ForEachShard(t.Context(), func(_ context.Context, one *redis.Client) error {
						final = one.Options()
						return nil
					}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if strings.HasPrefix(name, "sentinel_") { // go-redis shows no client of a Sentinel
				final = target.options
			}
			field := reflect.ValueOf(final).Elem().FieldByName(p.field)
			if name == "skip_verify" {
				field = field.Elem().FieldByName("InsecureSkipVerify")
			}
			if got := field.Interface(); got != sample.want {
				t.Errorf("%s: the client has %v, want %v", raw, got, sample.want)
			}
		}
	}
}

// Those who know go-redis' URLs need to learn no other names.
func TestEachParameterHasTheNameThatGoRedisGivesIt(t *testing.T) {
	t.Parallel()
	for name, p := range parameters {
		if strings.HasPrefix(p.field, "Sentinel") {
			continue
		}
		text, _, _ := strings.Cut(samples[name].text, "&")
		if _, err := redis.ParseURL("rediss://h?" + name + "=" + text); err != nil {
			t.Errorf("%s is not one of go-redis: %v", name, err)
		}
	}
}

func TestZeroSwitchesOffWhatCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	for name, p := range parameters {
		if !p.off {
			continue
		}
		for _, text := range []string{"0", "-1"} {
			target, err := parseURL("redis://h?" + name + "=" + text)
			if err != nil {
				t.Errorf("%s=%s: %v", name, text, err)
			} else if got := reflect.ValueOf(target.options).Elem().FieldByName(p.field).Int(); got != -1 {
				t.Errorf("%s=%s: the options have %d, want -1, which is go-redis' word for off", name, text, got)
			}
		}
	}
}

func TestABadParameterIsRefusedByName(t *testing.T) {
	t.Parallel()
	for query, part := range map[string]string{
		"no_such_option=1":                    "unknown parameter",
		"geheim":                              "unknown parameter",
		"pool_size=1&geheim=2":                "unknown parameter",
		"pool_size=1&":                        "unknown parameter",
		"pool_size=1&pool_size=2":             "pool_size, or another name of it, is given twice",
		"idle_timeout=1&conn_max_idle_time=2": "twice",
		"max_conn_age=1&conn_max_lifetime=1":  "twice",
		"pool_size":                           "pool_size has no value",
		"client_name=":                        "client_name has no value",
		"pool_size=-5":                        "pool_size",
		"pool_size=0":                         "pool_size",
		"pool_size=geheim":                    "pool_size",
		"pool_size=9999999999":                "pool_size",
		"pool_size=99999999999999999999":      "pool_size",
		"min_idle_conns=-1":                   "min_idle_conns",
		"max_idle_conns=-1":                   "max_idle_conns",
		"max_active_conns=-1":                 "max_active_conns",
		"max_concurrent_dials=0":              "max_concurrent_dials",
		"max_retries=-2":                      "max_retries",
		"pipeline_pool_size=-2":               "pipeline_pool_size",
		"pipeline_read_buffer_size=-1":        "pipeline_read_buffer_size",
		"pipeline_write_buffer_size=1":        "pipeline_write_buffer_size",
		"db=-1":                               "db",
		"db=geheim":                           "db",
		"protocol=1":                          "protocol",
		"protocol=9":                          "protocol",
		"dial_timeout=0":                      "dial_timeout",
		"dial_timeout=-1s":                    "dial_timeout",
		"dial_timeout=18446744074":            "dial_timeout", // as nanoseconds it would come round to 0.29 s
		"dial_timeout=9300000000000000000":    "dial_timeout",
		"dial_timeout=100000h":                "dial_timeout",
		"pool_timeout=-1":                     "pool_timeout",
		"read_timeout=-5s":                    "read_timeout",
		"read_timeout=-2":                     "read_timeout",
		"read_timeout=geheim":                 "read_timeout",
		"min_retry_backoff=-1s":               "min_retry_backoff",
		"conn_max_lifetime=-3":                "conn_max_lifetime",
		"conn_max_lifetime_jitter=3s":         "conn_max_lifetime_jitter", // go-redis would make it 0
		"conn_max_lifetime_jitter=3s&conn_max_lifetime=2s": "conn_max_lifetime_jitter",
		"conn_max_lifetime_jitter=3s&conn_max_lifetime=0":  "conn_max_lifetime_jitter",
		"client_name=a%20b":        "client_name",
		"client_name=a%0ab":        "client_name",
		"client_name=%c3%a9":       "client_name",
		"client_name=geheim+x":     "%2B",
		"client_name=geheim;x":     "%3B",
		"client_name=geheim%x":     "%25",
		"client_name=geheim@x":     "%40",
		"pool_fifo=3":              "pool_fifo",
		"skip_verify=true":         "skip_verify", // without TLS
		"sentinel_password=geheim": "sentinel_password",
	} {
		t.Run(query, func(t *testing.T) {
			client, err := ParseURL("redis://h?" + query)
			if err == nil {
				client.Close()
			}
			if !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want ErrInvalid that names %q", err, part)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q shows the value", err)
			}
		})
	}
	// go-redis' cluster client would read 0 as the default of 5 s.
	for _, name := range []string{"read_timeout", "write_timeout", "min_retry_backoff", "max_retry_backoff"} {
		if _, err := ParseURL("redis+cluster://h?" + name + "=0"); !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=0 for a cluster: %v, want ErrInvalid", name, err)
		}
	}
}
