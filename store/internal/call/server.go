package call

import (
	"context"
	"errors"
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
func (c *Caller) Cluster() bool {
	_, cluster := c.client.(*redis.ClusterClient)
	return cluster
}

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

// Scan calls f with the server's keys that fit a pattern, some perhaps twice.
func (s Server) Scan(ctx context.Context, pattern string, f func(key string)) error {
	keys := s.client.Scan(ctx, 0, pattern, 1000).Iterator()
	for keys.Next(ctx) {
		f(keys.Val())
	}
	return keys.Err()
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
