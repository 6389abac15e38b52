package call

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A server whose clock shows more than is known of it is believed. One that shows less
// is not: the clock of another server of a cluster may.
func TestAnEstimateOfAClockIsRaisedAndNotLowered(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	c := New(client, "caller", 0, false)
	c.Clock = NewClock(2)
	shows := time.Now()
	server.SetTime(shows)
	if err := c.SyncClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ahead := shows.Add(time.Hour)
	c.Clock.Heard(1, ahead.UnixMilli())
	behind := func() (by [2]time.Duration) {
		for i := range by {
			by[i] = ahead.Sub(c.Clock.Now(i)).Round(time.Minute)
		}
		return by
	}
	for _, step := range []struct {
		server time.Time
		behind [2]time.Duration
	}{
		{shows, [2]time.Duration{time.Hour, 0}},
		{shows.Add(30 * time.Minute), [2]time.Duration{30 * time.Minute, 0}},
		{shows.Add(2 * time.Hour), [2]time.Duration{-time.Hour, -time.Hour}},
		{shows, [2]time.Duration{-time.Hour, -time.Hour}},
	} {
		server.SetTime(step.server)
		if err := c.RaiseClock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if by := behind(); by != step.behind {
			t.Errorf("where the server shows %v the estimates are behind by %v, want %v", step.server, by, step.behind)
		}
	}
}
