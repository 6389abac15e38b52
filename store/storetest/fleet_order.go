package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theOrder is a fleet in which nobody fails.
var theOrder = []check{
	{promise: "events that reach four replicas at once are handled once, one at a time, as they were accepted", run: storm, heavy: true}, // 19
	{promise: "with every event delivered three times the order stays", run: stormOfDuplicates, heavy: true},                             // 19, 20, added
	{promise: "an event accepted while the session is given back is handled", run: acceptedAtTheEnd},                                     // 23
	{promise: "an event accepted right after a turn is handled without another coming", run: acceptedInTurns, heavy: true},               // 23
	{promise: "sessions do not wait for each other", run: sessionsApart},                                                                 // 30
	{promise: "a replica with room handles what it accepts, in two round trips", run: twoRoundTrips},                                     // added
	{promise: "what a full replica accepts is handled by one with room", run: handOver},                                                  // added
	{promise: "a client whose clock is years off changes nothing", run: clockOff},                                                        // 32
	{promise: "list and counts agree with the sessions after anything", run: listAndCounts, heavy: true},                                 // 33
	{promise: "those who watch see what happens", run: watching},                                                                         // added
}

// A stamp is when an accept began and ended. One that ended before another
// began came first, whatever the replicas.
type stamp struct{ began, ended time.Time }

func storm(s *scene) { eventStorm(s, 60, 1) }

func stormOfDuplicates(s *scene) { eventStorm(s, 25, 3) }

func eventStorm(s *scene, events, deliveries int) {
	var inside, most, flagged atomic.Int32
	handler := func(_ context.Context, t *store.Turn) error {
		if n := inside.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer inside.Add(-1)
		if t.Flag(session.FlagIntent) {
			flagged.Add(1)
		}
		t.SetIntent(&session.Intent{Name: t.Event().Text})
		t.Reply("re " + t.Event().Text)
		return nil
	}
	opts := &options{Lease: longLease}
	var bots []*store.Bot
	for range 4 {
		bot := s.replica().bot("bot", opts)
		bots = append(bots, bot)
		s.serve(bot, handler)
	}
	stamps := make([]stamp, events)
	var receipts record[*store.Receipt]
	var errs record[error]
	together(s, events*deliveries, func(i int) {
		event := i % events
		began := time.Now()
		r, err := bots[i%len(bots)].Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(event), Text: fmt.Sprint(event)})
		if err != nil {
			errs.add(err)
			return
		}
		if !r.Duplicate {
			stamps[event] = stamp{began, time.Now()}
		}
		receipts.add(r)
	})
	s.ok(errors.Join(errs.list()...))
	for _, r := range receipts.list() {
		equal(s, "replies to one event", len(s.handled(r)), 1)
	}
	equal(s, "turns at the same time", most.Load(), 1)
	equal(s, "turns that began with an intent", flagged.Load(), 0)
	snap := s.load(bots[0].Session("1"))
	equal(s, "flags at the end", len(snap.Flags), 0)
	inOrder(s, s.chat(bots[0].Session("1")), stamps)
}

// inOrder checks that the chat holds each event once, followed by its reply,
// and none behind one that was accepted later.
func inOrder(s *scene, chat []string, stamps []stamp) {
	s.Helper()
	if len(chat) != 2*len(stamps) {
		s.Fatalf("%d messages, want %d: %q", len(chat), 2*len(stamps), chat)
	}
	var order []int
	for i := 0; i < len(chat); i += 2 {
		var event int
		if _, err := fmt.Sscanf(chat[i], "u %d", &event); err != nil || chat[i+1] != "b re "+chat[i][2:] {
			s.Fatalf("%q and %q: want a message and the reply to it", chat[i], chat[i+1])
		}
		order = append(order, event)
	}
	for i, event := range order {
		if slices.Contains(order[:i], event) {
			s.Errorf("event %d was handled twice", event)
		}
		for _, before := range order[:i] {
			if stamps[event].ended.Before(stamps[before].began) {
				s.Errorf("event %d was handled after %d, which was accepted later", event, before)
			}
		}
	}
}

func acceptedAtTheEnd(s *scene) {
	for _, c := range []struct {
		what   string
		script *lua.Script // gives the session back
		send   func(context.Context, store.Delivery) error
		stop   func(w *wire, script *lua.Script) (<-chan struct{}, func())
	}{
		{"before the commit arrives", lua.Commit, nil, (*wire).hold},
		{"before the reply to the commit arrives", lua.Commit, nil, (*wire).holdReply},
		{"before the note of what was sent arrives", lua.Sent, func(context.Context, store.Delivery) error { return nil }, (*wire).hold},
		{"before the reply to that note arrives", lua.Sent, func(context.Context, store.Delivery) error { return nil }, (*wire).holdReply},
	} {
		r := s.replica()
		name := strings.ReplaceAll(c.what, " ", "-")
		opts := &options{Lease: longLease, Send: c.send}
		bot, other := r.bot(name, opts), s.replica().bot(name, opts)
		s.serve(bot, echo)
		s.handled(s.accept(bot, "0", "loads the scripts"))
		s.free(bot.Session("0")) // what was sent is noted, too
		held, resume := c.stop(r.wire, c.script)
		first := s.accept(bot, "1", "first")
		s.happens("the session is about to be given back", held)
		last := s.accept(other, "1", "last")
		resume()
		s.handled(first)
		s.handled(last)
		equal(s, "chat of what came "+c.what, s.chat(bot.Session("1")), []string{"u first", "b re first", "u last", "b re last"})
	}
}

func acceptedInTurns(s *scene) {
	const events = 40
	opts := &options{Lease: longLease, Send: func(context.Context, store.Delivery) error { return nil }}
	serving, other := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	s.serve(serving, echo)
	for i := range events {
		s.handled(s.accept(other, "1", fmt.Sprint(i))) // answered while the note of the reply is on its way
	}
	equal(s, "messages", len(s.chat(other.Session("1"))), 2*events)
}

// held is a handler that echoes, whose turns of one session pass the gate before.
func held(g *gate, id string) store.Handler {
	return func(ctx context.Context, t *store.Turn) error {
		if t.Ref().ID == id {
			g.pass()
		}
		return echo(ctx, t)
	}
}

func sessionsApart(s *scene) {
	bot := s.replicaWith(store.Options{Buckets: 1}).bot("bot", &options{Lease: longLease, Concurrency: 4})
	g := s.gate()
	s.serve(bot, held(g, "slow"))
	slow := s.accept(bot, "slow", "hi")
	s.happens("the slow turn runs", g.arrived)
	for i := range 10 {
		s.handled(s.accept(bot, fmt.Sprint(i), "hi"))
		s.ok(bot.Session("slow").Set(s.Context(), fmt.Sprint(i), "a live change does not wait either"))
	}
	s.ok(s.update(bot, "0", echo))
	equal(s, "messages of the slow session", len(s.chat(bot.Session("slow"))), 0)
	g.open()
	s.handled(slow)
	equal(s, "data of the slow session", len(s.load(bot.Session("slow")).Data), 10)
}

func twoRoundTrips(s *scene) {
	r, other := s.replica(), s.replica()
	before := make(chan []string, 1)
	steps := []*lua.Script{lua.Accept, lua.Lease, lua.Load, lua.Commit, lua.Settle, lua.Sent, lua.Change}
	var skip int
	opts := &options{Lease: longLease, Lazy: true, Send: func(context.Context, store.Delivery) error {
		before <- r.scripts(steps...)[skip:]
		return nil
	}}
	bot := r.bot("bot", opts)
	s.serve(bot, echo)
	s.serve(other.bot("bot", opts), func(context.Context, *store.Turn) error {
		return errors.New("the other replica got an event that the first had room for")
	})
	s.replicas(bot, 2)
	turn := func(text string) (scripts []string) {
		skip = len(r.scripts(steps...))
		s.handled(s.accept(bot, "1", text))
		scripts = receive(s, "the reply is sent", before)
		s.eventually("it is noted", func() bool {
			st := s.status(bot.Session("1"))
			return st.Unsent == 0 && st.Lease.Work == session.WorkNone
		})
		return scripts
	}
	turn("makes the session")
	turn("loads the scripts")
	for i := range 5 {
		equal(s, "scripts until the reply was sent", turn(fmt.Sprint(i)), []string{"accept", "commit"})
	}
}

func handOver(s *scene) {
	opts := &options{Lease: longLease, Concurrency: 1}
	full, free := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	g := s.gate()
	s.serve(full, held(g, "long"))
	long := s.accept(full, "long", "long")
	s.happens("the first replica is full", g.arrived)
	s.serve(free, echo)
	for i := range 5 {
		s.handled(s.accept(full, fmt.Sprint(i), "short"))
	}
	equal(s, "messages of the long turn", len(s.chat(full.Session("long"))), 0)
	g.open()
	s.handled(long)
}

func listAndCounts(s *scene) {
	bots := []*store.Bot{s.bot(), s.bot(), s.bot()}
	s.serve(bots[0], echo)
	s.serve(bots[1], echo)
	states := []string{"start", "a", "b", "c"}
	var errs record[error]
	together(s, 6, func(worker int) {
		bot := bots[worker%len(bots)]
		for i := range 40 {
			id := fmt.Sprint((worker*7 + i*5) % 12)
			sess := bot.Session(id)
			var err error
			switch (worker + i) % 8 {
			case 0, 1:
				_, err = sess.Create(s.Context(), store.Origin{State: states[i%4], User: fmt.Sprint("user ", i%3)})
			case 2, 3:
				_, err = sess.Apply(s.Context(), session.Change{Moves: []string{states[(i+worker)%4]}})
			case 4:
				_, err = bot.Accept(s.Context(), id, session.Event{ID: rand.Text(), Text: "hi", User: "someone"})
			case 5:
				_, err = sess.Destroy(s.Context())
			case 6:
				err = sess.Reset(s.Context(), []session.Reset{session.KeepChat, session.DropChat}[i%2])
			case 7:
				err = s.update(bot, id, func(_ context.Context, t *store.Turn) error { t.Move(states[i%4]); return nil })
			}
			if err != nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrFenced) {
				errs.add(fmt.Errorf("step %d of worker %d: %w", i, worker, err))
			}
		}
	})
	s.ok(errors.Join(errs.list()...))
	bot := bots[2]
	s.eventually("all events are handled", func() bool {
		counts, err := bot.Counts(s.Context())
		s.ok(err)
		return counts.Due == 0
	})
	living, inState := 0, map[string]int64{}
	byUser := map[string]int{}
	for i := range 12 {
		snap, err := bot.Session(fmt.Sprint(i)).Load(s.Context())
		if errors.Is(err, session.ErrNotFound) {
			continue
		}
		s.ok(err)
		living++
		inState[snap.State]++
		byUser[snap.User]++
	}
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	equal(s, "sessions counted", counts.Sessions, int64(living))
	equal(s, "states counted", counts.States, inState)
	all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), living)
	for state, n := range inState {
		some, err := gather(bot.Sessions(s.Context(), store.Filter{State: state}))
		s.ok(err)
		equal(s, "sessions listed in state "+state, int64(len(some)), n)
	}
	for user, n := range byUser {
		if user == "" {
			continue
		}
		some, err := gather(bot.Sessions(s.Context(), store.Filter{User: user}))
		s.ok(err)
		equal(s, "sessions listed of "+user, len(some), n)
	}
}

func watching(s *scene) {
	r := s.replica()
	bot, other := r.bot("bot", nil), s.bot()
	var seen record[store.Notice]
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n, err := range other.Watch(ctx) {
			if err == nil {
				seen.add(n)
			}
		}
	}()
	s.eventually("a turn is seen by those who watch", func() bool {
		s.handledOnce(bot, rand.Text())
		return len(seen.list()) > 0
	})
	n := seen.list()[0]
	equal(s, "bot of the notice", n.Ref.Bot, "bot")
	if n.Kind == "" || n.Ref.ID == "" {
		s.Errorf("notice %+v, want one that says what happened to which session", n)
	}
	cancel()
	s.happens("Watch ends with its context", done)
}
