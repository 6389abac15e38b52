package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// served runs a replica of the bot until the test or stop ends it.
func served(t *testing.T, bot *Bot, concurrency int) (stop func()) {
	t.Helper()
	return servedWith(t, bot, func(context.Context, *Turn) error { return nil }, concurrency)
}

func servedWith(t *testing.T, bot *Bot, h Handler, concurrency int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bot.Serve(ctx, h, &ServeOptions{Concurrency: concurrency, Grace: time.Second}) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			noError(t, bounded.Receive(t, "Serve ends", ended))
		}
	}
	t.Cleanup(stop)
	return stop
}

// A process has one line, with all bots that it serves, and keeps it when it leaves.
func TestAReplicaSaysWhatItServesInOneLine(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	st := opened(t, url, nil)
	a, b := botOf(t, st, "a", nil), botOf(t, st, "b", nil)
	noError(t, b.Configure(ctx, func(o *BotOptions) { o.MaxAttempts = 2 }))
	line := func() (p presence, since, seen, until int64) {
		lines, err := c.HGetAll(ctx, "bs:replicas").Result()
		noError(t, err)
		if len(lines) != 1 {
			return p, 0, 0, 0
		}
		p, err = readPresence(st.Name(), lines[st.Name()])
		noError(t, err)
		_, err = fmt.Sscan(lines[st.Name()], &since, &seen, &until)
		noError(t, err)
		return p, since, seen, until
	}
	stopA, stopB := served(t, a, 3), served(t, b, 5)
	eventually(t, "both bots are in the line", func() bool { p, _, _, _ := line(); return len(p.Bots) == 2 })
	p, since, seen, until := line()
	if p.Bots["a"] != (service{Revision: 1, Slots: 3, Free: 3}) || p.Bots["b"] != (service{Revision: 2, Slots: 5, Free: 5}) || p.Leaving || since == 0 || seen < since || until < seen+3000 {
		t.Errorf("the line is %+v, since %d, seen %d, until %d", p, since, seen, until)
	}
	stopB()
	if p, _, _, _ := line(); len(p.Bots) != 1 || p.Bots["a"].Slots != 3 || p.Leaving {
		t.Errorf("after one of two bots the line is %+v", p)
	}
	stopA()
	if p, first, seen, until := line(); len(p.Bots) != 0 || !p.Leaving || first != since || until != seen {
		t.Errorf("after the last bot the line is %+v, since %d, seen %d, until %d", p, first, seen, until)
	}
	names, err := a.replicas(ctx)
	if len(names) != 0 || err != nil {
		t.Errorf("after the last bot there are the replicas %v, %v", names, err)
	}
}

// A replica without room for one bot may have it for another.
func TestRoomIsByBot(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	ctx := t.Context()
	st := opened(t, url, nil)
	full, free := botOf(t, st, "full", nil), botOf(t, st, "free", nil)
	begun := make(chan struct{}, 1)
	servedWith(t, full, func(ctx context.Context, _ *Turn) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, 1)
	served(t, free, 1)
	looker := opened(t, url, nil)
	room := func(bot *Bot) bool {
		names, err := botOf(t, looker, bot.name, nil).replicas(ctx)
		noError(t, err)
		return slices.Contains(names, st.Name())
	}
	eventually(t, "it has room for both", func() bool { return room(full) && room(free) })
	_, err := full.Accept(ctx, "1", session.Event{ID: "e"})
	noError(t, err)
	bounded.Receive(t, "the turn begins", begun)
	eventually(t, "it has no room for the one", func() bool { return !room(full) })
	if !room(free) {
		t.Error("it has no room for the other either")
	}
}

// clockwork is a server whose clock the test sets.
func clockwork(t *testing.T) (url string, at func(time.Duration)) {
	server := miniredis.RunT(t)
	began := time.Now()
	at = func(d time.Duration) { server.SetTime(began.Add(d)) }
	at(0)
	return "redis://" + server.Addr(), at
}

func TestALineOfAReplicaStaysForAnHourAfterItWasLastSeen(t *testing.T) {
	t.Parallel()
	url, at := clockwork(t)
	c, st := client(t, url), opened(t, url, nil)
	beat := func(name, keep string) []string {
		r, err := st.run(t.Context(), st.noBucket(), ask(lua.Beat, []string{"name", name, "keep", keep, "about", "{}"}))
		noError(t, err)
		return r.Texts("there")
	}
	lines := func() (names []string) {
		names = c.HKeys(t.Context(), "bs:replicas").Val()
		slices.Sort(names)
		return names
	}
	beat("old", "3000")
	before := c.HGet(t.Context(), "bs:replicas", "old").Val()
	at(2 * time.Second)
	if there := beat("new", "3000"); len(there) != 4 || there[0] != "old" || there[1] != before || there[2] != "new" {
		t.Errorf("two seconds later %q are there", there)
	}
	first := strings.Fields(c.HGet(t.Context(), "bs:replicas", "new").Val())
	at(4 * time.Second)
	if there := beat("new", "3000"); len(there) != 2 || there[0] != "new" {
		t.Errorf("when its time is over %q are there", there)
	}
	if again := strings.Fields(c.HGet(t.Context(), "bs:replicas", "new").Val()); again[0] != first[0] || again[1] == first[1] {
		t.Errorf("the first beat left %q, the second %q: want another moment at which it was seen, alone", first, again)
	}
	at(time.Hour - time.Second)
	beat("new", "3000")
	if names := lines(); !slices.Equal(names, []string{"new", "old"}) {
		t.Errorf("just before the hour is over there are the lines %q", names)
	}
	at(time.Hour)
	beat("new", "3000")
	if names := lines(); !slices.Equal(names, []string{"new"}) {
		t.Errorf("when the hour is over there are the lines %q", names)
	}
	if there := beat("new", "0"); len(there) != 0 {
		t.Errorf("for one that leaves %q are there", there)
	}
}

// Processes that are started and die by the second do not fill the memory.
func TestThereAreAThousandLinesOfReplicasThatAreGoneAtMost(t *testing.T) {
	t.Parallel()
	url, at := clockwork(t)
	c, st := client(t, url), opened(t, url, nil)
	for i := range 1000 {
		noError(t, c.HSet(t.Context(), "bs:replicas", fmt.Sprint("r", i), fmt.Sprintf("1 %d 2 {}", time.Now().UnixMilli())).Err())
	}
	at(time.Second)
	for i, want := range []int64{1001, 2} {
		_, err := st.run(t.Context(), st.noBucket(), ask(lua.Beat, []string{"name", fmt.Sprint("new", i), "keep", "3000", "about", "{}"}))
		noError(t, err)
		if n := c.HLen(t.Context(), "bs:replicas").Val(); n != want {
			t.Errorf("after the beat of replica %d there are %d lines, want %d", 1001+i, n, want)
		}
	}
}

func TestALineThatCannotBeReadIsNobody(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "1 2 {}", "1 2 x {}", "1 2 3 []", "1 2 3 {", "1 2 3 {}\n", "-1 2 3 {}", "1 2 9999999999999999999 {}"} {
		if p, err := readPresence("r", line); err == nil {
			t.Errorf("%q is read as %+v", line, p)
		}
	}
}

// What takes a session from somebody without room is one channel of its process.
func TestAProcessHearsOnOneChannelForAllItsBots(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	st, other := opened(t, url, nil), opened(t, url, nil)
	handled := make(chan string, 2)
	for _, name := range []string{"a", "b"} {
		servedWith(t, botOf(t, st, name, nil), func(_ context.Context, turn *Turn) error {
			handled <- turn.Ref().String()
			return nil
		}, 4)
	}
	channel := st.layout.wakeChannel(st.identity().id, st.Name())
	eventually(t, "it listens", func() bool { return c.PubSubNumSub(ctx, channel).Val()[channel] == 1 })
	if channels := c.PubSubChannels(ctx, "*:wake:*").Val(); len(channels) != 1 {
		t.Errorf("the channels are %v", channels)
	}
	for _, name := range []string{"a", "b"} {
		_, err := botOf(t, other, name, nil).Accept(ctx, "1/2", session.Event{ID: "e"})
		noError(t, err)
		if ref := bounded.Receive(t, "the event is handled", handled); ref != botOf(t, other, name, nil).Session("1/2").Ref().String() {
			t.Errorf("handled is %s", ref)
		}
	}
}
