package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	other := ""
	err := s.caller.EachServer(ctx, func(ctx context.Context, server call.Server) error {
		at := server.Addr
		if at == "" {
			at = address(s.client)
		}
		engine, warnings, err := inspectServer(ctx, server, s.opts.Acks)
		if err == nil && !s.opts.ReadOnly {
			err = s.tryToWait(ctx, server)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		mu.Lock()
		defer mu.Unlock()
		other = cmp.Or(other, engine)
		for _, w := range warnings {
			s.warnings = append(s.warnings, at+": "+w)
		}
		return nil
	})
	if err != nil {
		return err
	}
	buckets := []int{0}
	if s.caller.Cluster() {
		buckets = s.spread(16)
	}
	slices.Sort(s.warnings)
	for _, w := range s.warnings {
		s.log.Warn(w)
	}
	if err := s.probe(ctx, buckets); err != nil || other == "" || s.opts.ReadOnly {
		return err
	}
	return s.tryToBeAlone(ctx, buckets, other)
}

// tryToWait finds out whether the server can wait as Acks and Fsync ask.
func (s *Store) tryToWait(ctx context.Context, server call.Server) error {
	try := func(needs string, command ...any) error {
		err := server.Try(ctx, command...)
		if call.FromServer(err) && !call.Passing(err) {
			err = fmt.Errorf("%w: %s: %w", call.Cannot(err.Error()), needs, err)
		}
		return err
	}
	var err error
	if s.opts.Acks > 0 {
		err = try("Options.Acks needs the command WAIT, and the right to it", "WAIT", 0, 1)
	}
	if err == nil && s.opts.Fsync {
		err = try("Options.Fsync needs Redis 7.2 or Valkey, appendonly yes, and the right to WAITAOF", "WAITAOF", 1, 0, 1)
	}
	return err
}

// How often the script alone looks at its key, and how long the key lives if this
// process dies meanwhile.
const (
	looksAlone = 100_000 // about 50 ms
	lifeAlone  = 10 * time.Second
)

// tryToBeAlone finds out whether a server of another engine than Redis and Valkey runs
// other commands in the middle of a script. Garnet does unless it is told not to. What a
// script has checked may not be so any more then when it writes.
func (s *Store) tryToBeAlone(ctx context.Context, buckets []int, engine string) error {
	for _, bucket := range buckets {
		at := place{ref: session.Ref{Bot: "?", ID: s.name}, bucket: bucket}
		key := s.layout.key("file", at)
		var done atomic.Bool
		wrote, begun := make(chan error, 1), make(chan struct{})
		go func() {
			var err error
			for i := 0; err == nil && !done.Load(); i++ {
				if err = s.caller.Do(ctx, call.Set(key, strconv.Itoa(i), lifeAlone)); i == 0 {
					close(begun)
				}
			}
			wrote <- cmp.Or(err, s.caller.Do(ctx, call.Set(key, "", time.Millisecond))) // so the server removes it
		}()
		<-begun // its connection stands
		answer, err := s.run(ctx, at, ask(lua.Alone, []string{"times", strconv.Itoa(looksAlone)}))
		done.Store(true)
		if err = cmp.Or(err, <-wrote); err != nil {
			return fmt.Errorf("write to a key while a script runs: %w", err)
		}
		if answer.Text("alone") != "1" {
			return fmt.Errorf("%w: the server is %s, and runs other commands in the middle of a script, so nothing that a script does would be whole; Garnet does not with --lua --lua-transaction-mode", session.ErrUnsupported, engine)
		}
	}
	return nil
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

// inspectServer asks one server about itself, and returns its name and version if it
// is of another engine than Redis and Valkey. A server that does not tell, or not this
// user, is not inspected: the probe shows whether it works.
func inspectServer(ctx context.Context, server call.Server, acks int) (other string, warnings []string, err error) {
	text, err := server.Info(ctx)
	if call.FromServer(err) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	info := infoFields(text)
	for key, value := range info {
		if name, is := strings.CutSuffix(key, "_version"); is && !slices.Contains([]string{"redis", "valkey", "gcc"}, name) {
			other = name + " " + value
		}
	}
	if version := info["redis_version"]; version != "" {
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err == nil && n < oldest {
			return "", nil, fmt.Errorf("%w: the server is Redis %s; needed is %d or newer", session.ErrUnsupported, version, oldest)
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
	return other, warnings, nil
}

// warnOfShortLease tells of a lease that a few slow round trips would end.
func (s *Store) warnOfShortLease(ctx context.Context, bot string, lease time.Duration) {
	var trips []time.Duration
	for range 5 {
		began := time.Now()
		if s.caller.Do(ctx, call.Ping()) != nil {
			return
		}
		trips = append(trips, time.Since(began))
	}
	slices.Sort(trips)
	if trip := trips[len(trips)/2]; lease < 10*trip {
		s.log.Warn("Options.Lease is shorter than ten round trips to the server: replicas will lose their turns", "bot", bot, "lease", lease, "round trip", trip)
	}
}

// probe tries every command that the store needs.
func (s *Store) probe(ctx context.Context, buckets []int) error {
	for _, bucket := range buckets {
		at := place{ref: session.Ref{Bot: "?", ID: s.name}, bucket: bucket} // no bot's name
		answer, err := s.run(ctx, at, ask(lua.Probe, []string{
			"id", s.name, "channel", s.opts.Namespace + ":" + s.identity().id + ":probe", "writes", flag(!s.opts.ReadOnly),
		}))
		if call.FromServer(err) && !call.Passing(err) {
			return fmt.Errorf("%w: Lua scripts are needed, and the server does not run them: %w", call.Cannot(err.Error()), err)
		}
		if err != nil {
			return fmt.Errorf("run a script: %w", err)
		}
		var commands []string
		why := ""
		for failed := range answer.Rows("failed") {
			switch code, _, _ := strings.Cut(failed.Text("error"), " "); code {
			case "OOM", "MISCONF", "NOREPLICAS", "READONLY": // of the moment: reading works, and writing will again
				s.log.Warn("the server takes no writes now", "error", failed.Text("error"))
			default:
				commands, why = append(commands, failed.Text("command")), failed.Text("error")
			}
		}
		if len(commands) > 0 {
			return fmt.Errorf("%w: %s (%s)", call.Cannot(why), strings.Join(commands, ", "), why)
		}
	}
	return nil
}

// Warnings returns what Open found and logged: settings of the server that
// should be changed, such as a memory policy that evicts keys or a missing
// append-only file.
func (s *Store) Warnings() []string { return slices.Clone(s.warnings) }
