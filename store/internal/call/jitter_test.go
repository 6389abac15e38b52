package call

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPausesDifferAndAMomentThatComesAgainHasTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &Caller{Name: "a"}, &Caller{Name: "b"}
		first := a.Jitter(time.Hour, "u1")
		if again := a.Jitter(time.Hour, "u1"); again != first {
			t.Errorf("at the same moment %v, and then %v", first, again)
		}
		for who, pause := range map[string]time.Duration{"another replica": b.Jitter(time.Hour, "u1"), "another session": a.Jitter(time.Hour, "u2")} {
			if pause == first {
				t.Errorf("%s has the same pause, %v", who, pause)
			}
		}
		var spread [10]int
		for range 1000 {
			time.Sleep(time.Nanosecond)
			spread[a.Jitter(10*time.Second, "u1")/time.Second]++
		}
		for second, n := range spread {
			if n < 50 || n > 150 {
				t.Errorf("of 1000 pauses under 10 s %d take %d s and some", n, second)
			}
		}
	})
}
