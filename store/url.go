package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
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
// go-redis (dial_timeout, read_timeout, pool_size, …). ParseURL answers
// [session.ErrInvalid], naming the part that is wrong, and never the password.
func ParseURL(raw string) (redis.UniversalClient, error) {
	client, err := parseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: redis URL: %w", session.ErrInvalid, err)
	}
	return client, nil
}

func parseURL(raw string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New(`it has no scheme: want redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://`)
	}
	secure, kind, _ := strings.Cut(scheme, "+")
	switch {
	case scheme == "redis", scheme == "rediss", scheme == "unix":
		if scheme != "unix" {
			if err := checkHosts(hostsOf(rest), 1); err != nil {
				return nil, err
			}
		}
		opts, err := common(raw)
		if err != nil {
			return nil, err
		}
		return redis.NewClient(opts), nil
	case (secure == "redis" || secure == "rediss") && kind == "cluster":
		return clusterClient(secure, rest)
	case (secure == "redis" || secure == "rediss") && kind == "sentinel":
		return sentinelClient(secure, rest)
	}
	return nil, fmt.Errorf("scheme %q: want redis, rediss, unix, redis+cluster or redis+sentinel", scheme)
}

// split takes "user:password@h1:p,h2:p/path?query" apart.
func split(rest string) (userinfo string, hosts []string, path, query string) {
	rest, query, _ = strings.Cut(rest, "?")
	rest, path, _ = strings.Cut(rest, "/")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		userinfo, rest = rest[:at+1], rest[at+1:]
	}
	return userinfo, strings.Split(rest, ","), path, query
}

func hostsOf(rest string) []string {
	_, hosts, _, _ := split(rest)
	return hosts
}

func checkHosts(hosts []string, most int) error {
	if most > 0 && len(hosts) > most {
		return fmt.Errorf("%d hosts for one server: use redis+cluster:// or redis+sentinel://", len(hosts))
	}
	for _, host := range hosts {
		name, port := host, ""
		if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
			name, port = host[:i], host[i+1:]
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return fmt.Errorf("host %q: the port %q is not a number from 1 to 65535", host, port)
			}
		}
		if name == "" {
			return fmt.Errorf("host %q: the name is empty", host)
		}
	}
	return nil
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

// common reads a single server's URL and sets what this library needs.
func common(raw string) (*redis.Options, error) {
	opts, err := redis.ParseURL(raw)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // without the URL, which may hold a password
		}
		return nil, err
	}
	opts.ContextTimeoutEnabled = true
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

func clusterClient(secure, rest string) (redis.UniversalClient, error) {
	userinfo, hosts, path, query := split(rest)
	if err := checkHosts(hosts, 0); err != nil {
		return nil, err
	}
	if path != "" {
		return nil, fmt.Errorf("path %q: a cluster has no databases", "/"+path)
	}
	o, err := common(secure + "://" + userinfo + "localhost/?" + query)
	if err != nil {
		return nil, err
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: withPorts(hosts, "6379"), Username: o.Username, Password: o.Password, TLSConfig: serverName(o.TLSConfig),
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, PoolFIFO: o.PoolFIFO,
		MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, MaxRetries: o.MaxRetries, Protocol: o.Protocol,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled, DisableIdentity: o.DisableIdentity,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	}), nil
}

func sentinelClient(secure, rest string) (redis.UniversalClient, error) {
	userinfo, hosts, path, query := split(rest)
	if err := checkHosts(hosts, 0); err != nil {
		return nil, err
	}
	master, db, _ := strings.Cut(path, "/")
	if master == "" {
		return nil, errors.New("the master's name is missing: want redis+sentinel://host:port/master")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	user, password := values.Get("sentinel_username"), values.Get("sentinel_password")
	values.Del("sentinel_username")
	values.Del("sentinel_password")
	o, err := common(secure + "://" + userinfo + "localhost/" + db + "?" + values.Encode())
	if err != nil {
		return nil, err
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: master, SentinelAddrs: withPorts(hosts, "26379"), SentinelUsername: user, SentinelPassword: password,
		Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: serverName(o.TLSConfig),
		DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		PoolSize: o.PoolSize, PoolTimeout: o.PoolTimeout, PoolFIFO: o.PoolFIFO,
		MinIdleConns: o.MinIdleConns, MaxIdleConns: o.MaxIdleConns, MaxActiveConns: o.MaxActiveConns,
		ConnMaxIdleTime: o.ConnMaxIdleTime, ConnMaxLifetime: o.ConnMaxLifetime, MaxRetries: o.MaxRetries, Protocol: o.Protocol,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled, DisableIdentity: o.DisableIdentity,
	}), nil
}

// serverName lets each connection check the certificate of the host it dials,
// not of the stand-in by which the URL was parsed.
func serverName(c *tls.Config) *tls.Config {
	if c != nil {
		c.ServerName = ""
	}
	return c
}
