package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/store/internal/call"
)

// A Server is what one of the servers tells of itself: the only one, or a master of a
// cluster. What it does not tell, or not this user, is the zero value.
type Server struct {
	Addr       string    `json:"addr"`       // Addr is its address. Empty if it is not known.
	Version    string    `json:"version"`    // Version is its engine and version, as in "valkey 8.1.1".
	Now        time.Time `json:"now"`        // Now is its clock.
	Memory     int64     `json:"memory"`     // Memory is how many bytes it uses.
	MaxMemory  int64     `json:"max_memory"` // MaxMemory is how many bytes it may use. Zero means as many as there are.
	Policy     string    `json:"policy"`     // Policy is what it does when MaxMemory is reached. It must be noeviction.
	AppendOnly bool      `json:"appendonly"` // AppendOnly is whether it writes an append-only file.
	Replicas   int       `json:"replicas"`   // Replicas is how many copies of it are connected.
	Clients    int       `json:"clients"`    // Clients is how many connections it has.
	SlowCalls  int64     `json:"slow_calls"` // SlowCalls is how many commands are in its slow log, whose arguments are texts of users. Zero also where it does not tell.
}

// Servers returns what each server tells of itself, in the order of their addresses.
func (s *Store) Servers(ctx context.Context) ([]Server, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	var mu sync.Mutex
	var all []Server
	err := s.caller.EachServer(ctx, func(ctx context.Context, server call.Server) error {
		found, err := describe(ctx, server)
		if err != nil {
			return err
		}
		found.Addr = cmp.Or(server.Addr, address(s.client))
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found)
		return nil
	})
	slices.SortFunc(all, func(a, b Server) int { return strings.Compare(a.Addr, b.Addr) })
	if err != nil {
		return all, fmt.Errorf("servers: %w", call.NoRight(err))
	}
	return all, nil
}

// describe asks one server. What it refuses to tell is left out.
func describe(ctx context.Context, server call.Server) (s Server, err error) {
	if s.Now, err = server.Time(ctx); err != nil {
		return s, err
	}
	text, err := server.Info(ctx)
	if err != nil && !call.FromServer(err) {
		return s, err
	}
	info := infoFields(text)
	number := func(name string) int64 { n, _ := strconv.ParseInt(info[name], 10, 64); return n }
	for _, engine := range []string{"redis", "valkey"} { // Valkey tells of a version of Redis, too
		if v := info[engine+"_version"]; v != "" {
			s.Version = engine + " " + v
		}
	}
	s.Memory, s.MaxMemory, s.Policy = number("used_memory"), number("maxmemory"), info["maxmemory_policy"]
	s.AppendOnly, s.Replicas, s.Clients = info["aof_enabled"] == "1", int(number("connected_slaves")), int(number("connected_clients"))
	if s.SlowCalls, err = server.SlowCalls(ctx); err != nil && !call.FromServer(err) {
		return s, err
	}
	return s, nil
}

// infoFields reads what INFO returns.
func infoFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[key] = value
		}
	}
	return fields
}
