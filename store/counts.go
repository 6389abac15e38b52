package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// Counts are statistics of one bot.
type Counts struct {
	Sessions int64            // Sessions is how many sessions there are.
	States   map[string]int64 // States is how many sessions are in each state. Of 2^28 names two may be counted together, under either.
	Moves    []Flow           // Moves are how often each transition was made since the bot was made, the most frequent first.
	Waiting  int64            // Waiting is how many sessions [Bot.Waiting] lists.
	Due      int64            // Due is how many sessions have work, waiting or in hand.
	Dead     int64            // Dead is how many sessions have dead letters.
}

// A Flow is how often a bot's sessions made one transition. Of each of the
// store's buckets a thousand different transitions are counted; the others are
// counted together, as a Flow without From and To.
type Flow struct {
	session.Transition
	Count int64 // Count is how often the transition was made.
}

// Counts returns statistics of the bot. With an error, as when one server of a
// cluster is down, it returns the figures of the servers that replied.
func (b *Bot) Counts(ctx context.Context) (Counts, error) {
	c := Counts{States: map[string]int64{}}
	if err := b.store.usable(); err != nil {
		return c, fmt.Errorf("count: %w", err)
	}
	type bucket struct {
		moves            *call.Value[map[string]string]
		due, waits, dead *call.Value[int64]
		bells            *call.Value[[]call.Member]
	}
	places := make([]place, len(b.store.layout.tags))
	parts := make([]bucket, len(places))
	var commands []call.Command
	for i := range parts {
		places[i] = place{ref: session.Ref{Bot: b.name}, bucket: i}
		parts[i] = bucket{
			moves: call.HGetAll(b.store.layout.key("moves", places[i])),
			due:   call.ZCard(b.store.layout.key("due", places[i])),
			waits: call.ZCard(b.store.layout.key("waits", places[i])),
			bells: call.Ranked(b.store.layout.key("bells", places[i]), 0, -1), // two for each bot, and one for each session that was handed out
			dead:  call.ZCount(b.store.layout.key("dead", places[i]), strconv.FormatInt(b.store.caller.Clock.At(i, time.Now().Add(-deadLife)), 10), "+inf"),
		}
		commands = append(commands, parts[i].moves, parts[i].due, parts[i].waits, parts[i].bells, parts[i].dead)
	}
	_ = b.store.read(ctx, commands...) // each has its own error
	moves := map[session.Transition]int64{}
	states := map[int64]*stateCount{}
	errs := make([]error, len(places)) // errs has why the figures of a bucket are not whole
	for i, tally := range b.store.readEach(ctx, b.store.requests(ask(lua.Tally, nil), places)) {
		for state := range tally.Reply.Rows("tally") {
			first, _ := stored.PlaceParts(state.Int("place"))
			if states[first] == nil {
				states[first] = &stateCount{first: first}
			}
			states[first].add(place{session.Ref{Bot: b.name, ID: state.Text("id")}, i}, state.Int("number"))
			c.Sessions += state.Int("number")
		}
		for pair, n := range parts[i].moves.Val {
			from, to, _ := strings.Cut(pair, "\x00")
			count, _ := strconv.ParseInt(n, 10, 64)
			moves[session.Transition{From: from, To: to}] += count
		}
		c.Due += parts[i].due.Val + b.handedOut(parts[i].bells.Val)
		c.Waiting += parts[i].waits.Val
		c.Dead += parts[i].dead.Val
		errs[i] = cmp.Or(tally.Err, parts[i].moves.Err, parts[i].due.Err, parts[i].waits.Err, parts[i].bells.Err, parts[i].dead.Err)
	}
	b.nameStates(ctx, slices.Collect(maps.Values(states)), errs)
	for _, s := range states {
		if s.name != "" {
			c.States[s.name] = s.number
		}
	}
	failed, why := 0, error(nil)
	for _, err := range errs {
		if err != nil {
			failed, why = failed+1, cmp.Or(why, err)
		}
	}
	for t, n := range moves {
		c.Moves = append(c.Moves, Flow{t, n})
	}
	slices.SortFunc(c.Moves, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	if err := b.store.partly(failed, why); err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, call.NoRight(err))
	}
	return c, nil
}

// handedOut counts those of a bucket's bells that are of the bot's sessions.
func (b *Bot) handedOut(bells []call.Member) (n int64) {
	for _, bell := range bells {
		if kind, bot, _ := splitBell(bell.Name); kind == bellHanded && bot == b.name {
			n++
		}
	}
	return n
}

// A stateCount is how many sessions are in a state, of which the index has the first
// place alone.
type stateCount struct {
	first  int64
	number int64
	some   []place // some of the sessions that were in it a moment ago
	name   string
}

// add counts the sessions of one bucket, of which one is at that place.
func (s *stateCount) add(one place, number int64) {
	s.number += number
	if len(s.some) < 3 {
		s.some = append(s.some, one)
	}
}

// nameStates finds the names of states in the hashes of some of their sessions. A state
// whose sessions have all moved, or lost their hashes, stays without a name. errs is by
// bucket, and gets why a hash could not be read.
func (b *Bot) nameStates(ctx context.Context, states []*stateCount, errs []error) {
	b.readStates(ctx, states, errs)
	for _, s := range states {
		if s.name != "" {
			continue
		}
		s.some = nil
		for _, at := range b.walk(newest).states(s.first, s.first+stored.LastMinute).begin(nil).next(ctx, pageSize) {
			s.some = append(s.some, at.place)
		}
		b.readStates(ctx, []*stateCount{s}, errs)
	}
}

// readStates reads in which states some sessions are, and so the names of those states.
func (b *Bot) readStates(ctx context.Context, states []*stateCount, errs []error) {
	var commands []call.Command
	var see []func()
	for _, s := range states {
		for _, at := range s.some {
			state := call.HGet(b.store.layout.key("session", at), stored.FieldState)
			commands = append(commands, state)
			see = append(see, func() {
				if state.Err != nil && !call.WrongType(state.Err) {
					errs[at.bucket] = cmp.Or(errs[at.bucket], state.Err)
				}
				if first, _ := stored.Places(state.Val); first == s.first {
					s.name = state.Val
				}
			})
		}
	}
	_ = b.store.read(ctx, commands...) // each has its own error
	for _, see := range see {
		see()
	}
}
