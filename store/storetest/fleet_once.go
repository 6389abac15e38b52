package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theOnce is what may be sent many times, or too late, and counts at most once.
var theOnce = []check{
	{promise: "of many simultaneous creations one made the session", run: createsRace},                                           // 18
	{promise: "of many first events one made the session", run: firstEventsRace},                                                 // 18
	{promise: "an event delivered to many replicas at once starts one turn, and all wait for one outcome", run: duplicate},       // 20
	{promise: "a duplicate of a session that expired or was destroyed starts nothing", run: duplicateAfterEnd},                   // 20
	{promise: "after its window an event id is new again", run: windowOver},                                                      // 20
	{promise: "a call whose reply is lost applies once, and its retry gets the first answer", run: lostReplies},                  // added
	{promise: "an accept whose reply is lost is no duplicate of itself", run: lostAccept},                                        // added
	{promise: "a commit whose reply is lost is committed once, and the serving goes on", run: lostCommit},                        // added
	{promise: "a call that gets no answer ends with an unknown outcome, and arrives too late to change anything", run: noAnswer}, // added
	{promise: "a late retry of a call changes nothing in the life after a reset", run: retryAfterReset},                          // 35
	{promise: "a cancelled call is refused before it changes anything", run: cancelled},                                          // added
}

func createsRace(s *scene) {
	bots := []*store.Bot{s.bot(), s.bot(), s.bot()}
	var made atomic.Int32
	var errs record[error]
	together(s, 24, func(i int) {
		created, err := bots[i%len(bots)].Session("1").Create(s.Context(), store.Origin{User: fmt.Sprint(i)})
		if created {
			made.Add(1)
		}
		errs.add(err)
	})
	s.ok(errors.Join(errs.list()...))
	equal(s, "callers told that they created the session", made.Load(), 1)
	all, err := gather(bots[0].Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions", len(all), 1)
}

func firstEventsRace(s *scene) {
	bots := []*store.Bot{s.bot(), s.bot(), s.bot()}
	var made atomic.Int32
	var errs record[error]
	together(s, 24, func(i int) {
		r, err := bots[i%len(bots)].Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(i), Text: "hi"})
		if err == nil && r.Created {
			made.Add(1)
		}
		errs.add(err)
	})
	s.ok(errors.Join(errs.list()...))
	equal(s, "receipts that say they made the session", made.Load(), 1)
	equal(s, "events waiting", s.status(bots[0].Session("1")).Waiting, 24)
	equal(s, "turns", s.drain(bots[0], echo), 24)
}

func duplicate(s *scene) {
	const deliveries = 12
	var bots []*store.Bot
	var turns atomic.Int32
	slow := func(_ context.Context, t *store.Turn) error {
		turns.Add(1)
		time.Sleep(20 * time.Millisecond)
		t.Reply("one")
		t.Reply("two")
		return nil
	}
	for range 3 {
		bot := s.bot()
		bots = append(bots, bot)
		s.serve(bot, slow)
	}
	var accepted atomic.Int32
	var got record[string]
	var errs record[error]
	together(s, deliveries, func(i int) {
		r, err := bots[i%len(bots)].Accept(s.Context(), "1", session.Event{ID: "same", Text: "hi"})
		if err != nil {
			errs.add(err)
			return
		}
		if !r.Duplicate {
			accepted.Add(1)
		}
		ctx, cancel := context.WithTimeout(s.Context(), patience)
		defer cancel()
		o, err := r.Wait(ctx)
		errs.add(err)
		got.add(fmt.Sprint(o.Status, lines(o.Replies)))
	})
	s.ok(errors.Join(errs.list()...))
	equal(s, "deliveries that were accepted", accepted.Load(), 1)
	want := fmt.Sprint(session.Handled, []string{"b one", "b two"})
	equal(s, "outcomes", got.list(), slices.Repeat([]string{want}, deliveries))

	again := s.accept(bots[0], "1", "later")
	s.handled(again)
	after, err := bots[1].Accept(s.Context(), "1", session.Event{ID: "same", Text: "hi"})
	s.ok(err)
	equal(s, "duplicate after the turn", after.Duplicate, true)
	equal(s, "replies that it waits for", lines(s.handled(after)), []string{"b one", "b two"})
	equal(s, "replies of a receipt by its names", lines(s.handled(bots[2].Receipt("1", "same"))), []string{"b one", "b two"})
	equal(s, "turns", turns.Load(), 2)
	equal(s, "chat", s.chat(bots[0].Session("1")), []string{"u hi", "b one", "b two", "u later", "b one", "b two"})
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	_, err = bots[0].Receipt("1", "never accepted").Wait(ctx)
	s.is(err, session.ErrNotFound)
}

func duplicateAfterEnd(s *scene) {
	bot := s.bot()
	s.handledOnce(bot, "destroyed")
	s.ok(second(bot.Session("destroyed").Destroy(s.Context())))
	s.handledOnce(bot, "expired")
	s.ok(bot.Session("expired").SetTTL(s.Context(), time.Millisecond))
	s.accept(bot, "waiting", "hi") // destroyed before it was handled
	s.ok(second(bot.Session("waiting").Destroy(s.Context())))
	s.eventually("the session has expired", func() bool {
		_, err := bot.Session("expired").Load(s.Context())
		return errors.Is(err, session.ErrNotFound)
	})
	for id, want := range map[string]session.OutcomeStatus{"destroyed": session.Handled, "expired": session.Handled, "waiting": session.Dropped} {
		r := s.accept(bot, id, "hi")
		equal(s, "duplicate for the session that is "+id, r.Duplicate, true)
		equal(s, "turns that it starts", s.drain(bot, echo), 0)
		equal(s, "outcome that it waits for", s.outcome(r).Status, want)
		s.gone(bot.Session(id))
	}
}

// handledOnce has the event "hi" of a session handled.
func (s *scene) handledOnce(bot *store.Bot, id string) {
	s.Helper()
	r := s.accept(bot, id, "hi")
	s.drain(bot, echo)
	s.handled(r)
}

func windowOver(s *scene) {
	// No window is shorter than the time for which a call may be retried.
	bot := s.replicaWith(store.Options{Timeout: time.Second}).bot("bot", &options{DedupeWindow: 50 * time.Millisecond})
	s.accept(bot, "1", "hi")
	s.drain(bot, echo)
	s.eventually("the event id is taken as new", func() bool {
		r, err := bot.Accept(s.Context(), "1", session.Event{ID: "hi", Text: "hi"})
		s.ok(err)
		return !r.Duplicate
	})
	s.drain(bot, echo)
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u hi", "b re hi", "u hi", "b re hi"})
}

func lostReplies(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{Initial: "s0"})
	sess := bot.Session("1")
	ctx := s.Context()
	lost := func(script *lua.Script, n int, call func()) {
		s.Helper()
		before := len(r.scripts(either(script)...))
		r.loseReplies(script, n)
		call()
		r.fail(script, nil)
		if sent := len(r.scripts(either(script)...)) - before; sent <= n {
			s.Errorf("script %s was sent %d times, want it sent again after %d lost replies", script.Name, sent, n)
		}
	}
	lost(lua.Create, 2, func() { s.create(sess, store.Origin{}) })
	version := s.load(sess).Version
	once := func(what string, call func() error) {
		s.Helper()
		lost(lua.Change, 3, func() { s.Helper(); s.ok(call()) })
		version++
		equal(s, "version after "+what, s.load(sess).Version, version)
	}
	once("Set", func() error { return sess.Set(ctx, "k", "v") })
	once("Move", func() error { return sess.Move(ctx, session.Transition{From: "s0", To: "s1"}) })
	once("Record", func() error { return sess.Record(ctx, session.Message{From: session.FromBot, Content: "hi"}) })
	equal(s, "chat", s.chat(sess), []string{"b hi"})
	once("Delete", func() error {
		existed, err := sess.Delete(ctx, "k")
		equal(s, "the key existed", existed, true)
		return err
	})
	before := s.load(sess)
	once("Reset", func() error { return sess.Reset(ctx, session.KeepChat) })
	if life := s.load(sess).Life; life <= before.Life {
		s.Errorf("life %d after Reset, %d before", life, before.Life)
	}
	var runs int
	lost(lua.Commit, 2, func() {
		s.ok(s.update(bot, "1", func(_ context.Context, t *store.Turn) error {
			runs++
			t.Reply("updated")
			return nil
		}))
	})
	equal(s, "runs of an Update", runs, 1)
	equal(s, "chat", s.chat(sess), []string{"b hi", "b updated"})
	s.accept(bot, "1", "dropped")
	lost(lua.Destroy, 2, func() {
		dropped, err := sess.Destroy(ctx)
		s.ok(err)
		equal(s, "events dropped", dropped.Events, 1)
	})
	s.gone(sess)
}

func lostAccept(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	r.loseReplies(lua.Accept, 2)
	receipt := s.accept(bot, "1", "hi")
	if receipt.Duplicate || !receipt.Created {
		s.Errorf("receipt %+v, want one that made the session and is no duplicate", receipt)
	}
	s.drain(bot, echo)
	s.handled(receipt)

	s.serve(bot, echo)
	s.replicas(bot, 1) // so that it takes what it accepts itself
	r.loseReplies(lua.Accept, 2)
	s.handled(s.accept(bot, "1", "again"))
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u hi", "b re hi", "u again", "b re again"})
}

func lostCommit(s *scene) {
	var sent record[string]
	r := s.replica()
	bot := r.bot("bot", &options{Lease: longLease, Send: func(_ context.Context, d store.Delivery) error {
		sent.add(d.Message.String())
		return nil
	}})
	s.serve(bot, echo)
	var want []string
	for i := range 4 {
		r.loseReplies(lua.Commit, 2)
		r.loseReplies(lua.Sent, 2)
		text := fmt.Sprint(i)
		a, b := s.accept(bot, "1", text), s.accept(bot, "1", text+"'")
		s.handled(a)
		s.handled(b)
		want = append(want, "re "+text, "re "+text+"'")
	}
	s.eventually("all replies were sent", func() bool { return len(sent.list()) >= len(want) })
	equal(s, "replies sent", sent.list(), want)
	equal(s, "messages", len(s.chat(bot.Session("1"))), 2*len(want))
}

func noAnswer(s *scene) {
	r, other := s.replicaWith(store.Options{Timeout: time.Second}), s.bot()
	sess, same := r.bot("bot", nil).Session("1"), other.Session("1")
	s.create(same, store.Origin{})
	s.ok(same.Touch(s.Context())) // loads the script

	var last request
	r.fail(lua.Change, func(_ context.Context, q request) error {
		last = request{args: slices.Clone(q.args)}
		return io.EOF // it is on its way, somewhere
	})
	began := time.Now()
	err := sess.Set(s.Context(), "k", "late")
	s.is(err, session.ErrUnknownOutcome)
	s.is(err, io.EOF)
	if took := time.Since(began); took < 500*time.Millisecond || took > patience {
		s.Errorf("it gave up after %v, want about its Timeout", took)
	}
	before := s.load(same)
	answer, err := s.replica().client.Do(s.Context(), last.args...).Slice()
	s.ok(err)
	if len(answer) == 0 || answer[0] != "LATE" {
		s.Errorf("the request that arrived late was answered %v", answer)
	}
	equal(s, "session after the late request", s.load(same), before)

	r.loseReplies(lua.Change, 1000)
	s.is(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "hi"}), session.ErrUnknownOutcome)
	equal(s, "chat after a call without an answer", s.chat(same), []string{"b hi"})
}

func retryAfterReset(s *scene) {
	r, other := s.replica(), s.bot()
	sess := r.bot("bot", nil).Session("1")
	s.create(sess, store.Origin{})
	for _, c := range []struct {
		what  string
		begin func() error
	}{
		{"a reset", func() error { return other.Session("1").Reset(s.Context(), session.DropChat) }},
		{"a destroy and a creation", func() error {
			if _, err := other.Session("1").Destroy(s.Context()); err != nil {
				return err
			}
			return second(other.Session("1").Create(s.Context(), store.Origin{}))
		}},
	} {
		s.ok(sess.Touch(s.Context())) // loads the script
		executed, resume := make(chan struct{}), make(chan struct{})
		var first sync.Once
		r.fail(lua.Change, func(_ context.Context, q request) error {
			err := q.deliver()
			first.Do(func() { // its reply is lost while the life ends
				close(executed)
				<-resume
				err = errors.Join(err, io.EOF)
			})
			return err
		})
		done := make(chan error, 1)
		go func() {
			_, err := sess.Apply(s.Context(), session.Change{Set: map[string]any{"k": "v"},
				Chat: []session.Entry{{Message: session.Message{From: session.FromBot, Content: "old life"}}}})
			done <- err
		}()
		s.happens("the call was executed", executed)
		equal(s, "data before "+c.what, s.load(other.Session("1")).Data, map[string]any{"k": "v"})
		s.ok(c.begin())
		fresh := s.load(other.Session("1"))
		close(resume)
		s.ok(receive(s, "the retry is answered", done)) // as the first time
		equal(s, "session after "+c.what+" and the retry", s.load(other.Session("1")), fresh)
		equal(s, "chat after "+c.what+" and the retry", s.chat(sess), nil)
		r.fail(lua.Change, nil)
	}
}

func cancelled(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	before := s.dump(r.client)
	reason := errors.New("the user went away")
	ctx, cancel := context.WithCancelCause(s.Context())
	cancel(reason)
	_, accepted := bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
	_, created := bot.Session("2").Create(ctx, store.Origin{})
	_, destroyed := sess.Destroy(ctx)
	_, loaded := sess.Load(ctx)
	for what, err := range map[string]error{
		"Accept": accepted, "Create": created, "Destroy": destroyed, "Load": loaded, "Set": sess.Set(ctx, "k", "v"), "Reset": sess.Reset(ctx, session.DropChat),
		"Update": second(bot.Update(ctx, "1", func(_ context.Context, t *store.Turn) error { t.Set("k", "v"); return nil })),
	} {
		if !errors.Is(err, reason) && !errors.Is(err, context.Canceled) || strings.Contains(fmt.Sprint(err), session.ErrUnknownOutcome.Error()) {
			s.Errorf("%s with a cancelled context: %v, want the context's error, and a known outcome", what, err)
		}
	}
	equal(s, "what is stored", s.dump(r.client), before)
}
