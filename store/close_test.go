package store

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

func TestCloseEndsWhatRunsAndWhatWaits(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for name, open := range map[string]func(t *testing.T) *Store{
		"Open": func(t *testing.T) *Store { return opened(t, url, nil) },
		"New": func(t *testing.T) *Store {
			st, err := New(t.Context(), client(t, url), nil)
			noError(t, err)
			return st
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			st := open(t)
			bot, near := botOf(t, st, name, nil), botOf(t, opened(t, url, nil), name, nil)
			receipt, err := bot.Accept(ctx, "waits", session.Event{ID: "e"})
			noError(t, err)
			held, free := make(chan struct{}), make(chan struct{})
			t.Cleanup(func() { close(free) })
			_, err = near.Session("held").Create(ctx, Origin{})
			noError(t, err)
			go near.Update(ctx, "held", func(context.Context, *Turn) error { close(held); <-free; return nil })
			bounded.Receive(t, "another process holds a session", held)

			ended := map[string]chan error{}
			run := func(what string, f func() error) {
				done := make(chan error, 1)
				ended[what] = done
				go func() { done <- f() }()
			}
			run("Serve", func() error {
				return bot.Serve(ctx, func(context.Context, *Turn) error { return errors.New("not now") }, nil)
			})
			run("Wait", func() error { _, err := receipt.Wait(ctx); return err })
			run("Update", func() error {
				_, err := bot.Update(ctx, "held", func(context.Context, *Turn) error { return nil })
				return err
			})
			run("Watch", func() (err error) {
				for _, err = range bot.Watch(ctx) {
				}
				return err
			})
			eventually(t, "all of them run", func() bool {
				names, _ := near.replicas(ctx)
				s, _ := near.Session("waits").Status(ctx)
				watched, _ := client(t, url).Exists(ctx, st.layout.key("watch", st.layout.place(session.Ref{Bot: name, ID: "waits"}))).Result()
				return len(names) > 0 && s.Event.Failures > 0 && watched > 0
			})
			noError(t, st.Close())
			noError(t, st.Close())
			for what, done := range ended {
				if err := bounded.Receive(t, what+" ends", done); !errors.Is(err, redis.ErrClosed) {
					t.Errorf("%s returns %v", what, err)
				}
			}
			for what, f := range map[string]func() error{
				"Bot":      func() error { _, err := st.Bot(ctx, "other", nil); return err },
				"the same": func() error { _, err := st.Bot(ctx, name, nil); return err },
				"Accept":   func() error { _, err := bot.Accept(ctx, "1", session.Event{ID: "f"}); return err },
				"Set":      func() error { return bot.Session("held").Set(ctx, "k", 1) },
				"Load":     func() error { _, err := bot.Session("held").Load(ctx); return err },
				"Drain": func() error {
					_, err := bot.Drain(ctx, func(context.Context, *Turn) error { return nil }, nil)
					return err
				},
				"Counts":   func() error { _, err := bot.Counts(ctx); return err },
				"Gauges":   func() error { _, err := bot.Gauges(ctx); return err },
				"Letters":  func() error { _, err := bot.Session("held").DeadLetters(ctx); return err },
				"Bots":     func() error { _, err := st.Bots(ctx); return err },
				"Settings": func() error { _, err := bot.Settings(ctx); return err },
				"Check": func() (err error) {
					for _, err = range st.Check(ctx) {
					}
					return err
				},
				"Sessions": func() (err error) {
					for _, err = range bot.Sessions(ctx, Filter{}) {
					}
					return err
				},
			} {
				if err := f(); !errors.Is(err, redis.ErrClosed) {
					t.Errorf("%s of a closed store returns %v", what, err)
				}
			}
			s, err := near.Session("held").Status(ctx)
			if err != nil || s.Version != 1 {
				t.Errorf("something was written after Close: %+v, %v", s, err)
			}
		})
	}
}
