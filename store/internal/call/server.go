package call

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Server is one of those on which a store is: the only one, or a cluster's
// master.
type Server struct {
	Addr   string // Addr is empty if it is the only one
	client redis.Cmdable
	do     func(ctx context.Context, words ...any) *redis.Cmd
}

// Cluster tells whether there may be several servers.
func (c *Caller) Cluster() bool { return isCluster(c.client) }

// EachServer calls f for each server, for several of them at once.
func (c *Caller) EachServer(ctx context.Context, f func(context.Context, Server) error) error {
	if cluster, ok := c.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, client *redis.Client) error {
			return f(ctx, Server{client.Options().Addr, client, client.Do})
		})
	}
	return f(ctx, Server{"", c.client, c.client.Do})
}

// Info returns what the server tells of itself.
func (s Server) Info(ctx context.Context, sections ...string) (string, error) {
	return s.client.Info(ctx, sections...).Result()
}

// Try runs a command for its error alone.
func (s Server) Try(ctx context.Context, words ...any) error { return s.do(ctx, words...).Err() }

// Scan reads the server's keys that fit a pattern, about so many at a time, some
// perhaps twice. An error is the last.
func (s Server) Scan(ctx context.Context, pattern string, n int64) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for from := uint64(0); ; {
			keys, next, err := s.client.Scan(ctx, from, pattern, n).Result()
			if !yield(keys, err) || err != nil || next == 0 {
				return
			}
			from = next
		}
	}
}

// FromServer tells whether an error is a server's reply.
func FromServer(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// Listen returns what is published to a channel, until the client is closed, and
// what ends it. A connection that is lost is made again.
func (c *Caller) Listen(ctx context.Context, channel string) (messages <-chan *redis.Message, end func() error) {
	sub := c.client.Subscribe(ctx, channel)
	return sub.Channel(redis.WithChannelHealthCheckInterval(10 * time.Second)), sub.Close
}
