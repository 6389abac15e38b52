package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Filter selects sessions of a bot. The zero Filter selects all of them.
type Filter struct {
	State string // State is the state that they are in; empty means any
	User  string // User is the user that they belong to; empty means any
	Limit int    // Limit is the most that are returned; 0 or less means no limit
}

// List returns the status of the sessions that f selects, those with the latest
// activity first; which of them are within the limit, the index tells to the minute.
// It reads no private data, and of a large index no more than it needs. What cannot
// be read, a session or a whole bucket, is left out, and named in the error, which
// comes with the others.
func (b *Bot) List(ctx context.Context, f Filter) ([]session.Status, error) {
	if err := b.usable(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	list, err := b.list(ctx, f)
	slices.SortStableFunc(list, func(a, b session.Status) int { return b.Active.Compare(a.Active) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	if err != nil {
		err = fmt.Errorf("list %s: %w", b.name, err)
	}
	return list, err
}

func (b *Bot) list(ctx context.Context, f Filter) ([]session.Status, error) {
	name := ""
	switch {
	case f.User != "":
		name = "u" + f.User
	case f.State != "":
		name = "s" + f.State
	}
	if f.Limit > 0 {
		// The names are in no order of time. So the newest sessions are looked at one by
		// one; if more of them than have the name are not enough, those with the name are
		// the shorter way.
		most := math.MaxInt
		if name != "" {
			most = b.count(ctx, name)
		}
		if most > f.Limit {
			list, ended, err := b.collect(ctx, f, b.walkNewest(f.Limit), most)
			if ended {
				return list, err
			}
		}
	}
	w := b.walkAll()
	if name != "" {
		w = b.walkNames(name)
	}
	list, _, err := b.collect(ctx, f, w, math.MaxInt)
	return list, err
}

// collect returns the sessions of a walk that f selects. It ends with the walk or,
// from the newest on, when there are enough; or it gives up when it has read so many.
func (b *Bot) collect(ctx context.Context, f Filter, w *walk, most int) (list []session.Status, ended bool, err error) {
	var faults []error
	for read := 0; read < most; {
		places := w.next(ctx, min(max(f.Limit-len(list), 16), pageSize))
		if read += len(places); len(places) == 0 {
			ended = true
			break
		}
		for page := range slices.Chunk(places, pageSize) {
			some, err := b.statuses(ctx, page)
			faults = append(faults, err)
			for _, st := range some {
				if (f.State == "" || st.State == f.State) && (f.User == "" || st.User == f.User) {
					list = append(list, st)
				}
			}
		}
		if w.newest && len(list) >= f.Limit {
			ended = true
			break
		}
	}
	return list, ended, causes.Join(append(faults, w.err())...)
}

// count returns how many names in the index begin so. A part that cannot be read
// is left to the walk, which tells of it.
func (b *Bot) count(ctx context.Context, name string) (n int) {
	counts := make([]*call.Value[int64], len(b.store.layout.tags))
	commands := make([]call.Command, len(counts))
	for bucket := range counts {
		at := place{ref: session.Ref{Bot: b.name}, bucket: bucket}
		counts[bucket] = call.ZLexCount(b.store.layout.key("names", at), "["+name+"\x00", "("+name+"\x01")
		commands[bucket] = counts[bucket]
	}
	_ = b.store.caller.Do(ctx, commands...)
	for _, count := range counts {
		n += int(count.Val)
	}
	return n
}

// statuses reads the status of each session, in one moment for each. One that is
// over is left out.
func (b *Bot) statuses(ctx context.Context, places []place) ([]session.Status, error) {
	var list []session.Status
	var faults []error
	for i, r := range b.each(ctx, lua.Status, places, stored.StatusFields...) {
		at := places[i]
		err := r.Err
		if err == nil {
			err = refusal(r.Reply, at.ref)
		} else {
			err = call.NoRight(b.store.explain(ctx, err, lua.Status, at))
		}
		var rec *stored.Record
		if err == nil {
			rec, err = stored.ReadRecord(at.ref, present(stored.StatusFields, r.Reply.List(2)))
		}
		switch {
		case errors.Is(err, session.ErrNotFound):
		case errors.Is(err, session.ErrCorrupt): // it names the session
			faults = append(faults, err)
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", at.ref, err))
		default:
			st := rec.Status()
			st.Messages, st.Waiting, st.Unsent, st.Now = r.Reply.Int(3), r.Reply.Int(4), r.Reply.Int(5), time.UnixMilli(r.Reply.Int(1))
			list = append(list, st)
		}
	}
	return list, causes.Join(faults...)
}

// each runs a script that writes nothing for each place.
func (b *Bot) each(ctx context.Context, script *lua.Script, places []place, args ...string) []call.Result {
	requests := make([]call.Request, len(places))
	for i, at := range places {
		requests[i] = call.Request{Script: script, Keys: b.store.layout.keys(script, at), Args: args, Node: at.bucket}
	}
	return b.store.caller.Each(ctx, requests)
}

// present pairs those fields that a hash has with their values.
func present(fields []string, values []any) (pairs []string) {
	for i, v := range values {
		if text, ok := v.(string); ok {
			pairs = append(pairs, fields[i], text)
		}
	}
	return pairs
}

// Counts are statistics of one bot.
type Counts struct {
	Sessions int64            // living
	States   map[string]int64 // by state
	Moves    []Flow           // made so far, the most frequent first
	Due      int64            // sessions with work in hand or waiting
	Dead     int64            // sessions with dead letters
	Replicas []string         // that serve the bot and have room
}

// A Flow is how often a bot's sessions made one transition. Each bucket counts a
// thousand pairs of states at most; moves between others are counted together, as a
// Flow without From and To.
type Flow struct {
	session.Transition
	Count int64
}

// Counts returns the bot's figures, as the index has them. What cannot be read, as
// when one server of a cluster is down, is missing, and the error says so: it comes
// with the figures of the others.
func (b *Bot) Counts(ctx context.Context) (Counts, error) {
	c := Counts{States: map[string]int64{}}
	if err := b.usable(); err != nil {
		return c, fmt.Errorf("count: %w", err)
	}
	type bucket struct {
		moves     *call.Value[map[string]string]
		due, dead *call.Value[int64]
	}
	places := make([]place, len(b.store.layout.tags))
	parts := make([]bucket, len(places))
	var commands []call.Command
	for i := range parts {
		places[i] = place{ref: session.Ref{Bot: b.name}, bucket: i}
		parts[i] = bucket{
			moves: call.HGetAll(b.store.layout.key("moves", places[i])),
			due:   call.ZCard(b.store.layout.key("due", places[i])),
			dead:  call.ZCount(b.store.layout.key("dead", places[i]), strconv.FormatInt(b.store.caller.Clock.At(i, time.Now().Add(-deadLife)), 10), "+inf"),
		}
		commands = append(commands, parts[i].moves, parts[i].due, parts[i].dead)
	}
	_ = b.store.caller.Do(ctx, commands...) // each has its own error
	moves := map[session.Transition]int64{}
	failed, why := 0, error(nil)
	for i, tally := range b.each(ctx, lua.Tally, places) {
		states := tally.Reply.List(2)
		for j := 0; j+1 < len(states); j += 2 {
			c.States[states.Text(j)] += states.Int(j + 1)
			c.Sessions += states.Int(j + 1)
		}
		for pair, n := range parts[i].moves.Val {
			from, to, _ := strings.Cut(pair, "\x00")
			count, _ := strconv.ParseInt(n, 10, 64)
			moves[session.Transition{From: from, To: to}] += count
		}
		c.Due += parts[i].due.Val
		c.Dead += parts[i].dead.Val
		if err := cmp.Or(tally.Err, parts[i].moves.Err, parts[i].due.Err, parts[i].dead.Err); err != nil {
			failed, why = failed+1, cmp.Or(why, err)
		}
	}
	for t, n := range moves {
		c.Moves = append(c.Moves, Flow{t, n})
	}
	slices.SortFunc(c.Moves, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	replicas, err := b.Replicas(ctx)
	c.Replicas = replicas
	if err := causes.Join(partly(failed, len(places), why), err); err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, call.NoRight(err))
	}
	return c, nil
}
