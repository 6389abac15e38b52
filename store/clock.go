package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A clock knows, for each bucket, what the clock of its server shows at least.
// It is needed for one thing: each request that writes carries a deadline in
// the server's time, so that a request which arrives after its caller gave up
// changes nothing. The local clock is used only to measure how long ago the
// server was last heard, never to tell the time, so it may be wrong by any
// amount.
type clock struct {
	epoch   time.Time      // the local moment from which offsets count
	offsets []atomic.Int64 // server's ms when heard, less local ms since epoch
}

func newClock(buckets int) *clock {
	return &clock{epoch: time.Now(), offsets: make([]atomic.Int64, buckets)}
}

// heard notes the time that a server's reply carried. The reply took a while to
// arrive, so the server's clock shows more by now: the estimate is never ahead.
func (c *clock) heard(bucket int, serverMillis int64) {
	c.offsets[bucket].Store(serverMillis - time.Since(c.epoch).Milliseconds() - 1)
}

// at returns what the bucket's server will show, at least, at a local moment.
func (c *clock) at(bucket int, t time.Time) int64 {
	return c.offsets[bucket].Load() + t.Sub(c.epoch).Milliseconds()
}

// now returns the server's time as of now, never ahead of it.
func (c *clock) now(bucket int) time.Time { return time.UnixMilli(c.at(bucket, time.Now())) }

// syncClock asks every server that may hold a bucket, and begins with the least
// of their answers: an estimate that is too low costs one more round trip, one
// that is too high would let a late request through.
func (s *Store) syncClock(ctx context.Context) error {
	var mu sync.Mutex
	var least int64
	ask := func(ctx context.Context, c redis.Cmdable) error {
		t, err := c.Time(ctx).Result()
		if err != nil {
			return err
		}
		offset := t.UnixMilli() - time.Since(s.clock.epoch).Milliseconds() - 1
		mu.Lock()
		defer mu.Unlock()
		if least == 0 || offset < least {
			least = offset
		}
		return nil
	}
	var err error
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	} else {
		err = ask(ctx, s.client)
	}
	if err != nil {
		return err
	}
	for i := range s.clock.offsets {
		s.clock.offsets[i].Store(least)
	}
	return nil
}
