package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotAcked says that too few of the server's replicas have acknowledged a
// write; see [Options.Acks]. It comes with [session.ErrUnknownOutcome]: the write
// is done, and a fail-over may undo it.
var ErrNotAcked = errors.New("too few replicas of the server have it")

// ackWait is how long one attempt waits for replicas.
const ackWait = time.Second

// carrySafely has the server wait for its replicas, on the connection that
// wrote. WAIT answers for everything that the server had written when that
// connection's last command ran: also for what a call found done already. Where a
// cluster's node answers ASK, because it is handing the slot over, the call is
// tried again until that is done.
func (s *sender) carrySafely(ctx context.Context, cmds []redis.Cmder) {
	var flights sync.WaitGroup
	for node, cmds := range s.byNode(ctx, cmds) {
		flights.Go(func() {
			wait := ackWait
			if end, ok := ctx.Deadline(); ok {
				wait = min(wait, time.Until(end)/2)
			}
			acked := redis.NewIntCmd(ctx, "wait", s.acks, max(wait.Milliseconds(), 1))
			pipe(ctx, node, append(slices.Clone(cmds), acked)...)
			n, err := acked.Result()
			for _, cmd := range cmds {
				switch {
				case redis.HasErrorPrefix(cmd.Err(), "MOVED"):
					if cluster, ok := s.client.(*redis.ClusterClient); ok {
						cluster.ReloadState(ctx)
					}
				case cmd.Err() == nil && writes(cmd) && err != nil:
					cmd.SetErr(fmt.Errorf("%w: %w", ErrNotAcked, err))
				case cmd.Err() == nil && writes(cmd) && n < int64(s.acks):
					cmd.SetErr(fmt.Errorf("%w: %d of %d", ErrNotAcked, n, s.acks))
				}
			}
		})
	}
	flights.Wait()
}

// byNode sorts commands by the server that has their keys: a cluster's client
// would send the WAIT anywhere.
func (s *sender) byNode(ctx context.Context, cmds []redis.Cmder) map[redis.UniversalClient][]redis.Cmder {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return map[redis.UniversalClient][]redis.Cmder{s.client: cmds}
	}
	nodes := map[redis.UniversalClient][]redis.Cmder{}
	for _, cmd := range cmds {
		key, _ := cmd.Args()[3].(string)
		node, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			cmd.SetErr(errors.Join(errNeverSent, err))
			continue
		}
		nodes[node] = append(nodes[node], cmd)
	}
	return nodes
}

func writes(cmd redis.Cmder) bool {
	c, ok := cmd.(once)
	return ok && c.writes
}
