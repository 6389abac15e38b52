package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/cmd/internal/crowd"
	"github.com/botsession/botsession/store"
	"github.com/jedib0t/go-pretty/v6/table"
)

// A listing is what one loop over sessions took, of many that there are. The loop runs
// in a process of its own, which does nothing else.
type listing struct {
	Name      string  `json:"name"`
	Of        int     `json:"of"`       // sessions that there are
	Sessions  int     `json:"sessions"` // that the loop came to
	Seconds   float64 `json:"seconds"`
	Megabytes float64 `json:"megabytes"` // that the process had at most
	Slow      int64   `json:"slow"`      // commands that kept the server for more than 5 ms
	Error     string  `json:"error,omitempty"`
}

// listEverything is the name of the loop over all sessions. The others have a page.
const (
	listEverything = "all, to the end"
	listPage       = 50
)

// A lister is what the process is told that loops, in its environment.
type lister struct {
	URL, Prefix string
	Filter      store.Filter
	Limit       int // of sessions; 0: none
}

const listerEnv = "BENCHMARK_LISTER"

// listAsTold makes this process one that loops, if it is told so.
func listAsTold() (told bool) {
	told = os.Getenv(listerEnv) != ""
	if !told {
		return false
	}
	var l lister
	err := json.Unmarshal([]byte(os.Getenv(listerEnv)), &l)
	if err == nil {
		var found *listing
		if found, err = l.list(context.Background()); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(found)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func (l lister) list(ctx context.Context) (*listing, error) {
	st, err := store.Open(ctx, l.URL, &store.Options{Namespace: l.Prefix, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	bot, err := st.Bot(ctx, oursBot, nil)
	if err != nil {
		return nil, err
	}
	found, began := &listing{}, time.Now()
	for _, err := range bot.Sessions(ctx, l.Filter) {
		if err != nil {
			return nil, err
		}
		if found.Sessions++; found.Sessions == l.Limit {
			break
		}
	}
	found.Seconds = time.Since(began).Seconds()
	found.Megabytes, err = peakMemory()
	return found, err
}

// peakMemory returns the most memory that this process had, as the system counts it.
func peakMemory() (megabytes float64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, is := strings.CutPrefix(line, "VmHWM:"); is {
			kilobytes, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kilobytes * 1024 / 1e6, err
		}
	}
	return 0, errors.New("the system does not tell how much memory a process had")
}

// lists fills a server of its own with sessions, and loops over them by each filter.
func (b *bench) lists(ctx context.Context) (found []*listing, err error) {
	s, err := startServer(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	e := newBench(s, b.data, b.config, b.progress).env()
	// Nothing is logged, because each dead letter would be; and what is held stays so.
	st, err := store.Open(ctx, e.url, &store.Options{Namespace: e.prefix, Logger: slog.New(slog.DiscardHandler), MaxTurn: time.Hour})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	c, err := crowd.Make(ctx, st, oursBot, b.config.index, func(what string, done, of int) { b.say("lists: %d of %d %s", done, of, what) })
	if err != nil {
		return nil, err
	}
	_, release, err := c.Hold(ctx, 100)
	if err != nil {
		return nil, err
	}
	defer release()
	for _, of := range []struct {
		name   string
		filter store.Filter
		limit  int
	}{
		{"any session", store.Filter{}, listPage},
		{"by state", store.Filter{State: "state 3"}, listPage},
		{"by user", store.Filter{User: "user 0"}, listPage},
		{"idle", store.Filter{IdleSince: c.Half}, listPage},
		{"active since", store.Filter{ActiveSince: c.Half}, listPage},
		{"waiting", store.Filter{Waiting: true}, listPage},
		{"held", store.Filter{Held: true}, listPage},
		{"dead", store.Filter{Dead: true}, listPage},
		{listEverything, store.Filter{}, 0},
	} {
		b.say("lists: %s", of.name)
		l := b.listing(ctx, s, lister{e.url, e.prefix, of.filter, of.limit})
		l.Name, l.Of = of.name, b.config.index
		found = append(found, l)
	}
	b.say("")
	return found, ctx.Err()
}

// listing has a process loop, as often as everything is repeated: of the times and of
// the memory it has the medians, and of slow commands the fewest, because a server that
// another program interrupts looks slow, too.
func (b *bench) listing(ctx context.Context, s *server, l lister) *listing {
	var seconds, megabytes []float64
	found := &listing{Slow: -1}
	for range b.config.repeats {
		one, err := s.watched(ctx, l)
		if err != nil {
			return &listing{Error: err.Error()}
		}
		seconds, megabytes = append(seconds, one.Seconds), append(megabytes, one.Megabytes)
		found.Sessions = one.Sessions
		if found.Slow < 0 || one.Slow < found.Slow {
			found.Slow = one.Slow
		}
	}
	found.Seconds, found.Megabytes = median(seconds), median(megabytes)
	return found
}

// watched has a process loop, and counts the slow commands meanwhile.
func (s *server) watched(ctx context.Context, l lister) (*listing, error) {
	if err := s.control.ConfigSet(ctx, "slowlog-log-slower-than", "5000").Err(); err != nil {
		return nil, err
	}
	if err := s.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), listerEnv+"="+string(told))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
	}
	found := &listing{}
	if err := json.Unmarshal(out.Bytes(), found); err != nil {
		return nil, err
	}
	found.Slow, err = s.control.Do(ctx, "SLOWLOG", "LEN").Int64()
	return found, err
}

func (r *report) printLists(p *printer) {
	if len(r.Lists) == 0 {
		return
	}
	var rows []table.Row
	for _, l := range r.Lists {
		if l.Error != "" {
			rows = append(rows, table.Row{l.Name, "fails " + p.note(l.Error)})
			continue
		}
		rows = append(rows, table.Row{l.Name, thousands(float64(l.Sessions)), fmt.Sprintf("%.0f ms", 1000*l.Seconds), short(l.Megabytes) + " MB", l.Slow})
	}
	p.table(fmt.Sprintf("Lists of %s sessions, each by a process of its own", thousands(float64(r.Lists[0].Of))), 1,
		table.Row{"list", "sessions", "time", "memory of the process", "commands of more than 5 ms"}, rows)
}
