package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// Gauges are what a monitoring system shows of one bot, at one moment.
type Gauges struct {
	Sessions    int64         // Sessions is how many sessions there are.
	Waiting     int64         // Waiting is how many events wait in the sessions that [Bot.Waiting] lists, with those in hand.
	Oldest      time.Duration // Oldest is for how long the first of all that [Bot.Waiting] lists has waited. Zero means that nothing waits.
	DeadLetters int64         // DeadLetters is how many dead letters are kept.
	Slots       int           // Slots is how many sessions can be handled at once.
	Busy        int           // Busy is how many of the slots are taken.
}

// Gauges returns the figures of the whole bot: of all its sessions, and the slots of
// all replicas that serve it. With an error, as when one server of a cluster is down,
// it returns the figures of the servers that replied.
func (b *Bot) Gauges(ctx context.Context) (Gauges, error) {
	var g Gauges
	if err := b.store.usable(); err != nil {
		return g, fmt.Errorf("gauges: %w", err)
	}
	replicas, failed := b.store.replicas(ctx)
	for _, p := range replicas {
		s := p.Bots[b.name]
		g.Slots, g.Busy = g.Slots+s.Slots, g.Busy+s.Slots-s.Free
	}
	return b.gauges(ctx, g, b.store.layout.all(), failed)
}

// OwnGauges returns this replica's part of [Bot.Gauges]: the replicas that serve the
// bot divide its sessions between them, so that the sum of their parts is the figure of
// the fleet, and the greatest Oldest is the fleet's. While a replica comes or goes, some
// sessions may be in two parts or in none. In a process that does not serve the bot all
// figures are zero.
func (b *Bot) OwnGauges(ctx context.Context) (Gauges, error) {
	var g Gauges
	if err := b.store.usable(); err != nil {
		return g, fmt.Errorf("gauges: %w", err)
	}
	r := b.store.duty.of(b.name)
	if r == nil {
		return g, nil
	}
	g.Slots, g.Busy = cap(r.slots), len(r.slots)
	names := b.store.fleet.serving(b.name)
	if !slices.Contains(names, b.store.name) {
		names = append(names, b.store.name)
	}
	return b.gauges(ctx, g, b.store.fleet.share(b.store.name, names, len(b.store.layout.tags)), nil)
}

// serving returns the names of the replicas that serve a bot, also of those that have
// no room.
func (f *fleet) serving(bot string) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.replicas {
		if _, serves := p.Bots[bot]; serves && !p.Leaving {
			names = append(names, p.name)
		}
	}
	return names
}

// gauges adds the figures of some buckets to g. failed is what could not be read before.
func (b *Bot) gauges(ctx context.Context, g Gauges, buckets []int, failed error) (Gauges, error) {
	type bucket struct {
		sessions *call.Value[string]
		waits    *call.Value[[]call.Member]
		dead     *call.Value[[]string]
	}
	places, parts := b.lists(buckets), make([]bucket, len(buckets))
	var commands []call.Command
	for i, at := range places {
		oldest := b.store.caller.Clock.At(at.bucket, time.Now().Add(-deadLife))
		parts[i] = bucket{
			sessions: call.HGet(b.store.layout.key("bots", at), b.name),
			waits:    call.Ranked(b.store.layout.key("waits", at), 0, -1),
			dead:     call.ZRangeByScore(b.store.layout.key("dead", at), strconv.FormatInt(oldest, 10), "+inf"),
		}
		commands = append(commands, parts[i].sessions, parts[i].waits, parts[i].dead)
	}
	_ = b.store.read(ctx, commands...) // each has its own error
	var waiting []step
	var letters []*call.Value[int64]
	down, why := 0, error(nil)
	for i, p := range parts {
		if err := cmp.Or(p.sessions.Err, p.waits.Err, p.dead.Err); err != nil {
			down, why = down+1, cmp.Or(why, err)
		}
		n, _ := strconv.ParseInt(p.sessions.Val, 10, 64)
		g.Sessions += n
		now := b.store.caller.Clock.Now(places[i].bucket)
		for _, m := range p.waits.Val {
			waiting = append(waiting, step{place{session.Ref{Bot: b.name, ID: m.Name}, places[i].bucket}, m.Score})
			g.Oldest = max(g.Oldest, now.Sub(time.UnixMilli(int64(m.Score))))
		}
		for _, id := range p.dead.Val {
			letters = append(letters, call.LLen(b.store.layout.key("letters", place{session.Ref{Bot: b.name, ID: id}, places[i].bucket})))
		}
	}
	for some := range slices.Chunk(waiting, pageSize) {
		for _, look := range b.statuses(ctx, some) {
			if look.err != nil && !look.refused { // a session that is gone by now, or damaged, has no number
				why = cmp.Or(why, look.err)
			}
			g.Waiting += look.status.Waiting
		}
	}
	for some := range slices.Chunk(letters, pageSize) {
		commands = commands[:0]
		for _, l := range some {
			commands = append(commands, l)
		}
		_ = b.store.read(ctx, commands...) // each has its own error
		for _, l := range some {
			if l.Err != nil && !call.WrongType(l.Err) {
				why = cmp.Or(why, l.Err)
			}
			g.DeadLetters += l.Val
		}
	}
	if err := cmp.Or(b.store.partly(down, why), failed, why); err != nil {
		return g, fmt.Errorf("gauges of %s: %w", b.name, call.NoRight(err))
	}
	return g, nil
}
