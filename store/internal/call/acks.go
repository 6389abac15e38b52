package call

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
)

// ackWait is how long one attempt waits: twice the second after which a file is
// synced, or a replica tells of its own, at the latest.
const ackWait = 2 * time.Second

// carrySafely sends commands and has their servers wait for the replicas, or for
// the files. Where a cluster's node replies ASK, because it is handing the slot
// over, the call is tried again until that is done.
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
					cmd.SetErr(fmt.Errorf("%w: %w", session.ErrNotAcked, missing))
				}
			}
		})
	}
	flights.Wait()
}

// pipeAndWait sends commands to one server, and waits on the connection that
// wrote. It returns what is missing.
//
// A call that finds its work done, by its own attempt before or by a delivery
// elsewhere, writes nothing, and must wait for that work all the same. Redis 7.2
// and Valkey answer for the last write of the connection that asks, and would
// not wait; so there always is one.
//
// Replicas are waited for before their files: one that is asked in the same
// breath as it is told to write has not synced its file yet, and tells of it by
// itself only after a second.
func (s *sender) pipeAndWait(ctx context.Context, node redis.Cmdable, cmds []redis.Cmder) (missing error) {
	if !slices.ContainsFunc(cmds, writes) {
		pipe(ctx, node, cmds...)
		return nil
	}
	// A mark in each of their buckets: the slot of one may be on the move.
	marks := map[string]redis.Cmder{}
	for _, cmd := range cmds {
		if key, _ := cmd.Args()[3].(string); writes(cmd) {
			marks[markKey(key)] = redis.NewStatusCmd(ctx, "set", markKey(key), "")
		}
	}
	wait := ackWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)/3) // there may be two
	}
	ms := max(wait.Milliseconds(), 1)
	var asked []redis.Cmder
	replicas, files := redis.NewIntCmd(ctx, "wait", s.acks, ms), redis.NewIntSliceCmd(ctx, "waitaof", 1, s.acks, ms)
	if s.acks > 0 {
		asked = append(asked, replicas)
	}
	if s.fsync {
		asked = append(asked, files)
	}
	pipe(ctx, node, slices.Concat(cmds, slices.Collect(maps.Values(marks)), asked)...)
	for _, cmd := range asked {
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	var unmarked error
	for _, mark := range marks {
		if unmarked = mark.Err(); unmarked == nil {
			break
		}
	}
	if unmarked != nil {
		return unmarked
	}
	have, synced := int(replicas.Val()), append(files.Val(), 0, 0) // the server's own, and those of replicas
	switch {
	case have < s.acks:
		return fmt.Errorf("%d of %d replicas have it", have, s.acks)
	case s.fsync && synced[0] < 1:
		return errors.New("it is not in the server's append-only file on disk")
	case s.fsync && int(synced[1]) < s.acks:
		return fmt.Errorf("%d of %d replicas have it in their append-only file on disk", synced[1], s.acks)
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
			cmd.SetErr(causes.Join(errNeverSent, err))
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

// markKey is the key that is written in the bucket of another, see pipeAndWait.
func markKey(key string) string {
	tag, _, found := strings.Cut(key, "}:")
	if !found { // the key of the settings: it has no tag, so its slot is that of all of its name
		namespace, _, _ := strings.Cut(key, ":")
		return namespace + ":ack:{" + key + "}"
	}
	return tag + "}:ack"
}
