package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// ParseURL returns the client that [Open] would use, which the caller closes. It
// does no I/O, unless the URL has the parameter min_idle_conns.
//
//	redis://[[user]:password@]host[:6379][/db]           one server
//	rediss://…                                           one server, TLS
//	unix://[[user]:password@]/path/to/socket[?db=n]      one server, a socket
//	redis+cluster://[[user]:password@]host[:6379][,host…]
//	redis+sentinel://[[user]:password@]host[:26379][,host…]/master[/db]
//
// The last two are rediss+cluster and rediss+sentinel with TLS. An IPv6 address is
// written in brackets. The user and the password are those of the Redis servers;
// those of the Sentinels are the parameters sentinel_username and
// sentinel_password. A user without a password is refused, because a client would
// not log in with it.
//
// The other parameters are those of go-redis: db, protocol, client_name,
// skip_verify, dial_timeout, read_timeout, pool_size and so on. A duration is
// 500ms, 3s or a number of seconds. A parameter that is unknown, given twice, out
// of range, or without meaning for this kind of server is refused.
//
// A URL that could be read in two ways is refused, too. These must be escaped:
//
//   - in a user and a password, # as %23, % as %25, / as %2F, ? as %3F, @ as %40,
//     and in a user : as %3A
//   - in a parameter, # as %23, % as %25, & as %26, + as %2B, ; as %3B, @ as %40
//   - everywhere, white space and what cannot be printed, a space as %20
//
// The path of a socket may have an @ if there is no user and no password.
//
// For a bad URL ParseURL returns [session.ErrInvalid], which says what part is
// wrong. Because the URL may have a password in it, the error has none of its text.
func ParseURL(raw string) (redis.UniversalClient, error) {
	t, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	return t.client(), nil
}

// A target is what a URL says.
type target struct {
	kind           string // "", "unix", "+cluster" or "+sentinel"
	secure         bool   // over TLS
	user, password string
	hosts          []string          // each with its port; none for a socket
	path           string            // behind the hosts, without the first slash; of a socket, whole
	params         map[string]string // by known names
	options        any               // *redis.Options, *redis.ClusterOptions or *redis.FailoverOptions
}

func (t *target) client() redis.UniversalClient {
	switch o := t.options.(type) {
	case *redis.ClusterOptions:
		return redis.NewClusterClient(o)
	case *redis.FailoverOptions:
		return redis.NewFailoverClient(o)
	}
	return redis.NewClient(t.options.(*redis.Options))
}

func parseURL(raw string) (*target, error) {
	t, err := takeApart(raw)
	if err == nil {
		err = t.setOptions()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: redis URL: %w", session.ErrInvalid, err)
	}
	return t, nil
}

// takeApart splits "scheme://user:password@h1:p,h2:p/path?name=value".
func takeApart(raw string) (*target, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return nil, errors.New("it has no scheme: want redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://")
	}
	t, port := &target{}, "6379"
	switch scheme {
	case "redis", "redis+cluster", "redis+sentinel":
		t.kind = strings.TrimPrefix(scheme, "redis")
	case "rediss", "rediss+cluster", "rediss+sentinel":
		t.kind, t.secure = strings.TrimPrefix(scheme, "rediss"), true
	case "unix":
		t.kind = scheme
	default:
		return nil, errors.New("unknown scheme: want redis, rediss, unix, redis+cluster, rediss+cluster, redis+sentinel or rediss+sentinel")
	}
	if t.kind == "+sentinel" {
		port = "26379"
	}
	for _, c := range rest {
		switch {
		case c == '#':
			return nil, errors.New("it has a #: write %23")
		case c == ' ' || !unicode.IsPrint(c):
			return nil, errors.New("it has white space or a character that cannot be printed: escape it, a space as %20")
		}
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(rest, "/")
	socket := t.kind == "unix"
	if socket && authority != "" && !strings.HasSuffix(authority, "@") {
		return nil, errors.New("a socket's URL has no host: want unix:///path or unix://user:password@/path (in a password write / as %2F and ? as %3F)")
	}
	plainPath := socket && authority == "" // no password can stand before an @ in it
	if strings.Contains(query, "@") || !plainPath && strings.Contains(path, "@") {
		return nil, errors.New("it has an @ behind a / or a ?: in a password write / as %2F and ? as %3F, and @ as %40 everywhere")
	}
	userinfo, list := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, list = authority[:i], authority[i+1:]
	}
	err := t.setUser(userinfo)
	switch {
	case err != nil:
		return nil, err
	case socket && (!slash || path == ""):
		return nil, errors.New("the socket's path is missing: want unix:///path")
	case socket:
		t.path, err = unescape("/"+path, "the path")
	default:
		t.path = path
		t.hosts, err = hosts(list, port)
	}
	if err != nil {
		return nil, err
	}
	t.params, err = takeParams(query)
	return t, err
}

func (t *target) setUser(userinfo string) (err error) {
	if strings.Contains(userinfo, "@") {
		return errors.New("it has two @ before the host: in a password write %40")
	}
	user, password, _ := strings.Cut(userinfo, ":")
	if user != "" && password == "" { // go-redis would send neither
		return errors.New("it has a user and no password: want user:password@, or :password@ for a password alone")
	}
	if t.user, err = unescape(user, "the user"); err != nil {
		return err
	}
	t.password, err = unescape(password, "the password")
	return err
}

func unescape(text, what string) (string, error) {
	plain, err := url.PathUnescape(text)
	if err != nil { // it holds the text
		return "", fmt.Errorf("%s has a %% that begins no escape: write %%25", what)
	}
	return plain, nil
}

// hosts reads "h1:p,h2" and gives each host its port.
func hosts(list, defaultPort string) (all []string, err error) {
	parts := strings.Split(list, ",")
	for i, text := range parts {
		which := "the host"
		if len(parts) > 1 {
			which = fmt.Sprintf("host %d", i+1)
		}
		name, port, hasPort := strings.Cut(text, ":")
		if strings.HasPrefix(text, "[") {
			inner, behind, closed := strings.Cut(text[1:], "]")
			ip, err := netip.ParseAddr(inner)
			if !closed || err != nil || !ip.Is6() || ip.Zone() != "" || behind != "" && behind[0] != ':' {
				return nil, fmt.Errorf("%s is no IPv6 address in brackets", which)
			}
			name, hasPort = inner, behind != ""
			port = strings.TrimPrefix(behind, ":")
		} else if strings.Contains(port, ":") {
			return nil, fmt.Errorf("%s has more than one colon: an IPv6 address stands in brackets, a password before an @", which)
		} else if name == "" {
			return nil, fmt.Errorf("%s is missing", which)
		} else if strings.ContainsFunc(name, notInHost) {
			return nil, fmt.Errorf("%s has a character that no host name has", which)
		}
		if !hasPort {
			port = defaultPort
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("the port of %s is not a number from 1 to 65535 (a password stands before an @: want redis://:password@host)", which)
		}
		all = append(all, net.JoinHostPort(name, strconv.FormatUint(n, 10)))
	}
	return all, nil
}

func notInHost(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
}

// setOptions makes the options of the kind of client that the scheme asks for.
func (t *target) setOptions() error {
	config := t.tlsConfig()
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch t.kind {
	case "+cluster":
		if t.path != "" || t.params["db"] != "" {
			return errors.New("a cluster has no databases: leave out what stands behind the /, and the parameter db")
		}
		t.options = &redis.ClusterOptions{
			Addrs: t.hosts, Username: t.user, Password: t.password, TLSConfig: config,
			ContextTimeoutEnabled: true, DisableIdentity: true, MaintNotificationsConfig: quiet,
		}
	case "+sentinel":
		master, db, _ := strings.Cut(t.path, "/")
		master, err := unescape(master, "the master's name")
		if err != nil {
			return err
		}
		if master == "" {
			return errors.New("the master's name is missing: want redis+sentinel://host:port/master")
		}
		if err := t.setDatabase(db); err != nil {
			return err
		}
		if t.params["sentinel_username"] != "" && t.params["sentinel_password"] == "" {
			return errors.New("it has the parameter sentinel_username and no sentinel_password")
		}
		t.options = &redis.FailoverOptions{
			MasterName: master, SentinelAddrs: t.hosts, Username: t.user, Password: t.password, TLSConfig: config,
			ContextTimeoutEnabled: true, DisableIdentity: true,
		}
	case "unix":
		t.options = &redis.Options{
			Network: "unix", Addr: t.path, Username: t.user, Password: t.password,
			ContextTimeoutEnabled: true, DisableIdentity: true, MaintNotificationsConfig: quiet,
		}
	default:
		if len(t.hosts) > 1 {
			return fmt.Errorf("%d hosts for one server: use redis+cluster:// or redis+sentinel://", len(t.hosts))
		}
		if err := t.setDatabase(t.path); err != nil {
			return err
		}
		if config != nil {
			config.ServerName, _, _ = net.SplitHostPort(t.hosts[0])
		}
		t.options = &redis.Options{
			Network: "tcp", Addr: t.hosts[0], Username: t.user, Password: t.password, TLSConfig: config,
			ContextTimeoutEnabled: true, DisableIdentity: true, MaintNotificationsConfig: quiet,
		}
	}
	return t.setParams()
}

// tlsConfig returns nil without TLS. It names no server: each connection checks
// the certificate of the host that it dials.
func (t *target) tlsConfig() *tls.Config {
	if !t.secure {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// setDatabase takes the number in the path for the parameter db.
func (t *target) setDatabase(path string) error {
	if path == "" {
		return nil
	}
	if t.params["db"] != "" {
		return errors.New("the database is given twice: behind the / and as the parameter db")
	}
	if _, err := strconv.ParseUint(path, 10, 31); err != nil {
		return errors.New("the database behind the / is not a number from 0")
	}
	t.params["db"] = path
	return nil
}

// withoutPassword returns an error of Open, or another one where a server's reply
// in it repeats the password: one that does not know AUTH repeats what follows,
// which may be cut short.
func (t *target) withoutPassword(err error) error {
	if !call.FromServer(err) {
		return err
	}
	text := strings.ToLower(err.Error())
	repeats := strings.Contains(text, "args beginning with") && strings.Contains(text, "auth")
	for _, password := range []string{t.password, t.params["sentinel_password"]} {
		repeats = repeats || len(password) >= 4 && strings.Contains(text, strings.ToLower(password))
	}
	if !repeats {
		return err
	}
	where := t.path
	if len(t.hosts) > 0 {
		where = strings.Join(t.hosts, ",")
	}
	return fmt.Errorf("open store at %s: the server refused the login with an error that repeats the password and is left out here: does it know AUTH?", where)
}
