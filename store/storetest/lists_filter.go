package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// What a Filter promises: added.
var theFilters = []check{
	{promise: "a filter selects the sessions that fit all of its fields, each once", run: eachFilter},
	{promise: "sessions come in the order of the list that a filter goes through", run: filterOrder},
	{promise: "by each filter a session that moves during a loop, and stays selected, is listed once", run: movesDuringALoop},
	{promise: "none is listed of those that fit no longer when the loop comes to them", run: changesDuringALoop},
}

// hold has a replica hold sessions, until release is called.
func (s *scene) hold(bot *store.Bot, ids ...string) (release func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	entered := make(chan struct{}, len(ids))
	var updates sync.WaitGroup
	for _, id := range ids {
		updates.Go(func() {
			_, _ = bot.Update(ctx, id, func(ctx context.Context, _ *store.Turn) error { // which a check may fence
				entered <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			})
		})
	}
	release = sync.OnceFunc(func() { cancel(); updates.Wait() })
	s.Cleanup(release)
	for range ids {
		s.happens("an Update runs", entered)
	}
	return release
}

// kill has what waits in sessions become dead letters.
func (s *scene) kill(bot *store.Bot) {
	s.Helper()
	s.drain(bot, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("as it was told")) })
}

// part returns the first sessions of a list, at most so many.
func (s *scene) part(bot *store.Bot, f store.Filter, most int) (page []session.Status) {
	s.Helper()
	for st, err := range bot.Sessions(s.Context(), f) {
		s.ok(err)
		if page = append(page, st); len(page) == most {
			break
		}
	}
	return page
}

func later() { time.Sleep(5 * time.Millisecond) } // by the server's clock

// Each session's number says what is true of it.
func eachFilter(s *scene) {
	const n = 84
	bot, one, two := s.bot(), s.replica(), s.replica()
	state := func(i int) string { return fmt.Sprint("s", i%2) }
	user := func(i int) string { return fmt.Sprint("u", i%3) }
	active := func(i int) bool { return i%4 < 2 }
	waits := func(i int) bool { return i%5 < 2 }
	held := func(i int) string { return map[int]string{1: one.Name(), 4: two.Name()}[i%6] }
	dead := func(i int) bool { return i%7 < 3 }
	var ofOne, ofTwo []string
	for i := range n {
		id := fmt.Sprint(i)
		s.create(bot.Session(id), store.Origin{State: state(i), User: user(i)})
		if dead(i) {
			s.accept(bot, id, "dies")
		}
		switch held(i) {
		case one.Name():
			ofOne = append(ofOne, id)
		case two.Name():
			ofTwo = append(ofTwo, id)
		}
	}
	s.kill(bot)
	later()
	moment := s.status(bot.Session("0")).Now
	later()
	for i := range n {
		if active(i) {
			s.ok(bot.Session(fmt.Sprint(i)).Set(s.Context(), "k", "v"))
		}
	}
	s.hold(one.bot("bot", nil), ofOne...)
	s.hold(two.bot("bot", nil), ofTwo...)
	for i := range n {
		if waits(i) {
			s.accept(bot, fmt.Sprint(i), "waits")
		}
	}
	for bits := range 1 << 8 {
		has := func(bit int) bool { return bits>>bit&1 == 1 }
		f := store.Filter{Waiting: has(2), Dead: has(3), Held: has(4)}
		if has(0) {
			f.State = state(0)
		}
		if has(1) {
			f.User = user(0)
		}
		if has(5) {
			f.HeldBy = two.Name()
		}
		if has(6) {
			f.IdleSince = moment
		}
		if has(7) {
			f.ActiveSince = moment
		}
		var want []string
		for i := range n {
			if (f.State == "" || state(i) == f.State) && (f.User == "" || user(i) == f.User) &&
				(!f.Waiting || waits(i)) && (!f.Dead || dead(i)) && (!f.Held || held(i) != "") && (f.HeldBy == "" || held(i) == f.HeldBy) &&
				(f.IdleSince.IsZero() || !active(i)) && (f.ActiveSince.IsZero() || active(i)) {
				want = append(want, fmt.Sprint(i))
			}
		}
		got := ids(all(s, bot.Sessions(s.Context(), f)))
		slices.Sort(got)
		slices.Sort(want)
		equal(s, fmt.Sprintf("sessions of %+v", f), got, want)
	}
}

func filterOrder(s *scene) {
	bot := s.bot()
	for _, id := range []string{"b", "a", "c"} {
		s.accept(bot, id, "dies")
		s.kill(bot)
		later()
	}
	for _, id := range []string{"c", "a", "b"} {
		s.accept(bot, id, "waits")
		later()
	}
	for f, want := range map[store.Filter]string{
		{Dead: true}:                "b a c",
		{Waiting: true}:             "c a b",
		{Dead: true, Waiting: true}: "b a c",
	} {
		equal(s, fmt.Sprintf("in the order of %+v", f), strings.Join(ids(all(s, bot.Sessions(s.Context(), f))), " "), want)
	}
	minute := func(st session.Status) time.Time { return st.Active.Truncate(time.Minute) }
	idle := all(s, bot.Sessions(s.Context(), store.Filter{IdleSince: time.Now().Add(time.Hour)}))
	if equal(s, "idle sessions", len(idle), 3); !slices.IsSortedFunc(idle, func(a, b session.Status) int { return minute(a).Compare(minute(b)) }) {
		s.Errorf("those that were idle for longest are not first: %v", ids(idle))
	}
}

// listed are filters that select all of many sessions, once prepare was called for a
// bot that has them; and move, which is called during the loop, leaves them selected.
var listed = map[string]struct {
	filter  func() store.Filter
	prepare func(s *scene, bot *store.Bot, ids []string)
	move    func(s *scene, bot *store.Bot, ids []string)
}{
	"all":   {move: wander},
	"state": {filter: func() store.Filter { return store.Filter{State: "s"} }, move: activate},
	"user":  {filter: func() store.Filter { return store.Filter{User: "u"} }, move: activate},
	"idle":  {filter: func() store.Filter { return store.Filter{IdleSince: time.Now().Add(time.Hour)} }, move: wander},
	"idle in a state": {
		filter: func() store.Filter { return store.Filter{State: "s", IdleSince: time.Now().Add(time.Hour)} },
		move:   activate,
	},
	"active": {filter: func() store.Filter { return store.Filter{ActiveSince: time.Now().Add(-time.Hour)} }, move: wander},
	"waiting": {
		filter: func() store.Filter { return store.Filter{Waiting: true} },
		prepare: func(s *scene, bot *store.Bot, ids []string) {
			for _, text := range []string{"first", "second"} {
				for _, id := range ids {
					s.accept(bot, id, text)
				}
			}
		},
		move: func(s *scene, bot *store.Bot, _ []string) { // the second event becomes the first of all of them
			s.drain(bot, func(_ context.Context, t *store.Turn) error {
				if t.Event().Text == "first" {
					return nil
				}
				return store.RetryAfter(time.Hour, errors.New("not today"))
			})
		},
	},
	"dead": {
		filter:  func() store.Filter { return store.Filter{Dead: true} },
		prepare: die,
		move:    die,
	},
	"held": {
		filter:  func() store.Filter { return store.Filter{Held: true} },
		prepare: func(s *scene, bot *store.Bot, ids []string) { s.hold(bot, ids...) },
		move:    func(s *scene, bot *store.Bot, ids []string) { activate(s, bot, ids[:10]) },
	},
}

// wander moves sessions into other states, and so to other places of the list.
func wander(s *scene, bot *store.Bot, ids []string) {
	for i, id := range ids {
		s.ok(bot.Session(id).Move(s.Context(), session.Transition{From: "s", To: fmt.Sprint("s", i%3)}))
	}
}

// activate makes sessions active, which moves those of one state where a minute ends.
func activate(s *scene, bot *store.Bot, ids []string) {
	for _, id := range ids {
		s.ok(bot.Session(id).Set(s.Context(), "k", "v"))
	}
}

func die(s *scene, bot *store.Bot, ids []string) {
	for _, id := range ids {
		s.accept(bot, id, "dies")
	}
	s.kill(bot)
}

// many makes sessions, as many as a few pages have, for one of listed.
func (s *scene) many(bot *store.Bot, name string, n int) (f store.Filter, made []string) {
	s.Helper()
	for i := range n {
		made = append(made, fmt.Sprint(i))
		s.create(bot.Session(fmt.Sprint(i)), store.Origin{State: "s", User: "u"})
	}
	of := listed[name]
	if of.prepare != nil {
		of.prepare(s, bot, made)
	}
	if of.filter != nil {
		f = of.filter()
	}
	return f, made
}

func movesDuringALoop(s *scene) {
	for name, of := range listed {
		bot := s.replicaWith(store.Options{Lease: longLease}).bot(strings.ReplaceAll(name, " ", "-"), nil)
		f, made := s.many(bot, name, 60)
		times, read := map[string]int{}, 0
		for st, err := range bot.Sessions(s.Context(), f) {
			s.ok(err)
			times[st.Ref.ID]++
			if read++; read == 20 {
				later()
				of.move(s, bot, made)
			}
		}
		for _, id := range made {
			equal(s, fmt.Sprintf("%s: times that %s is listed", name, id), times[id], 1)
		}
	}
}

func changesDuringALoop(s *scene) {
	bot := s.bot()
	for i := range 120 {
		s.create(bot.Session(fmt.Sprint(i)), store.Origin{State: "s", User: "u"})
	}
	later()
	moment := s.status(bot.Session("0")).Now
	later()
	for what, f := range map[string]store.Filter{
		"state": {State: "s"}, "user in a state": {User: "u", State: "s"}, "idle": {IdleSince: moment}, "idle in a state": {IdleSince: moment, State: "s"},
	} {
		before := ids(all(s, bot.Sessions(s.Context(), f)))
		changed := before[len(before)-5:] // those that the loop comes to last: it reads some ahead
		var after []string
		for st, err := range bot.Sessions(s.Context(), f) {
			s.ok(err)
			if after = append(after, st.Ref.ID); len(after) > 1 {
				continue
			}
			for _, id := range changed {
				s.ok(bot.Session(id).Move(s.Context(), session.Transition{From: "s", To: "other"}))
			}
		}
		equal(s, what+": listed, when five have moved meanwhile", after, before[:len(before)-5])
	}
}
