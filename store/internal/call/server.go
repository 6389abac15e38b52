package call

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
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

// Blame adds to an error which of a cluster's masters do not reply, if the error does
// not say so: another node replied that the cluster is down, or time was over. It
// takes two seconds at most.
func (c *Caller) Blame(err error) error {
	if !c.Cluster() || err == nil || !redis.HasErrorPrefix(err, "CLUSTERDOWN") && !TimeOver(err) {
		return err
	}
	second := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Second)
	}
	ctx, cancel := second()
	defer cancel()
	var mu sync.Mutex
	var silent []string
	_ = c.EachServer(ctx, func(_ context.Context, server Server) error {
		ctx, cancel := second() // the first may be over: asking the silent one which servers there are
		defer cancel()
		if err := server.Try(ctx, "PING"); err != nil && !FromServer(err) {
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, server.Addr)
		}
		return nil
	})
	if len(silent) == 0 {
		return err
	}
	slices.Sort(silent)
	return fmt.Errorf("no reply from %s: %w", strings.Join(silent, ", "), err)
}

// Info returns what the server tells of itself.
func (s Server) Info(ctx context.Context, sections ...string) (string, error) {
	return s.client.Info(ctx, sections...).Result()
}

// Time returns the server's time.
func (s Server) Time(ctx context.Context) (time.Time, error) { return s.client.Time(ctx).Result() }

// SlowCalls counts the entries of the server's slow log.
func (s Server) SlowCalls(ctx context.Context) (int64, error) {
	return s.do(ctx, "SLOWLOG", "LEN").Int64()
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

// A Heard is something that a Subscription brings.
type Heard struct {
	Channel string
	Text    string // Text is what was published; empty if Begins.
	Begins  bool   // Begins is whether the channel is heard from now on: for the first time, or because the connection was lost.
}

// A Subscription is what is published to some channels. Unlike Listen it tells when
// something may be missing.
type Subscription struct {
	C     <-chan any // C is closed with the client. Read what it brings by Read.
	first any
	sub   *redis.PubSub
}

// Subscribe begins a Subscription; its error is the server's reply or the network's.
// It ends with ctx or by Close.
func (c *Caller) Subscribe(ctx context.Context, channels ...string) (*Subscription, error) {
	sub := c.client.Subscribe(ctx, channels...)
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	first, err := sub.ReceiveTimeout(ctx, 5*time.Second)
	if err != nil {
		stop()
		_ = sub.Close()
		return nil, err
	}
	return &Subscription{C: sub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(10 * time.Second)), first: first, sub: sub}, nil
}

// First is what came first.
func (s *Subscription) First() Heard { return s.Read(s.first) }

// Read reads what came from C.
func (s *Subscription) Read(item any) Heard {
	switch item := item.(type) {
	case *redis.Subscription:
		return Heard{Channel: item.Channel, Begins: item.Kind == "subscribe"}
	case *redis.Message:
		return Heard{Channel: item.Channel, Text: item.Payload}
	}
	return Heard{}
}

// Close ends it.
func (s *Subscription) Close() error { return s.sub.Close() }
