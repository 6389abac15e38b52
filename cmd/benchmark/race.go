package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
)

const (
	raceReplicas = 4
	raceTurns    = 50
)

// raced is what is left of the race: four replicas make fifty turns each on one
// session, each turn adds one to a counter and sets a key of its own.
type raced struct {
	Contender string `json:"contender"`
	Turns     int    `json:"turns"`
	Counter   int    `json:"counter"`
	Keys      int    `json:"keys"`
	Error     string `json:"error,omitempty"`
}

func (b *bench) races(ctx context.Context, all []contender) (found []*raced, err error) {
	for _, c := range all {
		b.say("race: %s", c.name)
		r := &raced{Contender: c.name, Turns: raceReplicas * raceTurns}
		ran, err := b.race(ctx, c, r)
		if err != nil {
			r.Error = err.Error()
		}
		if ran || err != nil {
			found = append(found, r)
		}
		if err := ctx.Err(); err != nil {
			return found, err
		}
	}
	b.say("")
	return found, nil
}

// race reports whether the contender can take part.
func (b *bench) race(ctx context.Context, c contender, r *raced) (ran bool, err error) {
	e := b.env()
	var replicas []instance
	defer func() {
		for _, in := range replicas {
			err = errors.Join(err, in.close())
		}
		err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	for range raceReplicas {
		in, err := c.open(ctx, e)
		if err != nil {
			return true, err
		}
		replicas = append(replicas, in)
		if _, ok := in.(racer); !ok {
			return false, nil
		}
	}
	const user = "racer"
	if err := replicas[0].prepare(ctx, []string{user}, b.data.chat(0, 2)); err != nil {
		return true, err
	}
	var wg sync.WaitGroup
	failures := make([]error, len(replicas))
	for i, in := range replicas {
		wg.Go(func() {
			for n := range raceTurns {
				key := racePrefix + strconv.Itoa(i) + "-" + strconv.Itoa(n)
				if err := in.(racer).add(ctx, user, key); err != nil {
					failures[i] = errors.Join(failures[i], err)
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return true, err
	}
	r.Counter, r.Keys, err = replicas[0].(racer).left(ctx, user)
	return true, err
}
