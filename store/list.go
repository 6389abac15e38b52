package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Filter selects sessions of a bot. The zero Filter selects all of them.
type Filter struct {
	State string // State is the state that they are in; empty means any
	User  string // User is the user that they belong to; empty means any
	Limit int    // Limit is the most that are returned; 0 or less means all
}

// List returns how the bot's sessions stand, those with the latest activity
// first. It reads the index, not every key, and no private data. A session that
// cannot be read is left out, and named in the error, which comes with the others.
func (b *Bot) List(ctx context.Context, f Filter) ([]session.Status, error) {
	if err := b.usable(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	find := b.byActivity
	if f.State != "" || f.User != "" {
		find = b.byName
	}
	var list []session.Status
	var faults []error
	for skip := 0; ; {
		// What has expired, or is of another state by now, does not count, so one page
		// may not be enough.
		places, more, err := find(ctx, f, skip)
		if err != nil {
			return list, fmt.Errorf("list %s: %w", b.name, err)
		}
		some, err := b.statuses(ctx, places)
		faults = append(faults, err)
		for _, st := range some {
			if (f.State == "" || st.State == f.State) && (f.User == "" || st.User == f.User) {
				list = append(list, st)
			}
		}
		if skip += f.Limit; !more || len(list) >= f.Limit {
			break
		}
	}
	slices.SortFunc(list, func(a, b session.Status) int { return b.Active.Compare(a.Active) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	err := causes.Join(faults...)
	if err != nil {
		err = fmt.Errorf("list %s: %w", b.name, err)
	}
	return list, err
}

// byActivity returns the next page of each bucket's index by activity: together
// they hold the newest of those that no page held before. It reports whether there
// are more.
func (b *Bot) byActivity(ctx context.Context, f Filter, skip int) (places []place, more bool, err error) {
	last := int64(-1)
	if f.Limit > 0 {
		last = int64(skip + f.Limit - 1)
	}
	cmds := make([]*redis.StringSliceCmd, len(b.store.layout.tags))
	_, err = b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for bucket := range cmds {
			at := place{ref: session.Ref{Bot: b.name}, bucket: bucket}
			cmds[bucket] = pipe.ZRevRange(ctx, b.store.layout.key("activity", at), int64(skip), last)
		}
		return nil
	})
	if err != nil {
		return nil, false, noRight(err)
	}
	for bucket, cmd := range cmds {
		for _, id := range cmd.Val() {
			places = append(places, place{session.Ref{Bot: b.name, ID: id}, bucket})
		}
		more = more || f.Limit > 0 && len(cmd.Val()) == f.Limit
	}
	return places, more, nil
}

// byName returns all sessions of a user or, if none is asked for, in a state: the
// names are in no order of time.
func (b *Bot) byName(ctx context.Context, f Filter, _ int) (places []place, more bool, err error) {
	name := "u" + f.User
	if f.User == "" {
		name = "s" + f.State
	}
	cmds := make([]*redis.StringSliceCmd, len(b.store.layout.tags))
	_, err = b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for bucket := range cmds {
			at := place{ref: session.Ref{Bot: b.name}, bucket: bucket}
			cmds[bucket] = byName(ctx, pipe, b.store.layout.key("names", at), name)
		}
		return nil
	})
	if err != nil {
		return nil, false, noRight(err)
	}
	for bucket, cmd := range cmds {
		for _, member := range cmd.Val() {
			_, id, _ := strings.Cut(member, "\x00")
			places = append(places, place{session.Ref{Bot: b.name, ID: id}, bucket})
		}
	}
	return places, false, nil
}

func byName(ctx context.Context, pipe redis.Pipeliner, key, name string) *redis.StringSliceCmd {
	return pipe.ZRangeByLex(ctx, key, &redis.ZRangeBy{Min: "[" + name + "\x00", Max: "(" + name + "\x01"})
}

// statuses reads the hashes of sessions, and how long their lists are.
func (b *Bot) statuses(ctx context.Context, places []place) ([]session.Status, error) {
	var list []session.Status
	var faults []error
	for chunk := range slices.Chunk(places, 200) {
		hashes := make([]*redis.SliceCmd, len(chunk))
		lengths := make([][3]*redis.IntCmd, len(chunk))
		_, err := b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, at := range chunk {
				hashes[i] = pipe.HMGet(ctx, b.store.layout.key("session", at), stored.StatusFields...)
				for j, name := range []string{"history", "inbox", "outbox"} {
					lengths[i][j] = pipe.LLen(ctx, b.store.layout.key(name, at))
				}
			}
			return nil
		})
		var fromServer redis.Error
		if err != nil && !errors.As(err, &fromServer) {
			return list, err
		}
		for i, at := range chunk {
			if err := hashes[i].Err(); err != nil {
				faults = append(faults, &session.CorruptError{Ref: at.ref, Field: "session", Reason: err})
				continue
			}
			rec, err := stored.ReadRecord(at.ref, present(stored.StatusFields, hashes[i].Val()))
			if errors.Is(err, session.ErrNotFound) {
				continue
			}
			if err != nil {
				faults = append(faults, err)
				continue
			}
			st := rec.Status()
			st.Now = b.store.clock.now(at.bucket)
			st.Messages, st.Waiting, st.Unsent = lengths[i][0].Val(), lengths[i][1].Val(), lengths[i][2].Val()
			expired := !st.Expires.IsZero() && st.Expires.Before(st.Now) && st.Waiting+st.Unsent == 0 && !st.Lease.Held(st.Now)
			if !expired && !(rec.Ended() && st.Unsent == 0) {
				list = append(list, st)
			}
		}
	}
	return list, causes.Join(faults...)
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

// Counts are a bot's figures.
type Counts struct {
	Sessions int64            // living
	States   map[string]int64 // by state
	Moves    []Flow           // made so far, the most frequent first
	Due      int64            // sessions with work in hand or waiting
	Dead     int64            // sessions with dead letters
	Replicas []string         // that serve the bot and have room
}

// A Flow is how often a bot's sessions made one transition. Where there are more
// than a thousand pairs of states, the others are counted together, as a Flow
// without From and To.
type Flow struct {
	session.Transition
	Count int64
}

// Counts returns the bot's figures, as the index has them.
func (b *Bot) Counts(ctx context.Context) (Counts, error) {
	c := Counts{States: map[string]int64{}}
	if err := b.usable(); err != nil {
		return c, fmt.Errorf("count: %w", err)
	}
	type bucket struct {
		moves     *redis.MapStringStringCmd
		due, dead *redis.IntCmd
	}
	cmds := make([]bucket, len(b.store.layout.tags))
	_, err := b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i := range cmds {
			at := place{ref: session.Ref{Bot: b.name}, bucket: i}
			cmds[i] = bucket{
				moves: pipe.HGetAll(ctx, b.store.layout.key("moves", at)),
				due:   pipe.ZCard(ctx, b.store.layout.key("due", at)),
				dead:  pipe.ZCount(ctx, b.store.layout.key("dead", at), strconv.FormatInt(b.store.clock.at(i, time.Now().Add(-deadLife)), 10), "+inf"),
			}
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, noRight(err))
	}
	tallies, err := b.ask(ctx, lua.Tally, b.store.layout.all())
	if err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, noRight(err))
	}
	for _, answer := range tallies {
		tally := answer.list(2)
		for i := 0; i+1 < len(tally); i += 2 {
			c.States[tally.text(i)] += tally.int(i + 1)
			c.Sessions += tally.int(i + 1)
		}
	}
	moves := map[session.Transition]int64{}
	for _, cmd := range cmds {
		for pair, n := range cmd.moves.Val() {
			from, to, _ := strings.Cut(pair, "\x00")
			count, _ := strconv.ParseInt(n, 10, 64)
			moves[session.Transition{From: from, To: to}] += count
		}
		c.Due += cmd.due.Val()
		c.Dead += cmd.dead.Val()
	}
	for t, n := range moves {
		c.Moves = append(c.Moves, Flow{t, n})
	}
	slices.SortFunc(c.Moves, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	if c.Replicas, err = b.Replicas(ctx); err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, noRight(err))
	}
	return c, nil
}
