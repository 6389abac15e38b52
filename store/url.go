package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/session"
)

// ParseURL returns the client that [Open] would use. Nothing is dialled.
//
//	redis://[user:password@]host[:6379][/db]           one server
//	rediss://…                                         one server, TLS
//	unix://[user:password@]/path/to/socket[?db=n]      one server, a socket
//	redis+cluster://[user:password@]host:port[,host:port…]
//	redis+sentinel://[user:password@]host:port[,host:port…]/master[/db]
//
// The last two also with rediss+ for TLS. The user and the password are those
// of the Redis servers; those of the Sentinels are given as the parameters
// sentinel_username and sentinel_password. Other parameters are those of
// go-redis (dial_timeout, read_timeout, pool_size, …); each is taken over, or
// refused.
//
// A URL that could be read in two ways is refused. In a user and a password
// these are escaped: # as %23, / as %2F, ? as %3F, @ as %40, % as %25, and : in a
// user as %3A. ParseURL returns [session.ErrInvalid] and says which part is wrong.
// An error never holds any of the URL's text, which may be the password.
func ParseURL(raw string) (redis.UniversalClient, error) {
	client, err := parseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: redis URL: %w", session.ErrInvalid, err)
	}
	return client, nil
}

// A target is a URL taken apart.
type target struct {
	secure         bool
	user, password string
	hosts          []string
	path           string // behind the authority, without the first slash
	params         url.Values
}

func parseURL(raw string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New(`it has no scheme: want redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://`)
	}
	secure, kind, _ := strings.Cut(scheme, "+")
	known := scheme == "unix" || (secure == "redis" || secure == "rediss") && (scheme == secure || kind == "cluster" || kind == "sentinel")
	if !known {
		return nil, errors.New("unknown scheme: want redis, rediss, unix, redis+cluster or redis+sentinel")
	}
	t, err := takeApart(rest, scheme == "unix")
	if err != nil {
		return nil, err
	}
	t.secure = secure == "rediss"
	switch kind {
	case "cluster":
		return t.cluster()
	case "sentinel":
		return t.sentinel()
	}
	if scheme == "unix" {
		return t.socket()
	}
	return t.single()
}

// takeApart splits "user:password@h1:p,h2:p/path?query".
func takeApart(rest string, socket bool) (t target, err error) {
	for _, c := range []byte(rest) {
		switch {
		case c == '#':
			return t, errors.New("it has a #: in a password write %23")
		case c <= ' ' || c == 0x7f:
			return t, errors.New("it has white space or a control character: escape it, a space as %20")
		}
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, slash := strings.Cut(rest, "/")
	behind := path
	if socket {
		if authority != "" && !strings.HasSuffix(authority, "@") {
			return t, errors.New("a socket's URL has no host: want unix:///path or unix://user:password@/path (in a password write / as %2F)")
		}
		if authority == "" {
			behind = "" // a path may hold an @ where no password can stand before it
		}
	}
	if strings.Contains(behind+query, "@") {
		return t, errors.New("it has an @ behind a / or a ?: in a password write / as %2F, ? as %3F and @ as %40")
	}
	if userinfo, hosts, found := cutLast(authority, "@"); found {
		authority = hosts
		if strings.Contains(userinfo, "@") {
			return t, errors.New("it has two @ before the host: in a password write %40")
		}
		user, password, _ := strings.Cut(userinfo, ":")
		if t.user, err = unescape(user, "the user"); err != nil {
			return t, err
		}
		if t.password, err = unescape(password, "the password"); err != nil {
			return t, err
		}
	}
	if socket {
		if !slash || path == "" {
			return t, errors.New("the socket's path is missing: want unix:///path")
		}
		t.path, err = unescape("/"+path, "the path")
	} else {
		t.path = path
		t.hosts, err = hosts(authority)
	}
	if err != nil {
		return t, err
	}
	if t.params, err = url.ParseQuery(query); err != nil {
		return t, errors.New("the parameters behind the ? cannot be read: want name=value, with & between them")
	}
	return t, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func unescape(text, what string) (string, error) {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return "", fmt.Errorf("%s has a %% that begins no escape: write %%25", what)
	}
	return plain, nil
}

// hosts reads "h1:p,h2". A port may be missing.
func hosts(list string) (all []string, err error) {
	for i, host := range strings.Split(list, ",") {
		which := "the host"
		if strings.Contains(list, ",") {
			which = fmt.Sprintf("host %d", i+1)
		}
		name, port := host, ""
		if strings.HasPrefix(host, "[") {
			inner, rest, closed := strings.Cut(host[1:], "]")
			if _, err := netip.ParseAddr(inner); !closed || err != nil || rest != "" && rest[0] != ':' {
				return nil, fmt.Errorf("%s is no IPv6 address in brackets", which)
			}
			name, port = "["+inner+"]", rest
		} else if n, p, found := strings.Cut(host, ":"); found {
			name, port = n, ":"+p
		}
		switch {
		case name == "":
			return nil, fmt.Errorf("%s is empty", which)
		case name[0] != '[' && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "":
			return nil, fmt.Errorf("%s has a character that no host name has", which)
		}
		if port != "" {
			n, err := strconv.ParseUint(port[1:], 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("the port of %s is not a number from 1 to 65535 (a password stands before an @: want redis://:password@host)", which)
			}
		}
		all = append(all, host)
	}
	return all, nil
}

// withPorts adds the port to those hosts that have none.
func withPorts(hosts []string, port string) []string {
	full := make([]string, len(hosts))
	for i, host := range hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		full[i] = host
	}
	return full
}

func (t target) single() (redis.UniversalClient, error) {
	if len(t.hosts) > 1 {
		return nil, fmt.Errorf("%d hosts for one server: use redis+cluster:// or redis+sentinel://", len(t.hosts))
	}
	o := &redis.Options{}
	if err := t.fill(o); err != nil {
		return nil, err
	}
	if err := t.database(t.path, &o.DB); err != nil {
		return nil, err
	}
	o.Network, o.Addr = "tcp", withPorts(t.hosts, "6379")[0]
	if o.TLSConfig != nil {
		o.TLSConfig.ServerName, _, _ = net.SplitHostPort(o.Addr)
	}
	return redis.NewClient(o), nil
}

func (t target) socket() (redis.UniversalClient, error) {
	o := &redis.Options{}
	if err := t.fill(o); err != nil {
		return nil, err
	}
	if err := t.database("", &o.DB); err != nil {
		return nil, err
	}
	o.Network, o.Addr = "unix", t.path
	return redis.NewClient(o), nil
}

func (t target) cluster() (redis.UniversalClient, error) {
	if t.path != "" || t.params.Has("db") {
		return nil, errors.New("a cluster has no databases: leave out what stands behind the /, and the parameter db")
	}
	o := &redis.ClusterOptions{Addrs: withPorts(t.hosts, "6379")}
	if err := t.fill(o); err != nil {
		return nil, err
	}
	return redis.NewClusterClient(o), nil
}

func (t target) sentinel() (redis.UniversalClient, error) {
	master, db, _ := strings.Cut(t.path, "/")
	master, err := unescape(master, "the master's name")
	if err != nil {
		return nil, err
	}
	if master == "" {
		return nil, errors.New("the master's name is missing: want redis+sentinel://host:port/master")
	}
	o := &redis.FailoverOptions{MasterName: master, SentinelAddrs: withPorts(t.hosts, "26379")}
	for name, field := range map[string]*string{"sentinel_username": &o.SentinelUsername, "sentinel_password": &o.SentinelPassword} {
		if len(t.params[name]) > 1 {
			return nil, fmt.Errorf("the parameter %s is given twice", name)
		}
		*field = t.params.Get(name)
		t.params.Del(name)
	}
	if err := t.fill(o); err != nil {
		return nil, err
	}
	if err := t.database(db, &o.DB); err != nil {
		return nil, err
	}
	return redis.NewFailoverClient(o), nil
}

// database reads the number of a database, from the path or the parameter db.
func (t target) database(path string, db *int) error {
	text := path
	if t.params.Has("db") {
		if path != "" {
			return errors.New("the database is given twice: behind the / and as the parameter db")
		}
		text = t.params.Get("db")
	}
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("the database is not a number from 0")
	}
	*db = int(n)
	return nil
}

// parameters are those that are taken over, with the field that each sets in the
// options of a client, and the least and the most it may be; both 0: any.
var parameters = map[string]struct {
	field       string
	least, most int64
}{
	"db":                         {"", 0, 0}, // see database
	"protocol":                   {"Protocol", 2, 3},
	"client_name":                {"ClientName", 0, 0},
	"max_retries":                {"MaxRetries", -1, 1000},
	"min_retry_backoff":          {"MinRetryBackoff", 0, 0},
	"max_retry_backoff":          {"MaxRetryBackoff", 0, 0},
	"dial_timeout":               {"DialTimeout", 1, 1 << 62},
	"read_timeout":               {"ReadTimeout", 0, 0},
	"write_timeout":              {"WriteTimeout", 0, 0},
	"pool_fifo":                  {"PoolFIFO", 0, 0},
	"pool_size":                  {"PoolSize", 1, 100_000},
	"pool_timeout":               {"PoolTimeout", 1, 1 << 62},
	"min_idle_conns":             {"MinIdleConns", 0, 100_000},
	"max_idle_conns":             {"MaxIdleConns", 0, 100_000},
	"max_active_conns":           {"MaxActiveConns", 0, 100_000},
	"max_concurrent_dials":       {"MaxConcurrentDials", 0, 100_000},
	"pipeline_pool_size":         {"PipelinePoolSize", -1, 100_000},
	"pipeline_read_buffer_size":  {"PipelineReadBufferSize", 0, 64 << 20},
	"pipeline_write_buffer_size": {"PipelineWriteBufferSize", 0, 64 << 20},
	"conn_max_idle_time":         {"ConnMaxIdleTime", 0, 0},
	"idle_timeout":               {"ConnMaxIdleTime", 0, 0},
	"conn_max_lifetime":          {"ConnMaxLifetime", 0, 0},
	"max_conn_age":               {"ConnMaxLifetime", 0, 0},
	"conn_max_lifetime_jitter":   {"ConnMaxLifetimeJitter", 0, 1 << 62},
	"skip_verify":                {"TLSConfig", 0, 0},
}

// fill sets in a client's options the credentials, the parameters and what this
// library needs. go-redis reads the parameters.
func (t target) fill(options any) error {
	scheme := "redis"
	if t.secure {
		scheme = "rediss"
	}
	to := reflect.ValueOf(options).Elem()
	read := func(params url.Values) (*redis.Options, error) {
		return redis.ParseURL(scheme + "://localhost/?" + params.Encode())
	}
	fields := map[string]bool{}
	for name, values := range t.params {
		p, known := parameters[name]
		switch {
		case !known:
			return fmt.Errorf("it has an unknown parameter; known are %s", strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		case len(values) > 1 || p.field != "" && fields[p.field]:
			return fmt.Errorf("the parameter %s, or another name of it, is given twice", name)
		case p.field == "":
			continue
		case !to.FieldByName(p.field).IsValid():
			return fmt.Errorf("the parameter %s means nothing for this kind of server", name)
		case name == "skip_verify" && !t.secure:
			return errors.New("the parameter skip_verify needs TLS: rediss")
		}
		fields[p.field] = true
		o, err := read(url.Values{name: values})
		if err != nil {
			return fmt.Errorf("the parameter %s has a value that it cannot have", name)
		}
		if v := reflect.ValueOf(o).Elem().FieldByName(p.field); v.CanInt() && (p.least != 0 || p.most != 0) && (v.Int() < p.least || v.Int() > p.most) {
			return fmt.Errorf("the parameter %s is too small or too large", name)
		}
	}
	params := url.Values{}
	for name, values := range t.params {
		if name != "db" {
			params[name] = values
		}
	}
	o, err := read(params)
	if err != nil {
		return errors.New("the parameters do not fit together")
	}
	o.Username, o.Password = t.user, t.password
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.TLSConfig != nil { // each connection checks the certificate of the host it dials
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.TLSConfig.InsecureSkipVerify}
	}
	from := reflect.ValueOf(o).Elem()
	for _, field := range slices.Concat([]string{"Username", "Password", "ContextTimeoutEnabled", "DisableIdentity", "MaintNotificationsConfig", "TLSConfig"}, fieldsOfParameters()) {
		if place := to.FieldByName(field); place.IsValid() {
			place.Set(from.FieldByName(field))
		}
	}
	return nil
}

func fieldsOfParameters() (fields []string) {
	for _, p := range parameters {
		if p.field != "" {
			fields = append(fields, p.field)
		}
	}
	return fields
}
