package stored

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
)

// servers are a client of each kind of server on which the scripts run.
func servers(t *testing.T) map[string]*redis.Client {
	urls := map[string]string{"miniredis": "redis://" + miniredis.RunT(t).Addr(), "server": redistest.Single(t)}
	clients := map[string]*redis.Client{}
	for what, url := range urls {
		opts, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		clients[what] = redis.NewClient(opts)
		t.Cleanup(func() { clients[what].Close() })
	}
	return clients
}

// script is the code that follows those pieces of the scripts' prelude.
func script(t *testing.T, code string, pieces ...string) string {
	t.Helper()
	var text strings.Builder
	for _, piece := range pieces {
		b, err := os.ReadFile("../../../lua/prelude/" + piece + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String() + code
}

func TestGoAndLuaMakeTheSamePlaces(t *testing.T) {
	t.Parallel()
	text := script(t, "return int(place(ARGV[1], tonumber(ARGV[2])))", "clock", "index")
	states := []string{"", "start", "a\x00b", "\xff\xfe", "perché", "😀", strings.Repeat("x", session.MaxState)}
	for i := range 50 {
		states = append(states, fmt.Sprint("state ", i))
	}
	now := time.Date(2026, time.March, 1, 12, 30, 59, 999e6, time.UTC).UnixMilli()
	moments := []int64{-1, 0, 59_999, MinuteStart(0) - 1, MinuteStart(0), MinuteStart(1) - 1, MinuteStart(1), now, now + 1, MinuteStart(LastMinute), MinuteStart(LastMinute + 1), 1 << 50}
	for server, client := range servers(t) {
		for _, state := range states {
			for _, ms := range moments {
				got, err := client.Eval(t.Context(), text, nil, state, ms).Int64()
				if want := Place(state, ms); err != nil || got != want {
					t.Fatalf("%s: the place of %q at %d is %d in Lua, %d in Go: %v", server, state, ms, got, want, err)
				}
			}
		}
	}
}

func TestAPlaceIsOfItsStateAndMinute(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.March, 1, 12, 30, 59, 999e6, time.UTC)
	for _, state := range []string{"", "start", "end"} {
		first, last := Places(state)
		place := Place(state, at.UnixMilli())
		of, minute := PlaceParts(place)
		if start := MinuteStart(minute); place < first || place > last || of != first || start != at.Truncate(time.Minute).UnixMilli() {
			t.Errorf("the place of %q, %d, is of %d and of %v", state, place, of, time.UnixMilli(start).UTC())
		}
		if next := Place(state, at.UnixMilli()+1); next != place+1 {
			t.Errorf("the place of %q in the next minute is %d, this one %d", state, next, place)
		}
		if first%(LastMinute+1) != 0 || last-first != LastMinute || last > LastPlace {
			t.Errorf("the places of %q are %d to %d", state, first, last)
		}
		if early, late := Place(state, math.MinInt64), Place(state, math.MaxInt64); early != first || late != last {
			t.Errorf("the places of %q are %d to %d, those of the first and the last moment %d and %d", state, first, last, early, late)
		}
	}
	if int64(float64(LastPlace)) != LastPlace || float64(LastPlace) == float64(LastPlace-1) {
		t.Error("a score does not hold the last place")
	}
}
