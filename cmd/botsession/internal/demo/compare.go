package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// readers is how many sessions are read at once.
const readers = 16

// settle waits until no session has work left: a turn without a reply may still
// run, and a reply that the platform has got may still have to be noted, by a
// replica that takes over from a dead one. It gives up after some leases: what is
// missing then is found by the comparison.
func (p *play) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+3*p.Lease)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	for _, d := range p.Dialogues {
		all.Go(func() error {
			for {
				status, err := p.bot.Session(d.id).Status(ctx)
				if err == nil && status.Waiting == 0 && status.Unsent == 0 || errors.Is(err, session.ErrNotFound) {
					return nil
				}
				if err := sleep(ctx, 50*time.Millisecond); err != nil {
					return err
				}
			}
		})
	}
	_ = all.Wait()
}

// compare reads all sessions and compares each with its dialogue.
func (p *play) compare(ctx context.Context) (result, error) {
	results := make([]result, len(p.Dialogues))
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	for i, d := range p.Dialogues {
		all.Go(func() (err error) {
			results[i], err = compareOne(ctx, p.bot.Session(d.id), d, p.platform.talks[d.id].received)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return result{}, err
	}
	var found result
	for _, one := range results {
		found.add(one)
	}
	return found, nil
}

func compareOne(ctx context.Context, s *store.Session, d Dialogue, received []string) (result, error) {
	snap, err := s.Load(ctx)
	var chat []session.Message
	if err == nil {
		chat, err = s.History(ctx, session.All())
	}
	switch {
	case err == nil:
		return verify(d, snap, chat, received), nil
	case ctx.Err() != nil:
		return result{}, context.Cause(ctx)
	case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrCorrupt):
		return missing(d, received, err), nil
	}
	return result{}, fmt.Errorf("read the session of dialogue %q: %w", d.id, err)
}
