package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of work that nobody survives, that is slow, or that outlives its session.

func crashesOfEvent(s *scene) {
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	opts.MaxAttempts = 1
	bot := s.replica().bot("bot", opts)
	sess := bot.Session("1")
	s.accept(bot, "1", "deadly")
	s.perish(5)
	s.ok(sess.Reply(s.Context(), "innocent"))
	var letters []session.DeadLetter
	s.eventually("the event is given up", func() bool {
		s.drain(bot, func(context.Context, *store.Turn) error {
			s.Errorf("the event was handed out once more than it may crash")
			return nil
		})
		var err error
		letters, err = sess.DeadLetters(s.Context())
		s.ok(err)
		return len(letters) > 0
	})
	equal(s, "replies sent", texts(sent.list()), []string{"innocent"})
	if len(letters) != 1 || letters[0].Event == nil || letters[0].Event.ID != "deadly" || letters[0].Crashes != 5 {
		s.Errorf("dead letters %+v, want the event with its crashes", letters)
	}
}

func crashesOfReply(s *scene) {
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	s.create(bot.Session("1"), store.Origin{})
	s.ok(bot.Session("1").Reply(s.Context(), "news"))
	s.perish(3)
	receipt := s.accept(bot, "1", "hello")
	var attempts []int
	s.eventually("the event is handled", func() bool {
		s.drain(bot, func(ctx context.Context, t *store.Turn) error {
			attempts = append(attempts, t.Attempt())
			return echo(ctx, t)
		})
		return len(attempts) > 0
	})
	s.handled(receipt)
	equal(s, "attempts on the event", attempts, []int{1})
	equal(s, "replies sent", texts(sent.list()), []string{"news", "re hello"})
}

func maxTurnOfOneSend(s *scene) {
	const replies, each = 8, 200 * time.Millisecond // all of them take longer than MaxTurn
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxTurn: time.Second, MaxAttempts: 1,
		Send: func(ctx context.Context, d store.Delivery) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(each):
				sent.add(d)
				return nil
			}
		}})
	receipt := s.accept(bot, "1", "hi")
	s.drain(bot, func(_ context.Context, t *store.Turn) error {
		for i := range replies {
			t.Reply(fmt.Sprint(i))
		}
		return nil
	})
	s.handled(receipt)
	equal(s, "replies sent", len(sent.list()), replies)
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	for _, l := range letters {
		s.Errorf("reply %v is a dead letter: %s", l.Reply, l.Error)
	}
}

func repliesOutliveHash(s *scene) {
	var up bool
	var sent record[store.Delivery]
	r := s.replica()
	bot := r.bot("bot", &options{Lease: longLease, Send: func(_ context.Context, d store.Delivery) error {
		if !up {
			return store.RetryAfter(50*time.Millisecond, errors.New("the platform is down"))
		}
		if sent.add(d); len(sent.list()) > 10 { // so that what is sent for ever ends
			return store.GiveUp(errors.New("sent too often"))
		}
		return nil
	}})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	for i := range 3 { // so that the old life's numbers are ahead of the new one's
		s.ok(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: fmt.Sprint(i)}))
	}
	s.ok(sess.Reply(s.Context(), "old"))
	s.ok(r.client.Del(s.Context(), s.keys(r.client, sess.Ref())["s"]).Err())
	s.drain(bot, echo)
	s.ok(sess.Reply(s.Context(), "new"))
	receipt := s.accept(bot, "1", "hi")
	up = true
	s.eventually("all replies are noted as sent", func() bool {
		s.drain(bot, echo)
		return len(sent.list()) > 2 && s.status(sess).Unsent == 0
	})
	s.handled(receipt)
	equal(s, "replies sent", texts(sent.list()), []string{"old", "new", "re hi"})
}

func sameStatus(s *scene) {
	bot, far := s.bot(), s.bot()
	g := s.gate()
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		g.pass()
		t.Destroy()
		t.Reply("bye")
		return nil
	})
	own := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	var got record[session.OutcomeStatus]
	var errs record[error]
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		receipts := []*store.Receipt{own, bot.Receipt("1", "hi"), far.Receipt("1", "hi")}
		together(s, len(receipts), func(i int) {
			ctx, cancel := context.WithTimeout(s.Context(), patience)
			defer cancel()
			o, err := receipts[i].Wait(ctx)
			errs.add(err)
			got.add(o.Status)
		})
	}()
	g.open()
	s.happens("all know the outcome", waiting)
	s.ok(errors.Join(errs.list()...))
	equal(s, "outcomes", got.list(), []session.OutcomeStatus{session.Handled, session.Handled, session.Handled})
	s.eventually("the session is gone", func() bool {
		_, err := far.Session("1").Load(s.Context())
		return errors.Is(err, session.ErrNotFound)
	})
}

func wakesOwnProcess(s *scene) {
	const turns, most = 6, 3 * time.Second // each would wait a second for the next look
	r := s.replica()
	serving := r.bot("bot", nil)
	webhook := serving // one process: one Bot
	var runs atomic.Int32
	s.serve(serving, func(ctx context.Context, t *store.Turn) error {
		runs.Add(1)
		return echo(ctx, t)
	})
	s.replicas(webhook, 1)
	s.handled(s.accept(webhook, "1", "until it listens"))
	began := time.Now()
	for i := range turns {
		s.handled(s.accept(webhook, "1", fmt.Sprint(i)))
	}
	if took := time.Since(began); took > most {
		s.Errorf("%d turns took %v, want them woken, not found by looking", turns, took)
	}
	equal(s, "turns", runs.Load(), turns+1)
}
