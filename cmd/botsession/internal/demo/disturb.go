package demo

import (
	"cmp"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"time"
)

// disturb kills and freezes replicas, in an order that the seed makes, evenly
// spread over the middle half of the replay.
func (p *play) disturb(ctx context.Context) error {
	rng := mathrand.New(mathrand.NewPCG(p.Seed, 1<<32))
	total, deeds := int64(turns(p.Dialogues)), int64(p.Kill+p.Freeze)
	for i := range deeds {
		at := total/4 + total*(2*i+1)/(4*deeds)
		for p.platform.accepted.Load() < at {
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		victim := p.fleet.pick(rng, nil)
		if victim == nil {
			continue
		}
		deed := p.kill
		if left := deeds - i; rng.Int64N(left) < int64(p.Freeze-p.frozen) {
			deed = p.freeze
		}
		if err := deed(ctx, victim); err != nil {
			return err
		}
	}
	return nil
}

// kill kills a replica when it has just accepted a message, so that there is work
// to take over, and starts a new one.
func (p *play) kill(ctx context.Context, victim *replica) error {
	victim.doomed.Store(true)
	select {
	case <-victim.ended:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second): // no message comes to it
		p.fleet.kill(victim)
	}
	p.killed++
	return p.join(ctx)
}

// freeze stops a replica until it has lost its leases, and lets it go on. It does
// not learn that it was stopped.
func (p *play) freeze(ctx context.Context, victim *replica) error {
	if err := stopProcess(victim.cmd.Process); err != nil {
		return fmt.Errorf("freeze %s: %w", victim, err)
	}
	p.frozen++
	long := p.Lease + p.Lease/2
	p.progress.Say("%s frozen for %v", victim, long)
	err := sleep(ctx, long)
	return cmp.Or(err, continueProcess(victim.cmd.Process))
}
