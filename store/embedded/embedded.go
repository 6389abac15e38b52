// Package embedded keeps bot sessions in this process, on a miniredis. It is for
// demos and development, and for nothing else.
//
//	st, err := embedded.Open(ctx, nil)
//	if err != nil {
//		return err
//	}
//	defer st.Close()
//
//	bot, err := st.Bot(ctx, "echo", &store.BotOptions{RecordOnly: true})
//	if err != nil {
//		return err
//	}
//	go bot.Serve(ctx, func(ctx context.Context, t *store.Turn) error {
//		t.Reply("You said " + t.Event().Text)
//		return nil
//	}, nil)
//	receipt, err := bot.Accept(ctx, "42", session.Event{ID: "1", Text: "hello"})
//
// # It keeps nothing
//
// All sessions are gone when the process ends or the store is closed; there is no
// way to save them. It is also much slower than Redis. Everything else is as with
// Redis: the same scripts run on it, sessions expire, and other processes can use
// it by its URL.
package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/store"
)

// A Store is a [store.Store] together with the server on which it keeps its
// sessions.
type Store struct {
	*store.Store
	on *server
}

// Open starts a server on a free port of 127.0.0.1 and opens a store on it.
// Nil options mean the defaults. It logs a warning that nothing is kept, to
// opts.Logger or, if that is nil, to slog.Default(). Its errors are those of
// [store.Open].
func Open(ctx context.Context, opts *store.Options) (*Store, error) {
	var log *slog.Logger
	if opts != nil {
		log = opts.Logger
	}
	on, err := start(log)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, on.url(), opts)
	if err != nil {
		on.close()
		return nil, fmt.Errorf("open the embedded store: %w", err)
	}
	return &Store{Store: st, on: on}, nil
}

// URL returns the URL with which other stores, in this process or in others on
// this machine, can use the same sessions.
func (s *Store) URL() string { return s.on.url() }

// Close closes the store and then its server: all sessions are gone. A second
// Close does nothing.
func (s *Store) Close() error {
	defer s.on.close()
	return s.Store.Close()
}

// A server is an in-process Redis stand-in that listens on a free port of
// 127.0.0.1. Unlike a bare miniredis, its keys expire as time goes by.
type server struct {
	redis *miniredis.Miniredis
	stop  chan struct{}
	once  sync.Once
	clock sync.WaitGroup
}

// start starts a server. It warns on log that nothing is kept; nil means
// [slog.Default].
func start(log *slog.Logger) (*server, error) {
	redis, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start the embedded server: %w", err)
	}
	s := &server{redis: redis, stop: make(chan struct{})}
	s.clock.Go(s.expire)
	if log == nil {
		log = slog.Default()
	}
	log.Warn("the embedded store KEEPS NOTHING: all sessions are gone when this process ends; use a Redis server for anything but demos and development",
		"url", s.url())
	return s, nil
}

// url returns the address of the server, for [store.Open].
func (s *server) url() string { return "redis://" + s.redis.Addr() }

// close stops the server. Whatever it held is gone. A second call does nothing.
func (s *server) close() {
	s.once.Do(func() {
		close(s.stop)
		s.clock.Wait()
		s.redis.Close()
	})
}

// expiry is how often keys are looked at, and so how late one may expire.
const expiry = time.Second

// expire lets the time to live of every key run, which a miniredis leaves to
// its user. One look walks all keys under the server's lock, so on a large
// store the looks grow rarer: they take at most a fiftieth of the time.
func (s *server) expire() {
	last := time.Now()
	timer := time.NewTimer(expiry)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		}
		now := time.Now()
		s.redis.FastForward(now.Sub(last))
		last = now
		timer.Reset(max(expiry, 50*time.Since(now)))
	}
}
