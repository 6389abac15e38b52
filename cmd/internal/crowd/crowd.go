// Package crowd makes a bot with as many sessions as a large fleet has, so that what
// lists and shows them can be measured. It uses the library's public API alone, so what
// it makes is what programs make.
package crowd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// States is how many states the sessions are in, from "state 0".
const States = 8

// PerUser is how many sessions a user has, from "user 0".
const PerUser = 100

// ErrThere says that the bot is there, and so its sessions and events somebody's.
var ErrThere = errors.New("it is there already")

// A Crowd is a bot with its sessions. Every tenth of them has an event that waits, and
// up to 10,000 others have a dead letter. Nobody serves the bot.
type Crowd struct {
	Bot           *store.Bot
	Sessions      int       // Sessions is how many there are.
	Waiting, Dead int       // Waiting and Dead are in how many an event waits, or is a dead letter.
	Half          time.Time // Half is when half of the sessions were there, and none of the others.
}

// Make declares the bot, and makes n sessions. say is told how far it is. If the bot is
// there, it returns [ErrThere] and changes nothing. If ctx ends first, what was made stays.
func Make(ctx context.Context, st *store.Store, name string, n int, say func(what string, done, of int)) (*Crowd, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: %d sessions", session.ErrInvalid, n)
	}
	switch _, err := st.Bot(ctx, name, nil); {
	case err == nil:
		return nil, fmt.Errorf("bot %s: %w", name, ErrThere)
	case !errors.Is(err, session.ErrNotFound):
		return nil, err
	}
	bot, err := st.Bot(ctx, name, &store.BotOptions{Initial: "state 0", RecordOnly: true})
	if err != nil {
		return nil, err
	}
	c := &Crowd{Bot: bot, Sessions: n}
	create := func(ctx context.Context, n int) error {
		_, err := bot.Session(id(n)).Create(ctx, store.Origin{
			State: fmt.Sprint("state ", n/10%States), User: fmt.Sprint("user ", n/PerUser), Platform: []string{"web", "telegram"}[n%2],
		})
		return err
	}
	accept := func(ctx context.Context, n int) error {
		_, err := bot.Accept(ctx, id(n), session.Event{ID: "1", Text: "hi"})
		return err
	}
	if err := each(ctx, numbers(0, n/2, 1), create, func(done int) { say("sessions", done, n) }); err != nil {
		return nil, err
	}
	c.Half = time.Now()
	if err := each(ctx, numbers(n/2, n, 1), create, func(done int) { say("sessions", n/2+done, n) }); err != nil {
		return nil, err
	}
	dead := numbers(1, n, n/share(n, 10_000))
	c.Dead = len(dead)
	if err := each(ctx, dead, accept, func(done int) { say("dead letters", done, c.Dead) }); err != nil {
		return nil, err
	}
	if _, err := bot.Drain(ctx, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("as it was told")) }, nil); err != nil {
		return nil, err
	}
	waiting := numbers(0, n, 10)
	c.Waiting = len(waiting)
	return c, each(ctx, waiting, accept, func(done int) { say("events that wait", done, c.Waiting) })
}

// Hold has an Update at work in up to most sessions, until release is called or the
// store's MaxTurn is over. It returns how many there are.
func (c *Crowd) Hold(ctx context.Context, most int) (held int, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var updates errgroup.Group
	release = func() { cancel(); _ = updates.Wait() }
	which := numbers(2, c.Sessions, c.Sessions/share(c.Sessions, most))
	entered := make(chan error, 2*len(which))
	for _, n := range which {
		updates.Go(func() error {
			_, err := c.Bot.Update(ctx, id(n), func(ctx context.Context, _ *store.Turn) error {
				entered <- nil
				<-ctx.Done()
				return ctx.Err()
			})
			entered <- err
			return nil
		})
	}
	for range which {
		if err := <-entered; err != nil {
			release()
			return 0, func() {}, err
		}
	}
	return len(which), release, nil
}

// id returns that of the n-th session.
func id(n int) string { return strconv.Itoa(100_000_000 + n) }

// share returns most, or a tenth of n sessions, or 1.
func share(n, most int) int { return max(1, min(most, n/10)) }

// numbers returns those from first on, up to before end.
func numbers(first, end, step int) (all []int) {
	for n := first; n < end; n += step {
		all = append(all, n)
	}
	return all
}

// each does something for each number, for many at once. told is told now and then for
// how many it was begun, and at the end.
func each(ctx context.Context, all []int, do func(context.Context, int) error, told func(done int)) error {
	group, doing := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i, n := range all {
		if doing.Err() != nil {
			break
		}
		if i%1000 == 0 {
			told(i)
		}
		group.Go(func() error { return do(doing, n) })
	}
	if err := cmp.Or(group.Wait(), context.Cause(ctx)); err != nil {
		return err
	}
	told(len(all))
	return nil
}
