package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// Counts are statistics of one bot.
type Counts struct {
	Sessions int64            // Sessions is how many sessions there are.
	States   map[string]int64 // States is how many sessions are in each state.
	Moves    []Flow           // Moves are how often each transition was made since the bot was made, the most frequent first.
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
	_ = b.store.read(ctx, commands...) // each has its own error
	moves := map[session.Transition]int64{}
	failed, why := 0, error(nil)
	for i, tally := range b.store.readEach(ctx, lua.Tally, places) {
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
	if err := partly(failed, len(places), why); err != nil {
		return c, fmt.Errorf("count %s: %w", b.name, call.NoRight(err))
	}
	return c, nil
}
