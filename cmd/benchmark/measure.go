package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// config says what is measured.
type config struct {
	parts     []string
	data      string // file of dialogues; empty: they are generated
	histories []int
	callers   []int
	repeats   int
	budget    time.Duration // of turns in one cell and repeat
	memory    []int         // messages of an idle session
	sessions  int           // over which memory is measured
	only      string        // contenders whose name contains this; empty: all

	dialogues int           // of the data that are replayed; zero: all
	clusters  []int         // their masters
	users     int           // of a cluster
	rounds    int           // how often each of them makes a turn
	wakeUps   int           // whose latency is measured
	turns     int           // whose instructions are counted
	others    int           // idle sessions beside those that make these turns
	index     int           // sessions whose index is measured
	fleet     int           // replicas of a large idle fleet
	bots      int           // that an idle fleet serves
	watch     time.Duration // for how long an idle fleet, and who waits, is watched
	waiters   int           // at a time
}

// The limits that keep contenders whose turn grows with the chat within the
// machine and the time. Where they bite, the table says with how many callers
// the cell was measured instead.
const (
	memoryLimit = 400 << 20       // of all sessions of one contender on the server
	drainLimit  = 2 * time.Second // for the turns in flight when a cell's time is over
)

// A cell is one contender under one load.
type cell struct {
	Contender string   `json:"contender"`
	History   int      `json:"history"`
	Callers   int      `json:"callers"`
	Ran       int      `json:"ran_callers"` // fewer than Callers where a limit bit
	Turns     int      `json:"turns"`       // measured, over all repeats
	PerSecond spread   `json:"turns_per_second"`
	P50       spread   `json:"p50_us"`
	P99       spread   `json:"p99_us"`
	Error     string   `json:"error,omitempty"`
	runs      []result // one a repeat
}

// A cost is what one turn of one caller takes.
type cost struct {
	Contender string             `json:"contender"`
	History   int                `json:"history"`
	Trips     float64            `json:"round_trips"`
	Commands  map[string]float64 `json:"commands"` // that the client calls itself
	Up        spread             `json:"bytes_up"`
	Down      spread             `json:"bytes_down"`
	Server    spread             `json:"server_us"`
	Busy      spread             `json:"server_us_busy"` // with BusyBy callers, not one
	BusyBy    int                `json:"busy_callers"`
	Allocs    spread             `json:"client_allocs"`
	Error     string             `json:"error,omitempty"`
	runs      []result
	busy      []result
}

// A result is one repeat of one cell.
type result struct {
	turns    int
	perSec   float64
	p50, p99 float64 // µs
	up, down float64 // bytes a turn; these and below only where the cell is probed
	allocs   float64
	info     info
}

// A bench measures on one server.
type bench struct {
	server   *server
	data     dialogues
	turns    map[string]exchange // by the user's text
	config   config
	progress io.Writer
	prefixes int

	cells []*cell
	costs []*cost
}

func newBench(s *server, data dialogues, c config, progress io.Writer) *bench {
	b := &bench{server: s, data: data, turns: map[string]exchange{}, config: c, progress: progress}
	for _, x := range data.flat() {
		if _, ok := b.turns[x.Text]; !ok {
			b.turns[x.Text] = x
		}
	}
	return b
}

// env gives a contender keys that nobody else has.
func (b *bench) env() env {
	b.prefixes++
	return env{url: b.server.url, control: b.server.control, turns: b.turns,
		prefix: "bench" + strconv.FormatInt(time.Now().UnixMilli()%1e8, 36) + "x" + strconv.Itoa(b.prefixes)}
}

// say shows what is being measured, in place of what it said before.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "\r\033[K"+format, args...)
}

func (b *bench) cell(name string, history, callers int) *cell {
	for _, c := range b.cells {
		if c.Contender == name && c.History == history && c.Callers == callers {
			return c
		}
	}
	c := &cell{Contender: name, History: history, Callers: callers}
	b.cells = append(b.cells, c)
	return c
}

func (b *bench) cost(name string, history int) *cost {
	for _, c := range b.costs {
		if c.Contender == name && c.History == history {
			return c
		}
	}
	c := &cost{Contender: name, History: history}
	b.costs = append(b.costs, c)
	return c
}

// speed measures all cells.
func (b *bench) speed(ctx context.Context, all []contender) error {
	for _, history := range b.config.histories {
		for repeat := range b.config.repeats {
			if err := b.round(ctx, all, history, repeat); err != nil {
				return err
			}
		}
	}
	b.say("")
	for _, c := range b.cells {
		c.sum()
	}
	for _, c := range b.costs {
		c.sum()
	}
	return ctx.Err()
}

// round measures one repeat at one length of chat. In each the contenders begin
// with another one, so that what slows the machine for a while slows all of them.
func (b *bench) round(ctx context.Context, all []contender, history, repeat int) error {
	for i := range all {
		c := all[(i+repeat)%len(all)]
		if err := ctx.Err(); err != nil {
			return err
		}
		b.say("%d messages, repeat %d of %d: %s", history, repeat+1, b.config.repeats, c.name)
		if err := b.one(ctx, c, history); err != nil {
			b.failed(c, history, err)
		}
	}
	return nil
}

// failed notes why a contender has no figures: where one is missing it says so
// instead of being left out.
func (b *bench) failed(c contender, history int, err error) {
	b.cost(c.name, history).Error = err.Error()
	for _, callers := range b.config.callers {
		if cell := b.cell(c.name, history, callers); len(cell.runs) == 0 {
			cell.Error = err.Error()
		}
	}
}

// sessionsOf is how many sessions each caller goes through in turn.
func sessionsOf(callers int) int { return max(8, 64/callers) }

// one measures a contender at one length of chat: with each number of callers.
func (b *bench) one(ctx context.Context, c contender, history int) (err error) {
	e := b.env()
	in, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, in.close(), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	chat := b.data.chat(0, history)

	most := 0
	for _, callers := range b.config.callers {
		most = max(most, callers*sessionsOf(callers))
	}
	users, err := b.prepare(ctx, in, chat, most, c.perMessage)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	cost := b.cost(c.name, history)
	if cost.Commands == nil {
		if err := b.count(ctx, c, e, cost, users[0]); err != nil {
			return err
		}
		if err := restore(ctx, in, users[:1]); err != nil {
			return err
		}
	}
	cost.BusyBy = nearest(b.config.callers, 32)
	p50 := time.Duration(0)
	for _, callers := range b.config.callers {
		cell := b.cell(c.name, history, callers)
		cell.Ran = min(callers, len(users))
		if p50 > 0 {
			cell.Ran = min(cell.Ran, max(1, int(drainLimit*time.Duration(runtime.NumCPU())/p50)))
		}
		each := min(sessionsOf(callers), len(users)/cell.Ran)
		r, err := b.run(ctx, in, users[:cell.Ran*each], cell.Ran, max(1, history/40), callers == 1 || callers == cost.BusyBy)
		if err != nil {
			return err
		}
		cell.runs = append(cell.runs, r)
		if callers == 1 {
			p50 = time.Duration(r.p50 * float64(time.Microsecond))
			cost.runs = append(cost.runs, r)
		}
		if callers == cost.BusyBy {
			cost.busy = append(cost.busy, r)
		}
	}
	return nil
}

// prepare makes as many sessions as are wanted, or as there is memory for.
func (b *bench) prepare(ctx context.Context, in instance, chat []exchange, want, perMessage int) ([]string, error) {
	users := make([]string, want)
	for i := range users {
		users[i] = "user-" + strconv.Itoa(i)
	}
	users = users[:min(want, max(8, memoryLimit/(2*len(chat)*perMessage)))]
	return users, in.prepare(ctx, users, chat)
}

// run makes turns, in batches, until the time is over. A batch goes once
// through all sessions, and again as long as the chats do not grow by more than
// a twentieth; then they are cut back, which is not measured. With probe, the
// server and the runtime are asked before and after each batch.
func (b *bench) run(ctx context.Context, in instance, users []string, callers, again int, probe bool) (result, error) {
	each := len(users) / callers
	script := b.data.flat()
	latencies := make([][]time.Duration, callers)
	for i := range latencies {
		latencies[i] = make([]time.Duration, 0, 4096)
	}
	positions := make([]int, callers)
	failures := make([]error, callers)
	var busy time.Duration
	var r result
	var up, down, allocs float64
	runtime.GC()
	for busy < b.config.budget {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		var before info
		var memory runtime.MemStats
		if probe {
			var err error
			if before, err = b.server.info(ctx); err != nil {
				return r, err
			}
			runtime.ReadMemStats(&memory)
		}
		mallocs := memory.Mallocs
		began := time.Now()
		deadline := began.Add(b.config.budget - busy)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				own := users[caller*each : (caller+1)*each]
				for turn := range each * again {
					x := script[(caller*97+positions[caller])%len(script)]
					positions[caller]++
					start := time.Now()
					if turn > 0 && start.After(deadline) {
						return
					}
					if err := in.turn(ctx, own[turn%each], x); err != nil {
						failures[caller] = err
						return
					}
					latencies[caller] = append(latencies[caller], time.Since(start))
				}
			})
		}
		wg.Wait()
		busy += time.Since(began)
		if err := errors.Join(failures...); err != nil {
			return r, fmt.Errorf("turn: %w", err)
		}
		if probe {
			runtime.ReadMemStats(&memory)
			allocs += float64(memory.Mallocs - mallocs)
			after, err := b.server.info(ctx)
			if err != nil {
				return r, err
			}
			r.info = r.info.plus(after.since(before))
		}
		if err := restore(ctx, in, users); err != nil {
			return r, fmt.Errorf("restore: %w", err)
		}
	}
	sorted := slices.Concat(latencies...)
	slices.Sort(sorted)
	r.turns = len(sorted)
	r.perSec = float64(r.turns) / busy.Seconds()
	r.p50, r.p99 = micros(quantile(sorted, 0.5)), micros(quantile(sorted, 0.99))
	up, down = float64(r.info.in), float64(r.info.out)
	r.up, r.down, r.allocs = up/float64(r.turns), down/float64(r.turns), allocs/float64(r.turns)
	return r, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// count counts a turn's round trips and commands, through the proxy.
func (b *bench) count(ctx context.Context, c contender, e env, to *cost, user string) error {
	p, url, err := newProxy(b.server.url)
	if err != nil {
		return err
	}
	defer p.close()
	e.url = url
	in, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer in.close()
	var trips []float64
	commands := map[string][]float64{}
	script := b.data.flat()
	began := time.Now()
	// The first turns make connections.
	for i := 0; i < 17 && (i < 5 || time.Since(began) < time.Second); i++ {
		before := p.counted()
		if err := in.turn(ctx, user, script[i%len(script)]); err != nil {
			return fmt.Errorf("turn: %w", err)
		}
		after := p.counted()
		if i < 2 {
			continue
		}
		trips = append(trips, float64(after.trips-before.trips))
		for name, n := range after.commands {
			commands[name] = append(commands[name], float64(n-before.commands[name]))
		}
	}
	to.Trips = median(trips)
	to.Commands = map[string]float64{}
	for name, n := range commands {
		n = append(n, make([]float64, len(trips)-len(n))...) // the turns before it was first seen
		if often := median(n); often > 0 {
			to.Commands[name] = often
		}
	}
	return nil
}

func (c *cell) sum() {
	var perSec, p50, p99 []float64
	for _, r := range c.runs {
		c.Turns += r.turns
		perSec, p50, p99 = append(perSec, r.perSec), append(p50, r.p50), append(p99, r.p99)
	}
	c.PerSecond, c.P50, c.P99 = spreadOf(perSec), spreadOf(p50), spreadOf(p99)
}

func (c *cost) sum() {
	var up, down, server, allocs []float64
	for _, r := range c.runs {
		up, down, allocs = append(up, r.up), append(down, r.down), append(allocs, r.allocs)
		server = append(server, r.info.serverTime(r.turns, c.Commands))
	}
	var busy []float64
	for _, r := range c.busy {
		busy = append(busy, r.info.serverTime(r.turns, c.Commands))
	}
	c.Up, c.Down, c.Server, c.Allocs = spreadOf(up), spreadOf(down), spreadOf(server), spreadOf(allocs)
	c.Busy = spreadOf(busy)
}
