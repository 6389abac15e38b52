package store

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// Secrets are made of these. No error of ParseURL has one of the letters in any
// other way, so that a single one in an error is a piece of the secret.
var (
	secretLetters  = []string{"Q", "X", "Z", "J"}
	secretAlphabet = append([]string{
		"#", "/", "?", "@", "%", ":", "[", "]", ",", "&", "=", ";", "+", "\\", " ", "%zz", "%2", "%40", "//", "\"", "'", "\t", "\n", "\x00", "\x7f", "\xff", "\u00e9", "\u00a0", "\u212a",
		"79", "://",
	}, slices.Repeat(secretLetters, 8)...)
)

// secretOf makes a secret of any bytes.
func secretOf(choice []byte) string {
	var text strings.Builder
	for _, b := range choice {
		text.WriteString(secretAlphabet[int(b)%len(secretAlphabet)])
	}
	return text.String()
}

// escapeAll escapes each byte that is not a letter or a digit.
func escapeAll(text string) string {
	return strings.NewReplacer("+", "%20", ":", "%3A", "@", "%40", "&", "%26", "=", "%3D", "$", "%24").Replace(url.QueryEscape(text))
}

// A secretURL is a URL made around a secret, and what its client must have.
type secretURL struct {
	raw, scheme    string
	user, password string
	sentinel       string // the password of the Sentinels
	hosts          []string
	escaped        bool // so it must be accepted
}

var secretSchemes = []string{"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}

// secretURLs returns the URLs with this secret, as it is and escaped, as the
// password, as the user, and as the password of Sentinels.
func secretURLs(secret string) (all []secretURL) {
	for _, scheme := range secretSchemes {
		hosts, end := []string{"cache:6380"}, "cache:6380"
		switch {
		case scheme == "unix":
			hosts, end = nil, "/run/sock"
		case strings.HasSuffix(scheme, "+cluster"):
			hosts, end = []string{"cache:6380", "[::1]:6379"}, "cache:6380,[::1]"
		case strings.HasSuffix(scheme, "+sentinel"):
			hosts, end = []string{"cache:6380", "other:26379"}, "cache:6380,other/main"
		}
		for _, escaped := range []bool{true, false} {
			text := secret
			if escaped {
				text = escapeAll(secret)
			}
			for _, behind := range []string{"", "?pool_size=3", "?unknown=1"} {
				ok := escaped && behind != "?unknown=1"
				add := func(userinfo, params, user, password, sentinel string) {
					raw := scheme + "://" + userinfo + end + behind
					if params != "" {
						raw += map[bool]string{true: "?", false: "&"}[behind == ""] + params
					}
					all = append(all, secretURL{raw, scheme, user, password, sentinel, hosts, ok})
				}
				add(":"+text+"@", "", "", secret, "")
				add("bot:"+text+"@", "", "bot", secret, "")
				add(text+":word@", "", secret, "word", "")
				if strings.HasSuffix(scheme, "+sentinel") {
					add("", "sentinel_password="+text, "", "", secret)
				}
			}
		}
	}
	return all
}

func checkSecret(t *testing.T, secret string) {
	t.Helper()
	if secret == "" {
		return
	}
	for _, u := range secretURLs(secret) {
		if u.scheme == "unix" && strings.HasPrefix(strings.TrimPrefix(u.raw, "unix://"), "/") {
			continue // that is a path, whatever is in it
		}
		target, err := parseURL(u.raw)
		client, clientErr := ParseURL(u.raw)
		if (err == nil) != (clientErr == nil) {
			t.Errorf("%q: %v, and %v", u.raw, err, clientErr)
		}
		if err != nil {
			if !errors.Is(err, session.ErrInvalid) || !errors.Is(clientErr, session.ErrInvalid) {
				t.Errorf("%q: %v, want ErrInvalid", u.raw, err)
			}
			if showsSecret(err, secret) {
				t.Errorf("%q: the error shows some of %q: %v", u.raw, secret, err)
			}
			if u.escaped {
				t.Errorf("%q is refused, and all of it is escaped: %v", u.raw, err)
			}
			continue
		}
		client.Close()
		got := secretURL{hosts: target.hosts}
		switch o := target.options.(type) {
		case *redis.Options:
			got.user, got.password = o.Username, o.Password
			if u.scheme != "unix" && !slices.Equal([]string{o.Addr}, u.hosts) || u.scheme == "unix" && o.Addr != "/run/sock" {
				t.Errorf("%q connects to %q", u.raw, o.Addr)
			}
		case *redis.ClusterOptions:
			got.user, got.password, got.hosts = o.Username, o.Password, o.Addrs
		case *redis.FailoverOptions:
			got.user, got.password, got.sentinel, got.hosts = o.Username, o.Password, o.SentinelPassword, o.SentinelAddrs
		}
		if !slices.Equal(got.hosts, u.hosts) {
			t.Errorf("%q connects to %q, want %q", u.raw, got.hosts, u.hosts)
		}
		if want := credentials(u); got.user != want.user || got.password != want.password || got.sentinel != want.sentinel {
			t.Errorf("%q logs in as %q with %q and at Sentinels with %q, want %q, %q and %q",
				u.raw, got.user, got.password, got.sentinel, want.user, want.password, want.sentinel)
		}
	}
}

// credentials are those that a URL says. A secret that is not escaped says what
// is left when its escapes are undone; the first colon ends a user; a & ends a
// parameter.
func credentials(u secretURL) secretURL {
	if u.escaped {
		return u
	}
	plain := func(text string) string {
		text, _ = url.PathUnescape(text)
		return text
	}
	_, rest, _ := strings.Cut(u.raw, "://")
	want := secretURL{}
	if userinfo, _, found := strings.Cut(rest, "@"); found {
		user, password, _ := strings.Cut(userinfo, ":")
		want.user, want.password = plain(user), plain(password)
	}
	if _, text, found := strings.Cut(rest, "sentinel_password="); found {
		text, _, _ = strings.Cut(text, "&")
		want.sentinel = plain(text)
	}
	return want
}

// showsSecret tells whether an error holds a letter of a secret or, of four bytes
// and more, all of it, as it is or escaped.
func showsSecret(err error, secret string) bool {
	text := err.Error()
	if strings.ContainsAny(text, strings.Join(secretLetters, "")) || strings.Contains(text, "79") {
		return true
	}
	if len(secret) < 4 || !strings.ContainsAny(secret, "QXZJ79") {
		return false // such as "://", which errors have to say what is wanted
	}
	plain, _ := url.PathUnescape(secret)
	return strings.Contains(text, secret) || strings.Contains(text, escapeAll(secret)) || len(plain) >= 4 && strings.Contains(text, plain)
}

func TestNoErrorShowsASecretAndNoClientConnectsElsewhere(t *testing.T) {
	t.Parallel()
	for _, special := range secretAlphabet {
		for _, secret := range []string{special, special + "QXZJ", "QXZJ" + special, "QX" + special + "ZJ", "79" + special + "79", special + "Q" + special} {
			checkSecret(t, secret)
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same secrets in each run
	for range 300 {
		choice := make([]byte, 1+random.IntN(12))
		for i := range choice {
			choice[i] = byte(random.IntN(256))
		}
		checkSecret(t, secretOf(choice))
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{
		"redis://h", "rediss://u:p@h:1/2?db=3", "unix:///s", "unix://u:p@/s", "redis+cluster://a:1,b:2", "redis+sentinel://a/m/1?sentinel_password=p",
		"redis+sentinel://[::1]:1/m", "redis://[::1]", "x", "://", "redis://h?pool_size=-5", "redis://h?read_timeout=1s&protocol=2", "redis://:#p@h", "redis://u:1/p@h",
	} {
		f.Add(seed, []byte(seed))
	}
	for special := range secretAlphabet {
		f.Add("redis://h", []byte{byte(special), 60, 61, 62, byte(special)})
	}
	f.Fuzz(func(t *testing.T, raw string, choice []byte) {
		if client, err := ParseURL(raw); err == nil {
			client.Close()
		} else if !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", raw, err)
		}
		checkSecret(t, secretOf(choice[:min(len(choice), 16)]))
	})
}
