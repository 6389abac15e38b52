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

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
)

// A Filter selects sessions of a bot.
type Filter struct {
	State string // only those in this state; empty means any
	User  string // only those of this user; empty means any
	Limit int    // at most so many; zero means 100, negative all
}

// List returns how the bot's sessions stand, those with the latest activity
// first. It reads the index, not every key, and no private data. A session that
// cannot be read is left out, and named in the error.
func (b *Bot) List(ctx context.Context, f Filter) ([]session.Status, error) {
	if b.err != nil {
		return nil, fmt.Errorf("list: %w", b.err)
	}
	def(&f.Limit, 100)
	places, err := b.find(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", b.name, err)
	}
	if f.Limit > 0 && f.State == "" && f.User == "" && len(places) > f.Limit {
		places = places[:f.Limit]
	}
	list, err := b.statuses(ctx, places)
	slices.SortFunc(list, func(a, b session.Status) int { return b.Active.Compare(a.Active) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	if err != nil {
		err = fmt.Errorf("list %s: %w", b.name, err)
	}
	return list, err
}

// find asks every bucket's index for ids: by activity, newest first, or by name.
func (b *Bot) find(ctx context.Context, f Filter) ([]place, error) {
	type found struct {
		at     place
		active float64
	}
	var all []found
	activity := make([]*redis.ZSliceCmd, len(b.store.layout.tags))
	names := make([]*redis.StringSliceCmd, len(b.store.layout.tags))
	_, err := b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for bucket := range b.store.layout.tags {
			at := place{ref: session.Ref{Bot: b.name}, bucket: bucket}
			switch {
			case f.State != "":
				names[bucket] = byName(ctx, pipe, b.store.layout.key("names", at), "s"+f.State)
			case f.User != "":
				names[bucket] = byName(ctx, pipe, b.store.layout.key("names", at), "u"+f.User)
			default:
				activity[bucket] = pipe.ZRevRangeWithScores(ctx, b.store.layout.key("activity", at), 0, int64(max(f.Limit, 0)-1))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for bucket := range b.store.layout.tags {
		if cmd := activity[bucket]; cmd != nil {
			for _, z := range cmd.Val() {
				id, _ := z.Member.(string)
				all = append(all, found{place{session.Ref{Bot: b.name, ID: id}, bucket}, z.Score})
			}
		}
		if cmd := names[bucket]; cmd != nil {
			for _, member := range cmd.Val() {
				_, id, _ := strings.Cut(member, "\x00")
				all = append(all, found{place{session.Ref{Bot: b.name, ID: id}, bucket}, 0})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.active, a.active) })
	places := make([]place, len(all))
	for i, f := range all {
		places[i] = f.at
	}
	return places, nil
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
				hashes[i] = pipe.HMGet(ctx, b.store.layout.key("session", at), codec.StatusFields...)
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
			rec, err := codec.ReadRecord(at.ref, present(codec.StatusFields, hashes[i].Val()))
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
	if b.err != nil {
		return c, fmt.Errorf("count: %w", b.err)
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
		return c, fmt.Errorf("count %s: %w", b.name, err)
	}
	tallies, err := b.ask(ctx, lua.Tally, b.store.layout.all())
	if err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, err)
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
		return c, fmt.Errorf("count %s: %w", b.name, err)
	}
	return c, nil
}
