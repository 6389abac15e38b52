package call

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Clock knows, for each bucket, what the clock of its server shows at least.
// It is needed for one thing: each request that writes carries a deadline in
// the server's time, so that a request which arrives after its caller gave up
// changes nothing. The local clock is used only to measure how long ago the
// server was last heard, never to tell the time, so it may be wrong by any
// amount.
type Clock struct {
	epoch   time.Time      // the local moment from which offsets count
	offsets []atomic.Int64 // server's ms when heard, less local ms since epoch
}

// NewClock returns a clock for so many buckets.
func NewClock(buckets int) *Clock {
	return &Clock{epoch: time.Now(), offsets: make([]atomic.Int64, buckets)}
}

// Heard notes the time that a server's reply carried. The reply took a while to
// arrive, so the server's clock shows more by now: the estimate is never ahead.
func (c *Clock) Heard(bucket int, serverMillis int64) {
	c.offsets[bucket].Store(serverMillis - time.Since(c.epoch).Milliseconds() - 1)
}

// At returns what the bucket's server will show, at least, at a local moment.
func (c *Clock) At(bucket int, t time.Time) int64 {
	return c.offsets[bucket].Load() + t.Sub(c.epoch).Milliseconds()
}

// Now returns the server's time as of now, never ahead of it.
func (c *Clock) Now(bucket int) time.Time { return time.UnixMilli(c.At(bucket, time.Now())) }

// SyncClock asks every server that may hold a bucket, and begins with the least
// of their answers: an estimate that is too low costs one more round trip, one
// that is too high would let a late request through.
func (c *Caller) SyncClock(ctx context.Context) error {
	least, err := c.leastClock(ctx)
	if err != nil {
		return err
	}
	for i := range c.Clock.offsets {
		c.Clock.offsets[i].Store(least)
	}
	return nil
}

// RaiseClock asks as SyncClock does, and raises the estimates that are lower: as after a
// machine was asleep, or where another server has taken over.
func (c *Caller) RaiseClock(ctx context.Context) error {
	least, err := c.leastClock(ctx)
	if err != nil {
		return err
	}
	for i := range c.Clock.offsets {
		offset := &c.Clock.offsets[i]
		if was := offset.Load(); was < least {
			offset.CompareAndSwap(was, least) // else a reply was heard meanwhile
		}
	}
	return nil
}

// leastClock is the least offset of all servers that may hold a bucket.
func (c *Caller) leastClock(ctx context.Context) (int64, error) {
	var mu sync.Mutex
	var least int64
	err := c.EachServer(ctx, func(ctx context.Context, server Server) error {
		t, err := server.client.Time(ctx).Result()
		if err != nil {
			return err
		}
		offset := t.UnixMilli() - time.Since(c.Clock.epoch).Milliseconds() - 1
		mu.Lock()
		defer mu.Unlock()
		if least == 0 || offset < least {
			least = offset
		}
		return nil
	})
	return least, err
}
