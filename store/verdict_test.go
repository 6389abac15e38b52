package store

import (
	"math"
	"testing"
	"time"
)

func TestThePausesOfLaterDoubleUpToAMinute(t *testing.T) {
	t.Parallel()
	for backoff, want := range map[time.Duration][]time.Duration{
		time.Second:   {1, 2, 4, 8, 16, 32, 60, 60, 60},
		7 * time.Hour: {60, 60},
		math.MaxInt64: {60, 60},
	} {
		o, waited := BotOptions{Backoff: backoff}, time.Duration(0)
		for i, seconds := range want {
			if got := o.pause(waited); got != seconds*time.Second {
				t.Errorf("back-off %v: pause %d is %v, want %d s", backoff, i+1, got, seconds)
			}
			waited += seconds * time.Second
		}
		if got := o.pause(math.MaxInt64); got != time.Minute {
			t.Errorf("back-off %v: the last pause is %v", backoff, got)
		}
	}
}
