package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of a replica that stops while something hangs, or is on its way.

func handlerAfterServe(s *scene) {
	r, heir := s.replica(), s.bot()
	bot := r.bot("bot", &options{Grace: 10 * time.Millisecond, Lease: 600 * time.Millisecond})
	var returned atomic.Bool
	stop := s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if returned.Load() {
			s.Errorf("the handler runs after Serve has returned; its context: %v", context.Cause(ctx))
		}
		return echo(ctx, t)
	})
	s.replicas(bot, 1)
	held, resume := r.holdReply(lua.Accept)
	defer resume()
	accepted := make(chan error, 1)
	ctx := s.limited()
	go func() {
		_, err := bot.Accept(ctx, "1", session.Event{ID: "hi", Text: "hi"})
		accepted <- err
	}()
	s.happens("the event is accepted, and handed out", held)
	stop()
	returned.Store(true)
	resume()
	s.ok(receive(s, "Accept returns", accepted))
	s.eventually("another replica handles it", func() bool { return s.drain(heir, echo) > 0 })
	s.handled(heir.Receipt("1", "hi"))
	equal(s, "chat", s.chat(heir.Session("1")), []string{"u hi", "b re hi"})
}

func hungTogether(s *scene) {
	const hung, timeout, most = 20, 2 * time.Second, 20 * time.Second // one after the other would take 40 s
	r, webhook := s.replicaWith(store.Options{Timeout: timeout}), s.bot()
	bot := r.bot("bot", &options{Grace: 10 * time.Millisecond, Lease: longLease})
	g := s.gate()
	defer g.open()
	var running atomic.Int32
	stop := s.serve(bot, func(context.Context, *store.Turn) error {
		running.Add(1)
		g.pass() // whatever its context says
		return nil
	})
	s.replicas(bot, 1)
	for i := range hung {
		s.accept(webhook, fmt.Sprint(i), "hi")
	}
	s.eventually("all handlers hang", func() bool { return running.Load() == hung })
	r.fail(lua.Release, func(context.Context, request) error {
		return &net.OpError{Op: "dial", Err: errors.New("refused")}
	})
	began := time.Now()
	stop()
	if took := time.Since(began); took > most {
		s.Errorf("Serve took %v to end with %d hung handlers and a server that is away", took, hung)
	}
	if n := len(r.scripts(lua.Release)); n < hung {
		s.Errorf("it tried %d times to give back %d sessions", n, hung)
	}
}

func acceptedWhileStopping(s *scene) {
	const events = 20
	r, heir := s.replica(), s.bot()
	bot := r.bot("bot", &options{Grace: time.Millisecond, Lease: 300 * time.Millisecond})
	stop := s.serve(bot, echo)
	s.replicas(bot, 1)
	var errs record[error]
	all := make(chan struct{})
	go func() {
		defer close(all)
		together(s, events, func(i int) {
			_, err := bot.Accept(s.Context(), fmt.Sprint(i), session.Event{ID: "hi", Text: "hi"})
			errs.add(err)
		})
	}()
	s.eventually("the first is accepted", func() bool { return len(r.scripts(lua.Accept)) > 0 })
	stop()
	s.happens("all are accepted", all)
	s.ok(errors.Join(errs.list()...))
	s.serve(heir, echo)
	for i := range events {
		s.handled(heir.Receipt(fmt.Sprint(i), "hi"))
		equal(s, "chat", s.chat(heir.Session(fmt.Sprint(i))), []string{"u hi", "b re hi"})
	}
}
