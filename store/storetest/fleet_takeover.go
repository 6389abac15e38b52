package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theTakeover is what becomes of the work of a replica that dies, pauses, or is
// overtaken.
var theTakeover = []check{
	{promise: "a replica that dies with many turns in hand makes no dead letter of them", run: manyTurns, heavy: true}, // 21
	{promise: "what a replica accepted before it died is handled by another, once", run: diesInTurn},                   // 22
	{promise: "what a replica that never serves accepted is handled, though it died", run: diesAfterAccept},            // 22
	{promise: "an event that no replica survives becomes a dead letter in the end", run: deadly},                       // added
	{promise: "a handler that outlives its lease is told why, and nothing of it shows", run: pausesInTurn},             // 25
	{promise: "a late commit of a replica that paused is refused", run: commitsLate},                                   // 25
	{promise: "a long handler keeps its lease, and the renewals end with it", run: longHandler},                        // 26
	{promise: "a reset during a turn has the event handled again in the new life", run: resetDuringTurn},               // 27
	{promise: "a destroy during a turn leaves nothing of it", run: destroyDuringTurn},                                  // 27
}

func manyTurns(s *scene) {
	const most, least = 500, 50
	dying := s.replicaWith(store.Options{Timeout: time.Minute})
	bot := dying.bot("bot", &options{Lease: 6 * time.Second, Concurrency: most, MaxAttempts: 1})
	var running atomic.Int32
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		running.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	// As many as the server takes in a second: a slow one would not keep up
	// with the renewals of more.
	var accepted record[*store.Receipt]
	var errs record[error]
	began := time.Now()
	together(s, 4, func(worker int) {
		for i := worker; i < most && (i < least || time.Since(began) < time.Second); i += 4 {
			r, err := bot.Accept(s.Context(), fmt.Sprint(i), session.Event{ID: "e", Text: "hi"})
			errs.add(err)
			accepted.add(r)
		}
	})
	s.ok(errors.Join(errs.list()...))
	turns := accepted.list()
	s.eventually("all turns are in hand", func() bool { return int(running.Load()) >= len(turns) })
	dying.die()

	heir := s.replica().bot("bot", &options{Lease: longLease, Concurrency: 8, MaxAttempts: 1})
	s.serve(heir, echo)
	for _, r := range turns {
		s.handled(heir.Receipt(r.Ref.ID, "e"))
	}
	counts, err := heir.Counts(s.Context())
	s.ok(err)
	equal(s, "sessions with dead letters", counts.Dead, 0)
	equal(s, "sessions", counts.Sessions, int64(len(turns)))
	equal(s, "chat of one of them", s.chat(heir.Session("7")), []string{"u hi", "b re hi"})
}

func diesInTurn(s *scene) {
	dying, heir := s.replica(), s.replica().bot("bot", &options{Lease: longLease})
	bot := dying.bot("bot", &options{Lease: shortLease})
	g := s.gate()
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		g.pass()
		t.Set("by", "the dead")
		return echo(ctx, t)
	})
	s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	dying.die()
	s.serve(heir, func(ctx context.Context, t *store.Turn) error {
		t.Set("by", "the heir")
		return echo(ctx, t)
	})
	s.handled(heir.Receipt("1", "hi"))
	g.open() // and now the dead one's handler returns, too
	s.handled(s.accept(heir, "1", "next"))
	equal(s, "chat", s.chat(heir.Session("1")), []string{"u hi", "b re hi", "u next", "b re next"})
	equal(s, "data", s.load(heir.Session("1")).Data, map[string]any{"by": "the heir"})
}

func diesAfterAccept(s *scene) {
	webhook, serving := s.replica(), s.bot()
	s.accept(webhook.bot("bot", nil), "1", "hi") // nobody serves yet
	webhook.die()
	s.serve(serving, echo)
	s.handled(serving.Receipt("1", "hi"))

	webhook = s.replica()
	webhook.client.AddHook(deaf{}) // its wake-ups are lost
	s.accept(webhook.bot("bot", nil), "2", "hi")
	webhook.die()
	s.handled(serving.Receipt("2", "hi"))
}

func deadly(s *scene) {
	opts := &options{Lease: 50 * time.Millisecond, MaxAttempts: 1}
	viewer := s.replica().bot("bot", &options{MaxAttempts: 1})
	s.accept(viewer, "1", "deadly")
	victims := 0
	var o store.Outcome
	s.eventually("it is given up", func() bool {
		if victims > 20 {
			s.Fatalf("%d replicas died of it", victims)
		}
		r := s.replica()
		bot := r.bot("bot", opts)
		_, err := bot.Drain(s.limited(), func(context.Context, *store.Turn) error {
			victims++
			r.kill()
			return nil
		}, s.with(bot))
		if err == nil && s.status(viewer.Session("1")).Waiting == 0 {
			o = s.outcome(viewer.Receipt("1", "deadly"))
			return true
		}
		return false
	})
	equal(s, "outcome", o.Status, session.Dead)
	letters, err := viewer.Session("1").DeadLetters(s.Context())
	s.ok(err)
	// A hand-out whose answer took as long as the lease is never heard of again, either.
	if victims < 2 || len(letters) != 1 || letters[0].Crashes < victims || letters[0].Failures != 0 {
		s.Errorf("dead letters %+v after %d replicas died, want one that counts them as crashes", letters, victims)
	}
	equal(s, "chat", s.chat(viewer.Session("1")), []string{"u deadly"})
	s.handledOnce(viewer, "1")
}

// signed is a handler whose turns say who ran them.
func signed(who string) store.Handler {
	return func(_ context.Context, t *store.Turn) error {
		t.Set("by", who)
		t.Reply("from " + who)
		return nil
	}
}

func pausesInTurn(s *scene) {
	paused, heir := s.replica(), s.replica().bot("bot", &options{Lease: longLease})
	bot := paused.bot("bot", &options{Lease: shortLease})
	g, cause := s.gate(), make(chan error, 1)
	stop := s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		_ = signed("the paused")(ctx, t)
		t.Move("elsewhere")
		g.pass()
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil // it does not care, and wants to commit
	})
	s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	thaw := paused.freeze()
	defer thaw()
	s.serve(heir, signed("the heir"))
	s.handled(heir.Receipt("1", "hi"))
	thaw()
	g.open()
	s.is(receive(s, "the handler's context ends with its lease", cause), session.ErrFenced)
	stop() // its handler has returned, and done whatever it will
	snap := s.load(heir.Session("1"))
	equal(s, "state", snap.State, "start")
	equal(s, "data", snap.Data, map[string]any{"by": "the heir"})
	equal(s, "chat", s.chat(heir.Session("1")), []string{"u hi", "b from the heir"})
}

func commitsLate(s *scene) {
	paused, heir := s.replicaWith(store.Options{Timeout: time.Minute}), s.replica().bot("bot", &options{Lease: longLease})
	bot := paused.bot("bot", &options{Lease: shortLease})
	stop := s.serve(bot, signed("the paused"))
	s.handled(s.accept(bot, "0", "loads the scripts"))
	held, resume := paused.hold(lua.Commit)
	defer resume()
	s.accept(bot, "1", "hi")
	s.happens("the commit is on its way", held)
	thaw := paused.freeze()
	defer thaw()
	s.serve(heir, signed("the heir"))
	s.handled(heir.Receipt("1", "hi"))
	before := s.load(heir.Session("1"))
	resume()
	thaw()
	stop() // the commit was answered, and so has its turn
	equal(s, "session after the late commit", s.load(heir.Session("1")), before)
	equal(s, "chat", s.chat(heir.Session("1")), []string{"u hi", "b from the heir"})
}

func longHandler(s *scene) {
	const lease = 2 * time.Second // long enough not to be lost on a slow machine
	r := s.replica()
	opts := &options{Lease: lease}
	bot, other := r.bot("bot", opts), s.replica().bot("bot", opts)
	var runs atomic.Int32
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		runs.Add(1)
		select {
		case <-time.After(5 * lease / 2):
		case <-ctx.Done():
			s.Errorf("the handler's context ended: %v", context.Cause(ctx))
		}
		return echo(ctx, t)
	})
	receipt := s.accept(bot, "1", "hi")
	s.eventually("the turn runs", func() bool { return runs.Load() == 1 })
	s.serve(other, func(context.Context, *store.Turn) error {
		return store.GiveUp(errors.New("the other replica got it"))
	})
	s.handled(receipt)
	renewals := len(r.scripts(lua.Renew))
	if renewals < 3 {
		s.Errorf("%d renewals in two and a half leases", renewals)
	}
	after := r.scripts(lua.Renew, lua.Commit, lua.Settle)
	equal(s, "what came last", after[len(after)-1], "settle")
	time.Sleep(lease / 2) // longer than from one renewal to the next
	equal(s, "renewals after the turn", len(r.scripts(lua.Renew))-renewals, 0)
	equal(s, "lease after the turn", s.status(bot.Session("1")).Lease.Work, session.WorkNone)
	equal(s, "runs", runs.Load(), 1)
}

func resetDuringTurn(s *scene) {
	bot, other := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1}), s.bot()
	sess := other.Session("1")
	s.create(sess, store.Origin{State: "late", User: "ann"})
	s.ok(sess.Set(s.Context(), "k", "v"))
	before := s.load(sess)
	g := s.gate()
	var saw record[session.Snapshot]
	stop := s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		saw.add(t.Snapshot())
		g.pass()
		t.Set("turns", len(t.Snapshot().Data))
		return echo(ctx, t)
	})
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	s.accept(other, "1", "next")
	s.ok(sess.Reset(s.Context(), session.KeepChat))
	g.open()
	s.handled(r)
	s.handled(other.Receipt("1", "next"))
	stop()
	all := saw.list()
	equal(s, "turns", len(all), 3)
	equal(s, "life of the first", all[0].Life, before.Life)
	if all[1].Life <= before.Life || all[1].State != "start" || len(all[1].Data) > 0 || all[1].User != "ann" {
		s.Errorf("the event was handled again in %+v, want a new life", all[1])
	}
	equal(s, "chat", s.chat(sess), []string{"u hi", "b re hi", "u next", "b re next"})
}

func destroyDuringTurn(s *scene) {
	bot, other := s.replica().bot("bot", &options{Lease: longLease}), s.bot()
	g := s.gate()
	stop := s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		g.pass()
		t.Set("k", "v")
		t.Move("elsewhere")
		return echo(ctx, t)
	})
	first := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	last := s.accept(other, "1", "next")
	dropped, err := other.Session("1").Destroy(s.Context())
	s.ok(err)
	equal(s, "events dropped", dropped.Events, 2)
	g.open()
	for _, r := range []*store.Receipt{first, last} {
		equal(s, "outcome", s.outcome(r).Status, session.Dropped)
		s.is(s.outcome(r).Err(), session.ErrDropped)
	}
	stop() // the turn has ended
	s.gone(other.Session("1"))
	all, err := gather(other.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), 0)
	kinds := s.keys(s.replica().client, first.Ref)
	for _, kind := range []string{"s", "h", "q", "o", "f"} {
		if key, there := kinds[kind]; there {
			s.Errorf("key %q is there after a destroy", key)
		}
	}
}
