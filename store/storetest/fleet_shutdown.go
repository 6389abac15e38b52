package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theShutdown is how a replica leaves the fleet in peace.
var theShutdown = []check{
	{promise: "a replica that stops finishes what it can, and hands the rest back at once and uncounted", run: shutdown}, // 29
	{promise: "a handler that ignores the end of its grace does not hold its session", run: stubbornHandler},             // 29, added
	{promise: "a bot is served once by each process, and again after it was stopped", run: servesAgain},                  // added
	{promise: "a heartbeat without an answer does not keep Serve from ending", run: lostHeartbeat},                       // added
}

func lostHeartbeat(s *scene) {
	r := s.replicaWith(store.Options{Timeout: time.Hour}) // for which nobody waits
	bot := r.bot("bot", nil)
	stop := s.serve(bot, echo)
	s.replicas(bot, 1)
	r.loseReplies(lua.Beat, 1<<30)
	before := len(r.scripts(lua.Beat))
	s.eventually("it beats again", func() bool { return len(r.scripts(lua.Beat)) > before })
	r.kill()
	stop()
}

// A run is one run of a handler.
type run struct {
	id      string
	by      string
	attempt int
}

func shutdown(s *scene) {
	opts := options{Lease: longLease, Grace: 2 * time.Second, Concurrency: 3}
	r := s.replica()
	old, heir := r.bot("bot", &opts), s.replica().bot("bot", &opts)
	var runs, finished record[run]
	g, quit := s.gate(), make(chan error, 1)
	started := make(chan struct{}, 10)
	stop := s.serve(old, func(ctx context.Context, t *store.Turn) error {
		this := run{t.Ref().ID, "old", t.Attempt()}
		runs.add(this)
		started <- struct{}{}
		if this.id == "stays" {
			<-ctx.Done()
			quit <- context.Cause(ctx)
			return ctx.Err()
		}
		g.pass()
		finished.add(this)
		return echo(ctx, t)
	})
	for _, id := range []string{"a", "b", "stays"} {
		s.accept(old, id, "hi")
	}
	for range 3 {
		s.happens("three turns run", started)
	}
	for _, id := range []string{"a", "c", "d", "e"} { // the replica is full: they wait
		s.accept(old, id, "next")
	}
	began, beats := time.Now(), len(r.scripts(lua.Beat))
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	s.eventually("the replica says that it stops", func() bool { return len(r.scripts(lua.Beat)) > beats })
	time.Sleep(100 * time.Millisecond) // it says so while it stops, and is not asked
	g.open()
	s.serve(heir, func(ctx context.Context, t *store.Turn) error {
		this := run{t.Ref().ID, "heir", t.Attempt()}
		runs.add(this)
		finished.add(this)
		return echo(ctx, t)
	})
	s.happens("Serve has ended", stopped)
	s.is(receive(s, "the handler that stays is told", quit), session.ErrShutdown)
	for _, id := range []string{"a", "b", "stays"} {
		s.handled(heir.Receipt(id, "hi"))
	}
	for _, id := range []string{"a", "c", "d", "e"} {
		s.handled(heir.Receipt(id, "next"))
	}
	if took := time.Since(began); took > longLease*2/3 {
		s.Errorf("all was handled after %v: the lease was waited for", took)
	}
	by := map[string][]string{}
	for _, r := range finished.list() {
		by[r.by] = append(by[r.by], r.id)
	}
	slices.Sort(by["old"])
	slices.Sort(by["heir"])
	equal(s, "finished by the replica that stopped", by["old"], []string{"a", "b"})
	equal(s, "finished by the other", by["heir"], []string{"a", "c", "d", "e", "stays"})
	oldRuns := 0
	for _, r := range runs.list() {
		equal(s, fmt.Sprintf("attempt of %s by the %s replica", r.id, r.by), r.attempt, 1)
		if r.by == "old" {
			oldRuns++
		}
	}
	equal(s, "turns that the replica began", oldRuns, 3)
}

func stubbornHandler(s *scene) {
	opts := options{Lease: longLease, Grace: 100 * time.Millisecond}
	old, heir := s.replica().bot("bot", &opts), s.replica().bot("bot", &opts)
	g := s.gate()
	stop := s.serve(old, func(ctx context.Context, t *store.Turn) error {
		g.pass() // whatever ctx says
		t.Set("by", "the old")
		return echo(ctx, t)
	})
	s.accept(old, "1", "hi")
	s.happens("the turn runs", g.arrived)
	began := time.Now()
	stop()
	s.serve(heir, echo)
	s.handled(heir.Receipt("1", "hi"))
	if took := time.Since(began); took > longLease*2/3 {
		s.Errorf("it was handled after %v: the lease was waited for", took)
	}
	g.open()
	s.handled(s.accept(heir, "1", "next"))
	equal(s, "chat", s.chat(heir.Session("1")), []string{"u hi", "b re hi", "u next", "b re next"})
	equal(s, "data", len(s.load(heir.Session("1")).Data), 0)
}

func servesAgain(s *scene) {
	bot := s.bot()
	ctx := s.limited()
	s.is(bot.Serve(ctx, nil, nil), session.ErrInvalid)
	stop := s.serve(bot, echo)
	s.handled(s.accept(bot, "1", "a"))
	s.is(bot.Serve(ctx, echo, s.with(bot)), session.ErrExists)
	stop()
	r := s.accept(bot, "1", "b")
	limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if o, err := r.Wait(limited); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("outcome %+v, %v of an event that nobody handles; want the context's error", o, err)
	}
	s.serve(bot, echo)
	s.handled(r)
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u a", "b re a", "u b", "b re b"})
}
