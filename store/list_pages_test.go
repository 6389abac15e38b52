package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// What was active since a loop began may be most of what there is.
func TestWhatWasActiveMeanwhileIsReadInPages(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	for i := range 1500 {
		_, err := bot.Session(fmt.Sprint(i)).Create(t.Context(), Origin{State: fmt.Sprint("s", i%3)})
		noError(t, err)
	}
	key := st.layout.key("index", place{ref: session.Ref{Bot: "bot"}})
	active := func(by int64) {
		pipe := c.Pipeline()
		for i := range 1500 {
			if by > 0 {
				noError(t, bot.Session(fmt.Sprint(i)).Set(t.Context(), "k", "v"))
			}
			when := time.Now().Add(time.Duration(by) * time.Minute).UnixMilli()
			pipe.ZAdd(t.Context(), key, redis.Z{Score: float64(stored.Place(fmt.Sprint("s", i%3), when)), Member: fmt.Sprint(i)})
		}
		_, err := pipe.Exec(t.Context())
		noError(t, err)
	}
	active(-60)
	most := 0
	st.client.AddHook(pipes{after: func(_ context.Context, cmds []redis.Cmder) {
		for _, cmd := range cmds {
			most = max(most, len(pageOf(cmd)))
		}
	}})
	var list []session.Status
	for status, err := range bot.Sessions(t.Context(), Filter{}) {
		noError(t, err)
		if list = append(list, status); len(list) == 500 {
			active(1)
		}
	}
	distinct(t, "all", list, 1500)
	if most == 0 || most > pageSize {
		t.Errorf("the largest page has %d entries", most)
	}
}

// The end of a lease that is renewed comes later, and a session whose lease was over
// when somebody looked stands in another list.
func TestALoopOverWhatIsHeldMissesNoneWhoseLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 2, Lease: time.Hour})
	bot := botOf(t, st, "bot", nil)
	const n = 60
	ctx, cancel := context.WithCancel(t.Context())
	var updates sync.WaitGroup
	defer updates.Wait()
	defer cancel()
	entered := make(chan struct{})
	for i := range n {
		sessionsOf(t, bot, fmt.Sprint(i), 1)
		updates.Go(func() {
			_, _ = bot.Update(ctx, fmt.Sprint(i, " 0"), func(ctx context.Context, _ *Turn) error {
				entered <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			})
		})
		<-entered
	}
	now := time.Now().UnixMilli()
	put := func(id, list string, when int64) {
		at := st.layout.place(session.Ref{Bot: "bot", ID: id})
		bell := "hbot/" + id
		noError(t, c.ZRem(t.Context(), st.layout.key("due", at), id).Err())
		noError(t, c.ZRem(t.Context(), st.layout.key("bells", at), bell).Err())
		if list == "bells" {
			id = bell
		}
		noError(t, c.ZAdd(t.Context(), st.layout.key(list, at), redis.Z{Score: float64(when), Member: id}).Err())
	}
	for i := range n {
		put(fmt.Sprint(i, " 0"), []string{"due", "bells"}[i%2], now+int64(i))
	}
	for _, parts := range []int{1, 3} {
		times, cursor := map[string]int{}, ""
		for part := range parts {
			for status, err := range bot.Sessions(t.Context(), Filter{Held: true}.After(cursor)) {
				noError(t, err)
				times[status.Ref.ID]++
				cursor = status.Cursor
				now += 100
				for i := range 6 { // some that were listed, and some that were not
					put(fmt.Sprint((len(times)+i*n/6)%n, " 0"), []string{"due", "bells"}[i%2], now+int64(i))
				}
				if len(times) >= n/3*(part+1) && part < parts-1 {
					break
				}
			}
		}
		for i := range n {
			if got := times[fmt.Sprint(i, " 0")]; got < 1 || got > 1 && parts == 1 {
				t.Errorf("in %d parts, the session %d is listed %d times", parts, i, got)
			}
		}
	}
}

// A turn may say of itself that it ended up to a second before it did, and so before a
// loop began that has passed its minute by then.
func TestATurnThatEndedAMomentBeforeALoopBeganIsListed(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	key := st.layout.key("index", place{ref: session.Ref{Bot: "bot"}})
	stands := func(id string, when time.Time) {
		noError(t, c.ZAdd(t.Context(), key, redis.Z{Score: float64(stored.Place("s", when.UnixMilli())), Member: id}).Err())
	}
	for i := range 700 {
		id := fmt.Sprintf("%03d", i)
		_, err := bot.Session(id).Create(t.Context(), Origin{State: "s"})
		noError(t, err)
		stands(id, time.Now().Add(-time.Hour))
	}
	noError(t, bot.Session("000").Set(t.Context(), "k", "v"))
	stands("000", time.Now().Add(-time.Hour)) // as its turn had not ended yet
	time.Sleep(2 * time.Millisecond)
	var list []session.Status
	for status, err := range bot.Sessions(t.Context(), Filter{}) {
		noError(t, err)
		if list = append(list, status); len(list) == 100 {
			stands("000", time.Now())
		}
	}
	distinct(t, "all", list, 700)
}

// Of one minute, sessions come in the order of the bytes of their ids, wherever a cursor
// stands.
func TestACursorGoesOnBehindAnIDThatIsGone(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	names := []string{"\x00", "\x00a", " ", "A", "B", "Z", "a", "a\x00", "a\x00b", "aa", "b", "é", "\u0301", "日", "\U0001f600"}
	for _, list := range []struct {
		f   Filter
		key string
	}{{Filter{}, "index"}, {Filter{IdleSince: time.Now().Add(time.Hour)}, "index"}, {Filter{Waiting: true}, "waits"}} {
		for _, id := range names {
			if list.f.Waiting {
				_, err := bot.Accept(t.Context(), id, session.Event{ID: "1", Text: "hi"})
				noError(t, err)
			} else {
				_, err := bot.Session(id).Create(t.Context(), Origin{State: "s"})
				noError(t, err)
			}
		}
		key := st.layout.key(list.key, place{ref: session.Ref{Bot: "bot"}})
		for _, id := range names {
			noError(t, c.ZAdd(t.Context(), key, redis.Z{Score: float64(stored.Place("s", 1.7e12)), Member: id}).Err())
		}
		var listed []string
		for cursor := ""; ; {
			page, err := Gather(first(1, bot.Sessions(t.Context(), list.f.After(cursor))))
			noError(t, err)
			if len(page) == 0 {
				break
			}
			listed = append(listed, page[0].Ref.ID)
			cursor = page[0].Cursor
			_, err = bot.Session(page[0].Ref.ID).Destroy(t.Context())
			noError(t, err)
		}
		want := slices.Sorted(slices.Values(names))
		if list.f == (Filter{}) {
			slices.Reverse(want)
		}
		if !slices.Equal(listed, want) {
			t.Errorf("%+v: listed are %q, want %q", list.f, listed, want)
		}
	}
}

// A score that no script writes must not keep a loop from its end.
func TestALoopEndsThoughAScoreIsDamaged(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "s", 300)
	for _, list := range []string{"index", "waits", "dead", "due"} {
		key := st.layout.key(list, place{ref: session.Ref{Bot: "bot"}})
		for i := range 300 {
			noError(t, c.ZAdd(t.Context(), key, redis.Z{Score: []float64{math.Inf(-1), 1.5, 1e300, math.Inf(1)}[i%4], Member: fmt.Sprint("s ", i)}).Err())
		}
	}
	for _, f := range []Filter{{}, {IdleSince: time.Now().Add(time.Hour)}, {Waiting: true}, {Dead: true}, {Held: true}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range bot.Sessions(ctx, f) {
		}
		if ctx.Err() != nil {
			t.Errorf("%+v does not end", f)
		}
	}
}
