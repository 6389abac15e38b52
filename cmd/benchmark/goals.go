package main

import (
	"fmt"
	"math"
	"slices"
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

// notMeasured is what a goal says for which there is no figure.
const notMeasured = "not measured"

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
		g.Met, g.Shown, g.By = false, notMeasured, notMeasured
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
		g.Shown, g.By = notMeasured, notMeasured
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

// times is the unit of a ratio.
const times = " ×"

// goals judges what was measured, of the parts that the run has: the goals of
// one part are together.
func (b *bench) goals(r *report) (all []goal) {
	for _, of := range []struct {
		part  string
		judge func(*report) []goal
	}{
		{"instructions", instructionGoals},
		{"speed", b.speedGoals},
		{"latency", latencyGoals},
		{"eager", paceGoals},
		{"memory", memoryGoals},
		{"index", indexGoals},
		{"lists", listGoals},
		{"race", raceGoals},
		{"wait", waitGoals},
		{"idle", fleetGoals},
	} {
		if slices.Contains(r.Config.parts, of.part) {
			all = append(all, of.judge(r)...)
		}
	}
	return all
}

func instructionGoals(r *report) (all []goal) {
	const most = 2.05 // of the first row; the others may have 1.15 times as many
	var base counting
	for _, c := range r.Countings {
		if c.Work == workBase {
			base = *c
		}
	}
	for _, w := range works {
		c := counting{Error: notMeasured}
		for _, x := range r.Countings {
			if x.Work == w.name {
				c = *x
			}
		}
		want, floor := most*1.15, c.Floor
		var note string
		switch {
		case w.name == workBase:
			want = most
		case w.name == workEager:
			want = 1.1
		case w.name == workEagerSend:
			want, floor = 1.8, base.Floor
		case w.name == workSend:
			want, floor = 2.6, base.Floor
			note = "against the floor of a turn without Send; against one that sends and notes, too, " + short(ratio(c.Ours, c.Floor)) + times
		case w.fresh:
			want = 5
		}
		g := atMost("instructions of the server, "+w.name+", against the floor's", ratio(c.Ours, floor), want, times)
		g.Note = note
		if c.Error != "" {
			g = atMost(g.Figure, 0, want, times)
			g.Note = c.Error
		}
		all = append(all, g)
	}
	return all
}

func (b *bench) speedGoals(r *report) (all []goal) {
	at, many := nearest(r.Config.histories, 100), nearest(r.Config.callers, 32)
	where := fmt.Sprintf(" (%d messages)", at)
	perSec := func(name string, history int) float64 { return b.cell(name, history, many).PerSecond.Median }
	p50 := func(history int) float64 { return b.cell(nameOurs, history, 1).P50.Median }
	floor := b.cost(nameFloor, at)
	for _, of := range []struct {
		label, name                  string
		busy, single, floor, capped  float64
		trpc, trpcLong, adk, adkLong float64
		allocations, bytes           float64
	}{
		{"", nameOurs, 2.4, 3.2, 0.8, 0.75, 28, 250, 15, 130, 150, 1800},
		{"eager: ", nameEager, 1.5, 2, 1.2, 1, 36, 330, 20, 160, 134, 1200},
	} {
		ours := b.cost(of.name, at)
		against := fmt.Sprintf("%sturns/s, %d callers, against ", of.label, many)
		all = append(all,
			atMost(fmt.Sprintf("%sserver time, %d callers, against the floor's%s", of.label, many, where), ratio(ours.Busy.Median, floor.Busy.Median), of.busy, times),
			atMost(of.label+"server time, one caller, against the floor's"+where, ratio(ours.Server.Median, floor.Server.Median), of.single, times),
			atLeast(against+"the floor"+where, ratio(perSec(of.name, at), perSec(nameFloor, at)), of.floor, times),
			atLeast(against+"the capped blob"+where, ratio(perSec(of.name, at), perSec(nameCapped, at)), of.capped, times))
		for _, peer := range []struct {
			name    string
			history int
			factor  float64
		}{{nameTRPC, 100, of.trpc}, {nameTRPC, 1000, of.trpcLong}, {nameADK, 100, of.adk}, {nameADK, 1000, of.adkLong}} {
			value := 0.0
			if slices.Contains(r.Config.histories, peer.history) {
				value = ratio(perSec(of.name, peer.history), perSec(peer.name, peer.history))
			}
			all = append(all, atLeast(fmt.Sprintf("%s%s (%d messages)", against, peer.name, peer.history), value, peer.factor, times))
		}
		all = append(all,
			atMost(of.label+"allocations of the client"+where, ours.Allocs.Median, of.allocations, ""),
			atMost(of.label+"bytes both ways, the handler reads no chat"+where, ours.Up.Median+ours.Down.Median, of.bytes, ""))
	}
	low, high := slices.Min(r.Config.histories), slices.Max(r.Config.histories)
	few, lots := *b.cost(nameOurs, low), *b.cost(nameOurs, high)
	time := ratio(p50(high), p50(low))
	if low == high {
		few, time = cost{}, 0
	}
	flat := fmt.Sprintf("%d messages of chat against %d: ", high, low)
	return append(all,
		atMost(flat+"p50, one caller", time, 1.05, times),
		atMost(flat+"bytes", ratio(lots.Up.Median+lots.Down.Median, few.Up.Median+few.Down.Median), 1.05, times),
		atMost(flat+"server time", ratio(lots.Server.Median, few.Server.Median), 1.05, times))
}

func latencyGoals(r *report) []goal {
	l := &latency{Others: -1}
	if r.Latency != nil {
		l = r.Latency
	}
	g := atMost("p50, one caller, against the capped blob, interleaved", l.Ratio.Median, 3.2, times)
	g.Note = fmt.Sprintf("on a busy machine: %.0f %% of the cores did something else", 100*l.Others)
	switch {
	case l.Error != "":
		g.Note = l.Error
	case l.Others < 0:
		g.Note = "the system does not tell whether the machine is busy: taken for busy"
	case l.quiet():
		g = atMost(g.Figure, l.Ratio.Median, 1.5, times)
		g.Note = fmt.Sprintf("on a quiet machine: %.0f %% of the cores did something else", 100*l.Others)
	}
	e := atMost("eager: p50, one caller, against the capped blob, interleaved", l.Trip.Median, 1.1, times)
	if l.quiet() {
		e = atMost(e.Figure, l.Trip.Median, 1, times)
	}
	e.Note = g.Note
	return []goal{g, e}
}

func memoryGoals(r *report) []goal {
	kept := &idle{}
	for _, i := range r.Idles {
		if i.Contender == nameOurs && i.Messages == 20 {
			kept = i
		}
	}
	all := []goal{
		atMost("idle session with 20 messages against its payload", ratio(kept.Bytes, kept.Payload), 1.6, times),
		atMost("an event id remembered", kept.PerID, 62, " B"),
	}
	for i := range all {
		all[i].Note = kept.Error
	}
	return all
}

func indexGoals(r *report) []goal {
	i := &indexed{}
	if r.Index != nil {
		i = r.Index
	}
	g := atMost("memory of the index by state and activity, a session", i.Index, 120, " B")
	g.Note = i.Error
	if i.Error == "" {
		g.Note = "of " + thousands(float64(i.Sessions)) + "; with the user and an expiry " + short(i.All) + " B"
	}
	return []goal{g}
}

func listGoals(r *report) (all []goal) {
	slow, n := int64(0), int64(0)
	for _, l := range r.Lists {
		what, memory := fmt.Sprintf("the first %d, %s: ", listPage, l.Name), 30.0
		if l.Name == listEverything {
			what, memory = "all sessions: ", 50
		} else {
			all = append(all, atMost(what+"time", 1000*l.Seconds, 300, " ms"))
		}
		all = append(all, atMost(what+"memory of the process", l.Megabytes, memory, " MB"))
		all[len(all)-1].Note = l.Error
		if l.Error == "" && l.Name != listEverything { // among very many commands some are interrupted by other programs
			slow, n = slow+l.Slow, n+1
		}
	}
	g := none("commands of these pages that take the server more than 5 ms", slow, n)
	if n > 0 {
		g.Shown = fmt.Sprint(slow)
		g.Note = "of " + thousands(float64(r.Lists[0].Of)) + " sessions"
	}
	return append(all, g)
}

func raceGoals(r *report) []goal {
	race := none("lost updates in the race", 0, 0)
	for _, x := range r.Races {
		if x.Contender == nameOurs && x.Error == "" {
			race = none(race.Figure, int64(x.Turns-min(x.Counter, x.Keys)), int64(x.Turns))
		} else if x.Contender == nameOurs {
			race.Note = x.Error
		}
	}
	return []goal{race}
}

func waitGoals(r *report) []goal {
	w := &waiting{}
	if r.Wait != nil {
		w = r.Wait
	}
	all := []goal{
		atMost("commands a second that waiting adds, 200 waiters whose handlers take a second", w.Commands, 100, ""),
		atMost("a wait elsewhere, from the handler's end to its return, p99", w.P99/1000, 15, " ms"),
	}
	for i := range all {
		all[i].Note = w.Error
	}
	return all
}

func fleetGoals(r *report) (all []goal) {
	for i, f := range r.Fleets {
		g := atMost(fmt.Sprintf("commands a second, idle, replicas: %d, bots: %d", f.Replicas, f.Bots), f.Commands, []float64{300, 360, 1000}[i], "")
		if f.Error != "" {
			g = atMost(g.Figure, 0, []float64{300, 360, 1000}[i], "")
			g.Note = f.Error
		}
		all = append(all, g)
	}
	return all
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
