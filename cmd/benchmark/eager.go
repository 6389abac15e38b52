package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// A pace is how many turns a second are made with ServeOptions.Eager, and without it,
// where it may not pay.
type pace struct {
	Where string `json:"where"`
	Eager spread `json:"eager_turns_per_second"`
	Usual spread `json:"turns_per_second"`
	Ratio spread `json:"ratio"`
	Error string `json:"error,omitempty"`
}

const (
	paceReplicas = "three replicas in turn"
	paceSlow     = "a handler that takes 50 ms"
)

// paces measures both with 32 callers, in turn.
func (b *bench) paces(ctx context.Context) (all []*pace, err error) {
	for _, of := range []struct {
		name     string
		replicas int
		slow     time.Duration
	}{{paceReplicas, 3, 0}, {paceSlow, 1, 50 * time.Millisecond}} {
		p := &pace{Where: of.name}
		all = append(all, p)
		b.say("eager, %s", of.name)
		if err := b.pace(ctx, p, of.replicas, of.slow); err != nil {
			p.Error = err.Error()
		}
	}
	b.say("")
	return all, ctx.Err()
}

func (b *bench) pace(ctx context.Context, p *pace, replicas int, slow time.Duration) (err error) {
	const callers = 32
	var teams []*team
	var users []string
	for i := range callers * sessionsOf(callers) {
		users = append(users, "user-"+strconv.Itoa(i))
	}
	for _, eager := range []bool{false, true} {
		e := b.env()
		t := &team{}
		defer func() {
			err = errors.Join(err, t.close(), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
		}()
		for i := range replicas {
			o, err := newOurs(ctx, e, settings{slow: slow, eager: eager, waits: i < replicas-1}) // the last one's wait is enough for all
			if err != nil {
				return err
			}
			t.replicas = append(t.replicas, o)
		}
		if err := t.prepare(ctx, users, b.data.chat(0, 100)); err != nil {
			return err
		}
		teams = append(teams, t)
	}
	var usual, eager, ratios []float64
	for _, t := range teams { // until eager runs have stopped where most are dropped
		if _, err := b.run(ctx, t, users, callers, 4, false); err != nil {
			return err
		}
	}
	for range b.config.repeats {
		var paces [2]float64
		for i, t := range teams {
			r, err := b.run(ctx, t, users, callers, 4, false)
			if err != nil {
				return err
			}
			paces[i] = r.perSec
		}
		usual, eager, ratios = append(usual, paces[0]), append(eager, paces[1]), append(ratios, ratio(paces[1], paces[0]))
	}
	p.Usual, p.Eager, p.Ratio = spreadOf(usual), spreadOf(eager), spreadOf(ratios)
	return nil
}

func paceGoals(r *report) (all []goal) {
	for _, where := range []string{paceReplicas, paceSlow} {
		p := &pace{}
		for _, x := range r.Paces {
			if x.Where == where {
				p = x
			}
		}
		g := atLeast("eager: turns/s, 32 callers, "+where+", against Eager off", p.Ratio.Median, 0.95, times)
		g.Note = p.Error
		all = append(all, g)
	}
	return all
}

func (r *report) printPaces(p *printer) {
	var rows []table.Row
	for _, x := range r.Paces {
		if x.Error != "" {
			rows = append(rows, table.Row{x.Where, "fails " + p.note(x.Error)})
			continue
		}
		rows = append(rows, table.Row{x.Where, thousands(x.Eager.Median), thousands(x.Usual.Median), factor(x.Ratio.Median)})
	}
	if len(rows) > 0 {
		p.table("Turns a second of 32 callers, with Eager and without it", 1, table.Row{"where", "eager", "usual", "× usual"}, rows)
	}
}
