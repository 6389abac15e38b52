package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// oldest is the oldest major version of Redis that is supported. Scripts that
// ask for the time and then write need Redis 5; what we test with begins here.
const oldest = 6

// inspect finds out, before the first user does, what cannot work, which is an
// error, and what should not be so, which is a warning.
func (s *Store) inspect(ctx context.Context) error {
	var mu sync.Mutex
	look := func(ctx context.Context, c redis.UniversalClient, at string) error {
		warnings, err := inspectServer(ctx, c, s.opts.Acks)
		if err == nil && !s.opts.ReadOnly {
			err = s.tryToWait(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, w := range warnings {
			s.warnings = append(s.warnings, at+": "+w)
		}
		return nil
	}
	var err error
	buckets := []int{0}
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		buckets = s.spread(16)
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return look(ctx, c, c.Options().Addr) })
	} else {
		err = look(ctx, s.client, address(s.client))
	}
	if err != nil {
		return err
	}
	slices.Sort(s.warnings)
	for _, w := range s.warnings {
		s.log.Warn(w)
	}
	return s.probe(ctx, buckets)
}

// checkRole refuses a client that asks Sentinels and leads to a replica. Such a
// client does not say what its options were; its server says what it is, if this
// user may ask.
func checkRole(ctx context.Context, client redis.UniversalClient) error {
	one, ok := client.(*redis.Client)
	if !ok || one.Options().Addr != failoverAddr {
		return nil
	}
	text, err := one.Info(ctx, "replication").Result()
	var fromServer redis.Error
	if err != nil && !errors.As(err, &fromServer) {
		return err
	}
	if strings.Contains(text, "role:slave") {
		return fmt.Errorf("%w: the client leads to a replica (ReplicaOnly), which may not have yet what was just written; without ReplicaOnly, a fail-over is under way: open again", session.ErrInvalid)
	}
	return nil
}

// tryToWait finds out whether the server can wait as Acks and Fsync ask.
func (s *Store) tryToWait(ctx context.Context, c redis.UniversalClient) error {
	try := func(needs string, command ...any) error {
		err := c.Do(ctx, command...).Err()
		var fromServer redis.Error
		if errors.As(err, &fromServer) && !call.Passing(err) {
			err = fmt.Errorf("%w: %s: %w", call.Cannot(err.Error()), needs, err)
		}
		return err
	}
	var err error
	if s.opts.Acks > 0 {
		err = try("Options.Acks needs the right to WAIT", "WAIT", 0, 1)
	}
	if err == nil && s.opts.Fsync {
		err = try("Options.Fsync needs Redis 7.2 or Valkey, appendonly yes, and the right to WAITAOF", "WAITAOF", 1, 0, 1)
	}
	return err
}

// spread returns n buckets evenly apart, and so in a cluster on all its masters
// that have a good part of the slots.
func (s *Store) spread(n int) []int {
	var buckets []int
	for i := range min(n, len(s.layout.tags)) {
		buckets = append(buckets, i*len(s.layout.tags)/min(n, len(s.layout.tags)))
	}
	return buckets
}

// inspectServer asks one server about itself. A server that does not tell, or
// not this user, is not inspected: the probe shows whether it works.
func inspectServer(ctx context.Context, c redis.Cmdable, acks int) (warnings []string, err error) {
	info := map[string]string{}
	text, err := c.Info(ctx).Result()
	if err != nil {
		var fromServer redis.Error
		if errors.As(err, &fromServer) {
			return nil, nil
		}
		return nil, err
	}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	if version := info["redis_version"]; version != "" {
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < oldest {
			return nil, fmt.Errorf("%w: the server is Redis %s; needed is %d or newer", session.ErrUnsupported, version, oldest)
		}
	}
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		warnings = append(warnings, fmt.Sprintf("maxmemory-policy is %s: Redis may drop one half of a session when memory is short; set noeviction", policy))
	}
	if info["aof_enabled"] == "0" {
		warnings = append(warnings, "the append-only file is off: a crash of the server loses what was written since its last snapshot; set appendonly yes")
	}
	if replicas, err := strconv.Atoi(info["connected_slaves"]); err == nil && replicas < acks {
		warnings = append(warnings, fmt.Sprintf("Options.Acks asks for %d replicas, and the server has %d: until there are more, each write waits in vain and returns ErrNotAcked", acks, replicas))
	}
	return warnings, nil
}

// warnOfShortLease tells of a lease that a few slow round trips would end.
func (s *Store) warnOfShortLease(ctx context.Context, bot string, lease time.Duration) {
	var trips []time.Duration
	for range 5 {
		began := time.Now()
		if s.client.Ping(ctx).Err() != nil {
			return
		}
		trips = append(trips, time.Since(began))
	}
	slices.Sort(trips)
	if trip := trips[len(trips)/2]; lease < 10*trip {
		s.log.Warn("BotOptions.Lease is shorter than ten round trips to the server: replicas will lose their turns", "bot", bot, "lease", lease, "round trip", trip)
	}
}

// probe tries every command that the store needs.
func (s *Store) probe(ctx context.Context, buckets []int) error {
	for _, bucket := range buckets {
		at := place{ref: session.Ref{Bot: "?", ID: s.name}, bucket: bucket} // no bot's name
		answer, err := s.run(ctx, lua.Probe, at, s.name, s.opts.Namespace+":"+s.identity().id+":probe", flag(!s.opts.ReadOnly))
		if err != nil {
			return fmt.Errorf("run a script: %w", err)
		}
		failed := answer.Texts(2)
		var commands []string
		why := ""
		for i := 0; i+1 < len(failed); i += 2 {
			switch code, _, _ := strings.Cut(failed[i+1], " "); code {
			case "OOM", "MISCONF", "NOREPLICAS", "READONLY": // of the moment: reading works, and writing will again
				s.log.Warn("the server takes no writes now", "error", failed[i+1])
			default:
				commands, why = append(commands, failed[i]), failed[i+1]
			}
		}
		if len(commands) > 0 {
			return fmt.Errorf("%w: %s (%s)", call.Cannot(why), strings.Join(commands, ", "), why)
		}
	}
	return nil
}

// Warnings returns what [Open] found at the server that should not be so, and
// logged: a memory policy that drops single keys, no append-only file.
func (s *Store) Warnings() []string { return slices.Clone(s.warnings) }
