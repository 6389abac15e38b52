package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// pipes is a hook that sees each pipeline, and each single command as a pipeline of
// one, before and after it is run, and may have single commands fail.
type pipes struct {
	fails func(cmd redis.Cmder) error
	after func(ctx context.Context, cmds []redis.Cmder)
}

func (pipes) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p pipes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		one := p.ProcessPipelineHook(func(ctx context.Context, cmds []redis.Cmder) error { return next(ctx, cmds[0]) })
		return one(ctx, []redis.Cmder{cmd})
	}
}

func (p pipes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var reach []redis.Cmder
		var first error
		for _, cmd := range cmds {
			if p.fails != nil {
				if err := p.fails(cmd); err != nil {
					cmd.SetErr(err)
					first = err
					continue
				}
			}
			reach = append(reach, cmd)
		}
		if len(reach) > 0 {
			if err := next(ctx, reach); err != nil && first == nil {
				first = err
			}
		}
		if p.after != nil {
			p.after(ctx, cmds)
		}
		return first
	}
}

// pageOf returns the entries that a page of a list has, each an id and its score; none
// of any other command.
func pageOf(cmd redis.Cmder) (entries [][]any) {
	if len(cmd.Args()) < 2 || cmd.Args()[1] != lua.Page.SHA() && cmd.Args()[1] != lua.Page.Text() {
		return nil
	}
	reply, err := cmd.(*redis.Cmd).Slice()
	if err != nil {
		return nil
	}
	return slices.Collect(slices.Chunk(reply[4].([]any), 2))
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sessionsOf creates n sessions in a state, the one with number 0 first.
func sessionsOf(t *testing.T, bot *Bot, state string, n int) {
	t.Helper()
	for i := range n {
		_, err := bot.Session(fmt.Sprint(state, " ", i)).Create(t.Context(), Origin{State: state})
		noError(t, err)
	}
}

// distinct checks that a list has so many sessions, each of them once.
func distinct(t *testing.T, what string, list []session.Status, want int) {
	t.Helper()
	seen := map[string]bool{}
	for _, st := range list {
		seen[st.Ref.ID] = true
	}
	if len(list) != want || len(seen) != want {
		t.Errorf("%s: %d entries of %d sessions, want %d", what, len(list), len(seen), want)
	}
}

// first is the beginning of a list.
func first[T any](most int, list iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for item, err := range list {
			if n++; !yield(item, err) || n == most {
				return
			}
		}
	}
}

func TestSessionsReadsNoMoreOfALargeIndexThanItNeeds(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 4})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "rare", 3)
	sessionsOf(t, bot, "common", 1000)
	for i := range 300 {
		id := fmt.Sprint("common ", i)
		for _, list := range []string{"waits", "dead", "due"} {
			at := st.layout.place(session.Ref{Bot: "bot", ID: id})
			noError(t, c.ZAdd(t.Context(), st.layout.key(list, at), redis.Z{Score: float64(time.Now().UnixMilli()), Member: id}).Err())
		}
	}
	_, err := bot.Accept(t.Context(), "rare 0", session.Event{ID: "1", Text: "hi"})
	noError(t, err)
	at := st.layout.place(session.Ref{Bot: "bot", ID: "rare 0"})
	noError(t, c.ZAdd(t.Context(), st.layout.key("waits", at), redis.Z{Score: 1, Member: "rare 0"}).Err()) // the longest wait
	var read atomic.Int64
	st.client.AddHook(pipes{after: func(_ context.Context, cmds []redis.Cmder) {
		for _, cmd := range cmds {
			switch {
			case cmd.Name() == "evalsha" && cmd.Args()[1] == lua.Status.SHA():
				read.Add(1)
			default:
				read.Add(int64(len(pageOf(cmd))))
			}
		}
	}})
	hourAgo, inAnHour := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, c := range []struct {
		f          Filter
		most, want int
	}{
		{Filter{}, 5, 5}, {Filter{State: "common"}, 5, 5}, {Filter{State: "rare"}, 2, 2}, {Filter{State: "rare"}, 100, 3}, {Filter{User: "nobody"}, 5, 0},
		{Filter{IdleSince: inAnHour}, 5, 5}, {Filter{IdleSince: inAnHour, State: "rare"}, 100, 3}, {Filter{IdleSince: hourAgo}, 5, 0},
		{Filter{ActiveSince: hourAgo}, 5, 5}, {Filter{ActiveSince: hourAgo, State: "rare"}, 100, 3}, {Filter{ActiveSince: inAnHour}, 5, 0},
		{Filter{Waiting: true}, 1, 1}, {Filter{Dead: true}, 5, 5},
	} {
		read.Store(0)
		list, err := Gather(first(c.most, bot.Sessions(t.Context(), c.f)))
		noError(t, err)
		distinct(t, fmt.Sprint(c.f), list, c.want)
		if read.Load() > 100 {
			t.Errorf("%+v read %d entries and sessions of about 1,000", c.f, read.Load())
		}
	}
}

func TestSessionsMissesNoneBecauseOthersAreRemovedOrActiveMeanwhile(t *testing.T) {
	t.Parallel()
	for _, f := range []Filter{{}, {State: "s"}} {
		url := redistest.Single(t)
		c := client(t, url)
		st := opened(t, url, &Options{Buckets: 1})
		bot := botOf(t, st, "bot", nil)
		at := place{ref: session.Ref{Bot: "bot"}}
		sessionsOf(t, bot, "s", 300)
		sessionsOf(t, bot, "gone", 250)
		for i := range 250 { // as Redis itself drops them: the index still has them
			noError(t, c.Del(t.Context(), st.layout.key("session", st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("gone ", i)}))).Err())
		}
		pages := 0
		st.client.AddHook(pipes{after: func(ctx context.Context, cmds []redis.Cmder) {
			entries := pageOf(cmds[0])
			if len(entries) == 0 {
				return
			}
			if pages++; pages > 3 {
				return
			}
			for _, entry := range entries { // what was read goes, or goes to the front
				id := entry[0].(string)
				score, _ := strconv.ParseFloat(entry[1].(string), 64)
				if strings.HasPrefix(id, "gone ") {
					c.ZRem(ctx, st.layout.key("index", at), id)
				} else if err := bot.Session(id).Set(ctx, "k", "v"); err != nil {
					t.Error(err)
				} else {
					c.ZAdd(ctx, st.layout.key("index", at), redis.Z{Score: score + 60, Member: id})
				}
			}
		}})
		list, err := Gather(bot.Sessions(t.Context(), f))
		noError(t, err)
		distinct(t, fmt.Sprint(f), list, 300)
		if pages < 4 {
			t.Errorf("%+v: %d pages were read, and none after those that changed", f, pages)
		}
	}
}

// A session that is active after the walk passed its new place, and before it came to
// the old one, must not fall between the two, and not behind a cursor either.
func TestALoopComesInTheEndToWhatWasActiveMeanwhile(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 2})
	for _, parts := range []int{1, 3} {
		bot := botOf(t, st, fmt.Sprint("bot", parts), nil)
		sessionsOf(t, bot, "s", 300)
		active := func(id string, ago time.Duration) {
			at := st.layout.place(session.Ref{Bot: bot.name, ID: id})
			when := st.caller.Clock.Now(at.bucket).Add(-ago).UnixMilli()
			noError(t, c.ZAdd(t.Context(), st.layout.key("index", at), redis.Z{Score: float64(stored.Place("s", when)), Member: id}).Err())
		}
		for i := range 300 {
			active(fmt.Sprint("s ", i), time.Hour)
		}
		times, read := map[string]int{}, 0
		moved := map[string]bool{}
		cursor := ""
		for part := range parts {
			for status, err := range bot.Sessions(t.Context(), Filter{}.After(cursor)) {
				noError(t, err)
				times[status.Ref.ID]++
				if read++; read%10 == 0 { // one that was listed, and one that perhaps was not
					for _, id := range []string{status.Ref.ID, fmt.Sprint("s ", read%300)} {
						noError(t, bot.Session(id).Set(t.Context(), "k", "v"))
						active(id, -time.Minute)
						moved[id] = true
					}
				}
				if cursor = status.Cursor; read == 100*(part+1) && part < parts-1 {
					break
				}
			}
		}
		for i := range 300 {
			id := fmt.Sprint("s ", i)
			if n := times[id]; n < 1 || n > 1 && (parts == 1 || !moved[id]) {
				t.Errorf("in %d parts, %s (active meanwhile: %t) is listed %d times", parts, id, moved[id], n)
			}
		}
	}
}

func TestSessionsComeByTheMinuteOfTheirLastActivityTheLatestFirst(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 4})
	bot := botOf(t, st, "bot", nil)
	now := time.Now()
	var ids []string
	for i := range 120 {
		id, state := fmt.Sprint((i*7)%120), fmt.Sprint("s", i%3)
		_, err := bot.Session(id).Create(t.Context(), Origin{State: state})
		noError(t, err)
		at := st.layout.place(session.Ref{Bot: "bot", ID: id})
		when := stored.Place(state, now.Add(-time.Duration(i)*time.Minute).UnixMilli())
		noError(t, c.ZAdd(t.Context(), st.layout.key("index", at), redis.Z{Score: float64(when), Member: id}).Err())
		ids = append(ids, id)
	}
	for f, want := range map[Filter]func(i int) bool{
		{}:            func(int) bool { return true },
		{State: "s1"}: func(i int) bool { return i%3 == 1 },
	} {
		var order []string
		for i, id := range ids {
			if want(i) {
				order = append(order, id)
			}
		}
		var list []string
		for status, err := range bot.Sessions(t.Context(), f) {
			noError(t, err)
			list = append(list, status.Ref.ID)
		}
		if !slices.Equal(list, order) {
			t.Errorf("%+v: listed are %v, want %v", f, list, order)
		}
	}
}

func TestSessionsReturnsEachOfManySessionsOfOneMinuteOnce(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "s", 700)
	key := st.layout.key("index", place{ref: session.Ref{Bot: "bot"}})
	for _, id := range c.ZRange(t.Context(), key, 0, -1).Val() {
		noError(t, c.ZAdd(t.Context(), key, redis.Z{Score: float64(stored.Place("s", 1.7e12)), Member: id}).Err())
	}
	for limit, want := range map[int]int{1: 1, 300: 300, 699: 699, 700: 700, 701: 700} {
		list, err := Gather(first(limit, bot.Sessions(t.Context(), Filter{})))
		noError(t, err)
		distinct(t, fmt.Sprint("limit ", limit), list, want)
	}
	var list []session.Status
	for cursor := ""; ; cursor = list[len(list)-1].Cursor {
		page, err := Gather(first(150, bot.Sessions(t.Context(), Filter{State: "s"}.After(cursor))))
		noError(t, err)
		if list = append(list, page...); len(page) < 150 {
			break
		}
	}
	distinct(t, "in parts", list, 700)
}

// A session that moves from state to state while a loop goes over them must not be
// always where the loop is not.
func TestALoopOverAllStatesMissesNoSessionThatMoves(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), &Options{Buckets: 2})
	for _, parts := range []int{1, 3} {
		bot := botOf(t, st, fmt.Sprint("bot", parts), nil)
		for i := range 300 {
			_, err := bot.Session(fmt.Sprint(i)).Create(t.Context(), Origin{State: fmt.Sprint("s", i%7)})
			noError(t, err)
		}
		seen, read, cursor := map[string]bool{}, 0, ""
		for part := range parts {
			for status, err := range bot.Sessions(t.Context(), Filter{}.After(cursor)) {
				noError(t, err)
				seen[status.Ref.ID] = true
				for i := range 5 { // also in the end, when the loop comes to those that moved
					id := fmt.Sprint((7*read + 60*i) % 300)
					_, err := bot.Session(id).Apply(t.Context(), session.Change{Moves: []string{fmt.Sprint("s", (read+i)%9)}})
					noError(t, err)
				}
				read++
				if cursor = status.Cursor; read == 100*(part+1) && part < parts-1 {
					break
				}
			}
		}
		for i := range 300 {
			if id := fmt.Sprint(i); !seen[id] {
				t.Errorf("in %d parts, the session %s is not listed", parts, id)
			}
		}
	}
}

// twins are two states whose names have the same places.
func twins(t *testing.T) (one, other string) {
	names := map[int64]string{}
	for i := range 1_000_000 {
		name := fmt.Sprint("state ", i)
		first, _ := stored.Places(name)
		if names[first] != "" {
			return names[first], name
		}
		names[first] = name
	}
	t.Fatal("a million states, and no two with the same places")
	return "", ""
}

func TestStatesWithTheSamePlacesAreListedApartAndCountedTogether(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), &Options{Buckets: 4})
	bot := botOf(t, st, "bot", nil)
	one, other := twins(t)
	sessionsOf(t, bot, one, 20)
	sessionsOf(t, bot, other, 10)
	sessionsOf(t, bot, "third", 5)
	for f, want := range map[Filter]int{{}: 35, {State: one}: 20, {State: other}: 10, {State: "third"}: 5} {
		list, err := Gather(bot.Sessions(t.Context(), f))
		noError(t, err)
		distinct(t, fmt.Sprint(f), list, want)
	}
	counts, err := bot.Counts(t.Context())
	noError(t, err)
	if counts.Sessions != 35 || len(counts.States) != 2 || counts.States[one]+counts.States[other] != 30 || counts.States["third"] != 5 {
		t.Errorf("%+v", counts)
	}
}

func TestCountsNamesAStateThoughHashesOfItAreGone(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "s", 30)
	sessionsOf(t, bot, "none is left", 2)
	gone := func(id string) {
		noError(t, c.Del(t.Context(), st.layout.key("session", st.layout.place(session.Ref{Bot: "bot", ID: id}))).Err())
	}
	for i := range 29 {
		gone(fmt.Sprint("s ", i))
	}
	gone("none is left 0")
	gone("none is left 1")
	counts, err := bot.Counts(t.Context())
	noError(t, err)
	if counts.Sessions != 32 || len(counts.States) != 1 || counts.States["s"] != 30 {
		t.Errorf("%+v", counts)
	}
}

func TestWhatCannotBeReadHidesNothingElseOfSessionsAndCounts(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 4})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "s", 40)
	damaged := session.Ref{Bot: "bot", ID: "s 7"}
	noError(t, c.Set(t.Context(), st.layout.key("history", st.layout.place(damaged)), "no list", 0).Err())
	for _, f := range []Filter{{}, {State: "s"}} {
		list, err := Gather(bot.Sessions(t.Context(), f))
		distinct(t, fmt.Sprint(f), list, 39)
		if !errors.Is(err, session.ErrCorrupt) || !strings.Contains(err.Error(), damaged.String()) || !strings.Contains(err.Error(), "history") {
			t.Errorf("%+v: the error does not name the history of %s: %v", f, damaged, err)
		}
	}
	noError(t, c.Del(t.Context(), st.layout.key("history", st.layout.place(damaged))).Err())

	down := errors.New("that server is down")
	st.client.AddHook(pipes{fails: func(cmd redis.Cmder) error {
		if slices.ContainsFunc(cmd.Args(), func(arg any) bool {
			text, ok := arg.(string)
			return ok && strings.HasPrefix(text, st.layout.tags[2])
		}) {
			return down
		}
		return nil
	}})
	reached := 0
	for i := range 40 {
		if st.layout.place(session.Ref{Bot: "bot", ID: fmt.Sprint("s ", i)}).bucket != 2 {
			reached++
		}
	}
	partial := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, down) || !strings.Contains(err.Error(), "partial: 1 of 4 buckets") {
			t.Errorf("%s does not say that it is partial: %v", what, err)
		}
	}
	for _, f := range []Filter{{}, {State: "s"}} {
		ends, listed := 0, 0
		for _, err := range bot.Sessions(t.Context(), f) {
			if listed++; err != nil {
				partial(fmt.Sprint(f), err)
				ends = listed
			}
		}
		if ends != listed || listed != reached+1 {
			t.Errorf("%+v: the error is item %d of %d, want the last, %d", f, ends, listed, reached+1)
		}
	}
	for _, f := range []Filter{{}, {State: "s"}} {
		list, err := Gather(bot.Sessions(t.Context(), f))
		distinct(t, fmt.Sprint(f), list, reached)
		partial(fmt.Sprint(f), err)
	}
	counts, err := bot.Counts(t.Context())
	partial("Counts", err)
	if counts.Sessions != int64(reached) || counts.States["s"] != int64(reached) {
		t.Errorf("%+v, want %d sessions", counts, reached)
	}
}
