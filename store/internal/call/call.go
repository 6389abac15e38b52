// Package call brings a script to its server once, however often it takes: a
// request that was perhaps applied is sent again under the same id, by which the
// script knows it, and with a deadline after which it changes nothing.
package call

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
)

// A Caller sends the scripts of one store.
type Caller struct {
	Name  string // Name is this replica's; the ids of its calls begin with it
	Clock *Clock // Clock is what is known of the servers' clocks

	// Around, if set, is around each command of a script: a simulation so decides in
	// what order callers come to the sender, and go on when their commands were sent
	// together.
	Around func(cmd redis.Cmder, send func() error) error

	client redis.UniversalClient
	sender *sender
	calls  atomic.Uint64
	last   atomic.Pointer[context.Context] // last is what ending returned last
}

// New returns a Caller whose writes are done when so many replicas have them, and,
// with fsync, when they are in the servers' files.
func New(client redis.UniversalClient, name string, acks int, fsync bool) *Caller {
	return &Caller{Name: name, client: client, sender: &sender{client: client, patience: usualPatience, acks: acks, fsync: fsync}}
}

func (c *Caller) send(ctx context.Context, cmd redis.Cmder) error {
	if c.Around != nil {
		return c.Around(cmd, func() error { return c.sender.send(ctx, cmd) })
	}
	return c.sender.send(ctx, cmd)
}

// once is a command that go-redis sends at most once. By default it would send it
// again by itself after a lost reply, and nobody would learn that the first
// attempt may have been applied; here the store sends it again, and knows.
type once struct {
	*redis.Cmd
	writes bool // what must not be lost
}

func (once) NoRetry() bool { return true }

// sendScript sends the script once, by its digest or, where the server does not know
// it yet, in full.
func (c *Caller) sendScript(ctx context.Context, script *lua.Script, full []any) (Reply, error) {
	full[0], full[1] = "evalsha", script.SHA()
	cmd := redis.NewCmd(ctx, full...)
	cmd.SetFirstKeyPos(3)
	writes := script.Writes && !script.Losable
	err := c.send(ctx, once{cmd, writes})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		full[0], full[1] = "eval", script.Text()
		cmd = redis.NewCmd(ctx, full...)
		cmd.SetFirstKeyPos(3)
		err = c.send(ctx, once{cmd, writes})
	}
	if err != nil {
		return Reply{}, err
	}
	values, ok := cmd.Val().([]any)
	if !ok || len(values) < 2 {
		return Reply{}, fmt.Errorf("script %s: a reply that is no script's of this version: a %T of %d items", script.Name, cmd.Val(), len(values))
	}
	return NewReply(script, values), nil
}

// lookAround has a cluster's client find out who is the master now, if a node
// cannot be reached. For commands that it may not retry it does not by itself.
func (c *Caller) lookAround(ctx context.Context, err error) {
	var fromServer redis.Error
	if cluster, ok := c.client.(*redis.ClusterClient); ok && !errors.As(err, &fromServer) {
		cluster.ReloadState(ctx)
	}
}
