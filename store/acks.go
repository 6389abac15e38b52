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
var ErrNotAcked = errors.New("not acknowledged")

// ackWait is how long one attempt waits for replicas.
const ackWait = time.Second

// carrySafely sends commands and has their servers wait for the replicas. Where a
// cluster's node answers ASK, because it is handing the slot over, the call is
// tried again until that is done.
func (s *sender) carrySafely(ctx context.Context, cmds []redis.Cmder) {
	var flights sync.WaitGroup
	for node, cmds := range s.byNode(ctx, cmds) {
		flights.Go(func() {
			missing := s.pipeAndWait(ctx, node, cmds)
			for _, cmd := range cmds {
				switch {
				case redis.HasErrorPrefix(cmd.Err(), "MOVED"):
					if cluster, ok := s.client.(*redis.ClusterClient); ok {
						cluster.ReloadState(ctx)
					}
				case cmd.Err() == nil && writes(cmd) && missing != nil:
					cmd.SetErr(fmt.Errorf("%w: %w", ErrNotAcked, missing))
				}
			}
		})
	}
	flights.Wait()
}

// pipeAndWait sends commands to one server, and waits on the connection that
// wrote. It answers what is missing.
//
// A call that finds its work done, by its own attempt before or by a delivery
// elsewhere, writes nothing, and must wait for that work all the same. Redis 7.2
// and Valkey answer for the last write of the connection that asks, and would
// not wait; so there always is one.
func (s *sender) pipeAndWait(ctx context.Context, node redis.Cmdable, cmds []redis.Cmder) (missing error) {
	i := slices.IndexFunc(cmds, writes)
	if i < 0 {
		pipe(ctx, node, cmds...)
		return nil
	}
	wait := ackWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)/2)
	}
	key, _ := cmds[i].Args()[3].(string)
	asked := []redis.Cmder{redis.NewStatusCmd(ctx, "set", markKey(key), "")}
	replicas := redis.NewIntCmd(ctx, "wait", s.acks, max(wait.Milliseconds(), 1))
	asked = append(asked, replicas)
	pipe(ctx, node, slices.Concat(cmds, asked)...)
	for _, cmd := range asked {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	if have := int(replicas.Val()); have < s.acks {
		return fmt.Errorf("%d of %d replicas have it", have, s.acks)
	}
	return nil
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
