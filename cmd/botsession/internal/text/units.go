package text

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
)

// Duration writes a duration in its two largest units: 3d4h, 5m12s, 8s.
func Duration(d time.Duration) string {
	d = d.Abs().Truncate(time.Second)
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		n := d / u.size
		if n == 0 && u.name != "s" {
			continue
		}
		text := fmt.Sprintf("%d%s", n, u.name)
		if i+1 < len(units) {
			if m := (d - n*u.size) / units[i+1].size; m > 0 {
				text += fmt.Sprintf("%d%s", m, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// Count writes a number with its noun: "1 reply", "1,204 replies".
func Count[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Comma(int64(n)) + " " + many
}
