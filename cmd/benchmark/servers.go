package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A setting is a server, or a server with some settings, on which ours and
// those it is compared with are measured beside the others.
type setting struct {
	Name  string  `json:"server"`
	Cells []*cell `json:"cells"`
	Error string  `json:"error,omitempty"`

	programs   []string // the first that is installed and can do it
	args       []string
	replica    bool   // a replica follows the server
	needs      string // a command that the server must have
	contenders []contender
}

const settingHistory = 100

// durableSettings are what makes a write safer, and valkeySettings another server.
func durableSettings() []*setting {
	return []*setting{
		{Name: "appendonly, appendfsync always", programs: []string{"redis-server", "valkey-server"}, needs: "waitaof",
			args:       []string{"--appendonly", "yes", "--appendfsync", "always"},
			contenders: beside(contender{name: nameOurs + ", Fsync", open: openOurs(settings{fsync: true}), perMessage: 100})},
		{Name: "one replica of the server", programs: []string{"redis-server", "valkey-server"}, replica: true,
			contenders: beside(contender{name: nameOurs + ", Acks: 1", open: openOurs(settings{acks: 1}), perMessage: 100})},
	}
}

func valkeySettings() []*setting {
	return []*setting{
		{Name: "Redis", programs: []string{"redis-server"}, contenders: beside()},
		{Name: "Valkey", programs: []string{"valkey-server"}, contenders: beside()},
	}
}

// beside returns ours, the capped blob and the floor, and more.
func beside(more ...contender) []contender {
	all := slices.DeleteFunc(contenders(), func(c contender) bool {
		return c.name != nameOurs && c.name != nameCapped && c.name != nameFloor
	})
	return append(all[:1:1], append(more, all[1:]...)...)
}

// settings measures all of them in one run: within a repeat they take turns.
func (b *bench) settings(ctx context.Context, r *report, all []*setting) (err error) {
	r.Settings = append(r.Settings, all...)
	benches := make([]*bench, len(all))
	defer func() {
		for _, inner := range benches {
			if inner != nil {
				err = errors.Join(err, inner.server.stop())
			}
		}
	}()
	for i, set := range all {
		s, err := set.start(ctx)
		if err != nil {
			b.say("")
			fmt.Fprintf(b.progress, "NOT MEASURED, %s: %v\n", set.Name, err)
			set.Error = err.Error()
			continue
		}
		c := b.config
		c.histories, c.callers = []int{settingHistory}, []int{1, 32}
		benches[i] = newBench(s, b.data, c, b.progress)
		set.Name += " (" + s.version(ctx) + ")"
	}
	for repeat := range b.config.repeats {
		for i, set := range all {
			if inner := benches[i]; inner != nil {
				if err := inner.round(ctx, set.contenders, settingHistory, repeat); err != nil {
					return err
				}
			}
		}
	}
	b.say("")
	for i, set := range all {
		if inner := benches[i]; inner != nil {
			for _, c := range inner.cells {
				c.sum()
			}
			set.Cells = inner.cells
		}
	}
	return ctx.Err()
}

// start starts the first server that can do what is asked for.
func (set *setting) start(ctx context.Context) (s *server, err error) {
	var why error
	for _, program := range set.programs {
		s, err := startProgram(ctx, []string{program}, set.args...)
		if err != nil {
			why = errors.Join(why, err)
			continue
		}
		if set.needs != "" {
			known, err := s.control.Do(ctx, "COMMAND", "INFO", set.needs).Slice()
			if err != nil || len(known) == 0 || known[0] == nil {
				why = errors.Join(why, fmt.Errorf("%s has no %s", s.version(ctx), strings.ToUpper(set.needs)), err, s.stop())
				continue
			}
		}
		if !set.replica {
			return s, nil
		}
		if err := s.follow(ctx, program); err != nil {
			return nil, errors.Join(err, s.stop())
		}
		return s, nil
	}
	return nil, why
}

// follow starts a replica of the server, which ends with it, and waits until it
// has everything.
func (s *server) follow(ctx context.Context, program string) error {
	host, port, _ := strings.Cut(s.control.Options().Addr, ":")
	replica, err := startProgram(ctx, []string{program}, "--replicaof", host+" "+port)
	if err != nil {
		return err
	}
	stop := s.stop
	s.stop = func() error { return errors.Join(replica.stop(), stop()) }
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := s.control.Set(ctx, "followed", "", time.Second).Err(); err != nil {
			return err
		}
		if n, err := s.control.Wait(ctx, 1, 100*time.Millisecond).Result(); err != nil || n == 1 {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the replica does not follow")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// version names the server.
func (s *server) version(ctx context.Context) string {
	text, _ := s.control.Info(ctx, "server").Result()
	found := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		found[name] = value
	}
	if version := found["valkey_version"]; version != "" {
		return "Valkey " + version
	}
	return "Redis " + found["redis_version"]
}
