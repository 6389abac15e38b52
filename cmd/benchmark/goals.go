package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/botsession/botsession/session"
)

// A goal is a figure that must be reached, and what was measured.
type goal struct {
	Figure string  `json:"figure"`
	Goal   string  `json:"goal"`
	Value  float64 `json:"value"`
	Shown  string  `json:"measured"`
	Met    bool    `json:"reached"`
	By     string  `json:"missed_by,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// atLeast and atMost judge a figure. One that was not measured is not reached.
func atLeast(figure string, value, want float64, unit string) goal {
	return judge(figure, "at least "+short(want)+unit, value, unit, value >= want, want/value)
}

func atMost(figure string, value, want float64, unit string) goal {
	return judge(figure, "at most "+short(want)+unit, value, unit, value > 0 && value <= want, value/want)
}

func judge(figure, want string, value float64, unit string, met bool, off float64) goal {
	g := goal{Figure: figure, Goal: want, Value: value, Shown: short(value) + unit, Met: met}
	switch {
	case value == 0:
		g.Met, g.Shown, g.By = false, "not measured", "not measured"
	case !met:
		g.By = fmt.Sprintf("%.0f %%", (off-1)*100)
	}
	return g
}

// none judges how many of so many were not as they must be. Of none, nothing
// was measured.
func none(figure string, bad, of int64) goal {
	g := goal{Figure: figure, Goal: "0", Value: float64(bad), Shown: fmt.Sprintf("%d of %s", bad, thousands(float64(of)))}
	switch {
	case of == 0:
		g.Shown, g.By = "not measured", "not measured"
	case bad == 0:
		g.Met = true
	default:
		g.By = g.Shown
	}
	return g
}

func short(v float64) string {
	switch {
	case v == math.Trunc(v) || v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// goals judges all that was measured.
func (b *bench) goals(ctx context.Context, r *report) []goal {
	const times = " ×"
	at, many := nearest(b.config.histories, 100), nearest(b.config.callers, 32)
	perSec := func(name string, history, callers int) float64 {
		return b.cell(name, history, callers).PerSecond.Median
	}
	p50 := func(name string, history int) float64 { return b.cell(name, history, 1).P50.Median }
	where := fmt.Sprintf("%d messages", at)

	var all []goal
	ours := b.cost(nameOurs, at)
	var turn, again float64
	var err error
	if slices.Contains(b.config.parts, "speed") {
		turn, again, err = b.trips(ctx)
	}
	for _, g := range []goal{atMost("round trips of a turn: accept, commit", turn, 2, ""), atMost("round trips of a duplicate", again, 1, "")} {
		if err != nil {
			g.Note = err.Error()
		}
		all = append(all, g)
	}
	if other := ours.Trips - turn; other > 0 && turn > 0 {
		all[0].Note = fmt.Sprintf("and %s that Receipt.Wait makes, where a caller waits for the reply", short(other))
	}

	all = append(all,
		atLeast(fmt.Sprintf("turns/s, %d callers, against the capped blob (%s)", many, where),
			ratio(perSec(nameOurs, at, many), perSec(nameCapped, at, many)), 1, times),
		atMost("p50, one caller, against the capped blob ("+where+")", ratio(p50(nameOurs, at), p50(nameCapped, at)), 1.15, times))
	for _, want := range []struct {
		history int
		factor  float64
	}{{100, 40}, {1000, 300}} {
		for _, peer := range []string{nameTRPC, nameADK} {
			value := 0.0
			if slices.Contains(b.config.histories, want.history) {
				value = ratio(perSec(nameOurs, want.history, many), perSec(peer, want.history, many))
			}
			all = append(all, atLeast(fmt.Sprintf("turns/s, %d callers, against %s, %d messages", many, peer, want.history), value, want.factor, times))
		}
	}

	low, high := slices.Min(b.config.histories), slices.Max(b.config.histories)
	few, lots := b.cost(nameOurs, low), b.cost(nameOurs, high)
	flat := fmt.Sprintf("%d messages against %d: ", high, low)
	if low == high {
		few = &cost{}
	}
	all = append(all,
		atMost(flat+"p50, one caller", ratio(p50(nameOurs, high), p50(nameOurs, low)), 1.05, times),
		atMost(flat+"bytes of a turn", ratio(lots.Up.Median+lots.Down.Median, few.Up.Median+few.Down.Median), 1.05, times),
		atMost(flat+"server time of a turn", ratio(lots.Server.Median, few.Server.Median), 1.05, times))

	// With many callers: a server that idles between the turns of one runs with
	// cold caches, which makes a turn of short commands look dear.
	floor := b.cost(nameFloor, at)
	busy := atMost(fmt.Sprintf("server time of a turn, %d callers, against the floor's (%s)", many, where),
		ratio(ours.Busy.Median, floor.Busy.Median), 2, times)
	if alone := ratio(ours.Server.Median, floor.Server.Median); alone > 0 {
		busy.Note = "with one caller " + short(alone) + times
	}
	all = append(all, busy,
		atLeast(fmt.Sprintf("turns/s, %d callers, against the floor (%s)", many, where),
			ratio(perSec(nameOurs, at, many), perSec(nameFloor, at, many)), 0.7, times))

	kept := &idle{}
	for _, i := range r.Idles {
		if i.Contender == nameOurs && i.Messages == 20 {
			kept = i
		}
	}
	all = append(all,
		atMost("idle session with 20 messages against its payload", ratio(kept.Bytes, kept.Payload), 1.6, times),
		atMost("an id kept against duplicates", kept.PerID, 64, " B"),
		atMost("client allocations of a turn against two bare EVALSHA ("+where+")",
			ratio(ours.Allocs.Median, b.cost(nameBare, at).Allocs.Median), 2, times))
	race := none("lost updates in the race", 0, 0)
	for _, x := range r.Races {
		if x.Contender == nameOurs {
			race = none(race.Figure, int64(x.Turns-min(x.Counter, x.Keys)), int64(x.Turns))
			race.Note = x.Error
		}
	}
	return append(append(all, race), r.ownGoals()...)
}

// ownGoals judges what is measured of ours alone.
func (r *report) ownGoals() []goal {
	replay := none("replay: mismatched, lost, duplicated, out of order", 0, 0)
	if x := r.Replay; x != nil {
		replay = none(replay.Figure, int64(x.faults()), int64(x.Turns))
		replay.Note = x.Skipped + x.Error
	}

	var worst float64
	var redirected, scripts int64
	var failed string
	for _, c := range r.Clusters {
		worst, redirected, scripts = max(worst, c.Spread), redirected+c.Redirected, scripts+c.Scripts
		if c.Error != "" {
			failed = c.Error
		}
	}
	if failed != "" {
		worst, scripts = 0, 0
	}
	spread := atMost("a cluster's masters: script calls from least to most, of the mean", worst, 10, " %")
	wrong := none("script calls that a cluster redirected", redirected, scripts)
	spread.Note, wrong.Note = failed, failed

	var p99 float64
	var why string
	if r.Wake != nil {
		p99, why = r.Wake.P99/1000, r.Wake.Error
	}
	wake := atMost("wake-up by another process, p99", p99, 5, " ms")
	wake.Note = why

	idle := atMost("commands a second of a large idle fleet against one replica", 0, 2, " ×")
	if len(r.Fleets) == 2 {
		one, many := r.Fleets[0], r.Fleets[1]
		idle = atMost(fmt.Sprintf("commands a second of %d idle replicas against one", many.Replicas), ratio(many.Commands, one.Commands), 2, " ×")
		idle.Note = one.Error + many.Error
	}
	return []goal{replay, spread, wrong, wake, idle}
}

// nearest returns the measured number that is nearest to the one a goal names.
func nearest(measured []int, want int) int {
	return slices.MinFunc(measured, func(a, b int) int {
		far := func(n int) float64 { return math.Abs(math.Log(float64(n) / float64(want))) }
		switch {
		case far(a) < far(b):
			return -1
		case far(a) > far(b):
			return 1
		}
		return 0
	})
}

// trips counts the round trips of our turn, from the event's arrival to the
// commit, with nobody waiting for its outcome, and those of a duplicate.
func (b *bench) trips(ctx context.Context) (turn, duplicate float64, err error) {
	p, url, err := newProxy(b.server.url)
	if err != nil {
		return 0, 0, err
	}
	defer p.close()
	e := b.env()
	e.url = url
	o, err := newOurs(ctx, e, 0, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, o.close(), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	var turns, duplicates []float64
	for i, x := range b.data.chat(0, 24) {
		event := session.Event{ID: fmt.Sprint("event-", i), Text: x.Text}
		for _, into := range []*[]float64{&turns, &duplicates} {
			before := p.counted()
			if _, err := o.bot.Accept(ctx, "user", event); err != nil {
				return 0, 0, err
			}
			last := -1 // until nothing more comes
			for now := p.counted().trips; now != last; now = p.counted().trips {
				last = now
				time.Sleep(15 * time.Millisecond)
			}
			*into = append(*into, float64(last-before.trips))
		}
	}
	return median(turns), median(duplicates), nil
}
