package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A latency is how long one caller waits for a turn of ours, and for one of the
// capped blob that is made right after it.
type latency struct {
	History int     `json:"history"`
	Turns   int     `json:"turns"` // of each, over all repeats
	Ours    spread  `json:"ours_p50_us"`
	Capped  spread  `json:"capped_p50_us"`
	Ratio   spread  `json:"ratio"`
	Eager   spread  `json:"eager_p50_us"` // of ours with ServeOptions.Eager, likewise
	Trip    spread  `json:"eager_ratio"`
	Others  float64 `json:"busy_with_others"` // share of the machine's cores that did something else meanwhile; negative: not known
	Error   string  `json:"error,omitempty"`
}

// quietBelow is the share of the cores up to which a machine is called quiet.
const quietBelow = 0.1

func (l *latency) quiet() bool { return l.Others >= 0 && l.Others < quietBelow }

func (b *bench) latency(ctx context.Context) (*latency, error) {
	l := &latency{History: nearest(b.config.histories, 100)}
	var ours, capped, ratios, eager, trips, others []float64
	for repeat := range b.config.repeats {
		b.say("latency, repeat %d of %d", repeat+1, b.config.repeats)
		p50, busy, err := b.inTurn(ctx, l)
		if err != nil {
			l.Error = err.Error()
			break
		}
		ours, capped, ratios = append(ours, p50[0]), append(capped, p50[1]), append(ratios, ratio(p50[0], p50[1]))
		eager, trips = append(eager, p50[2]), append(trips, ratio(p50[2], p50[1]))
		others = append(others, busy)
	}
	b.say("")
	l.Ours, l.Capped, l.Ratio, l.Others = spreadOf(ours), spreadOf(capped), spreadOf(ratios), median(others)
	l.Eager, l.Trip = spreadOf(eager), spreadOf(trips)
	return l, ctx.Err()
}

// inTurn measures ours, the blob and ours with Eager, one turn each, for as long as two
// cells of the speed part.
func (b *bench) inTurn(ctx context.Context, l *latency) (p50 [3]float64, others float64, err error) {
	const users, warm = 64, 200
	var instances []instance
	var names []string
	for i := range users {
		names = append(names, "user-"+strconv.Itoa(i))
	}
	for _, open := range []func(context.Context, env) (instance, error){openOurs(settings{}), openBlob(20), openOurs(settings{eager: true})} {
		e := b.env()
		in, err := open(ctx, e)
		if err != nil {
			return p50, 0, err
		}
		defer func() {
			err = errors.Join(err, in.close(), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
		}()
		if err := in.prepare(ctx, names, b.data.chat(0, l.History)); err != nil {
			return p50, 0, err
		}
		instances = append(instances, in)
	}
	script := b.data.flat()
	var took [3][]time.Duration
	began := time.Now()
	var before usage
	for i := 0; i <= warm || time.Since(began) < 4*b.config.budget; i++ {
		if i == warm {
			began = time.Now()
			if before, err = b.usage(ctx); err != nil {
				return p50, 0, err
			}
		}
		for n, in := range instances {
			start := time.Now()
			if err := in.turn(ctx, names[i%users], script[i%len(script)]); err != nil {
				return p50, 0, err
			}
			if i >= warm {
				took[n] = append(took[n], time.Since(start))
			}
		}
	}
	after, err := b.usage(ctx)
	if err != nil {
		return p50, 0, err
	}
	l.Turns += len(took[0])
	for n := range took {
		slices.Sort(took[n])
		p50[n] = micros(quantile(took[n], 0.5))
	}
	return p50, after.others(before), nil
}

// A usage is how much time the processors have spent since the machine began.
type usage struct {
	busy, all float64 // seconds of all cores; zero where the system does not tell
	own       float64 // of busy: this process and the server
}

func (b *bench) usage(ctx context.Context) (usage, error) {
	var u usage
	text, err := b.server.control.Info(ctx, "cpu").Result()
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, _ := strconv.ParseFloat(value, 64)
			u.own += seconds
		}
	}
	u.busy, u.all, u.own = cpuTimes(u.own)
	return u, nil
}

// cpuTimes returns for how many seconds all cores together were busy, the time
// that a host took from a virtual machine included, how many seconds there were,
// and the server's seconds with those of this process. The first two are zero
// where the system does not tell.
func cpuTimes(server float64) (busy, all, own float64) {
	const ticks = 100 // a second, on every Linux
	machine, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, server
	}
	line, _, _ := strings.Cut(string(machine), "\n")
	for i, field := range strings.Fields(line) {
		n, err := strconv.ParseFloat(field, 64)
		// cpu user nice system idle iowait irq softirq steal; guests are in user.
		if err != nil || i > 8 {
			continue
		}
		all += n / ticks
		if i != 4 && i != 5 {
			busy += n / ticks
		}
	}
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, server
	}
	// After the name, which may hold anything, utime and stime are the 12th and 13th.
	fields := strings.Fields(string(self[strings.LastIndexByte(string(self), ')')+1:]))
	for _, field := range fields[11:13] {
		n, _ := strconv.ParseFloat(field, 64)
		server += n / ticks
	}
	return busy, all, server
}

// others returns which share of all cores did something else since then, or -1
// if the system does not tell.
func (u usage) others(before usage) float64 {
	all := u.all - before.all
	if all <= 0 {
		return -1
	}
	return max(0, u.busy-before.busy-(u.own-before.own)) / all
}
