package text

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 900 * time.Millisecond, "1s": time.Second, "59s": 59 * time.Second, "1m": time.Minute, "5m12s": 312 * time.Second,
		"2h": 2*time.Hour + 59*time.Second, "2h1m": 2*time.Hour + time.Minute, "3d4h": 76*time.Hour + 59*time.Minute, "30d": 720 * time.Hour,
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]int{"0 replies": 0, "1 reply": 1, "1,204 replies": 1204} {
		if got := Count(n, "reply", "replies"); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
}
