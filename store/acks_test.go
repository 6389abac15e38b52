package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

func TestAcksAreWaitedFor(t *testing.T) {
	t.Parallel()
	url, replica := redistest.Pair(t)
	st := open(t, url, &store.Options{Acks: 1, Timeout: 20 * time.Second})
	bot := botOf(t, st, "bot", nil)
	s := bot.Session("1")
	ctx := t.Context()
	if _, err := s.Create(ctx, store.Origin{}); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for i := range 50 { // some of them share a flight
		callers.Go(func() {
			key := fmt.Sprint("key ", i)
			if err := s.Set(ctx, key, i); err != nil {
				t.Error(err)
			}
			// What was acknowledged is on the replica, as yet read-only.
			if !replica.HExists(ctx, st.Key("session", s.Ref()), "d:"+key).Val() {
				t.Errorf("%q was acknowledged, and the replica has it not", key)
			}
		})
	}
	bounded.Wait(t, "all callers return", &callers)

	if err := replica.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	bot = botOf(t, open(t, url, &store.Options{Acks: 1, Timeout: 2 * time.Second}), "bot", nil)
	s = bot.Session("1")
	err := s.Set(ctx, "alone", true)
	if !errors.Is(err, session.ErrUnknownOutcome) || !errors.Is(err, session.ErrNotAcked) {
		t.Errorf("a write that no replica has: %v", err)
	}
	if _, found, err := s.Get(ctx, "alone"); !found || err != nil {
		t.Errorf("that write is done, and reads wait for nobody: %v, %v", found, err)
	}
	receipt, err := bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
	if !errors.Is(err, session.ErrNotAcked) {
		t.Errorf("an event that no replica has: %v, %v", receipt, err)
	}
	// Delivered again it is a duplicate, and still nobody has it.
	if receipt, err = bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"}); !errors.Is(err, session.ErrNotAcked) {
		t.Errorf("a duplicate of it: %v, %v", receipt, err)
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(url, "redis://"), ":")
	if err := replica.ReplicaOf(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the replica has caught up", func() bool {
		receipt, err = bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
		return err == nil
	})
	if !receipt.Duplicate {
		t.Error("the event was accepted twice")
	}
}

// A fail-over, asked for under load: what Accept acknowledged is handled.
func TestAFailOverUndoesNothingThatWasAcked(t *testing.T) {
	t.Parallel()
	url := redistest.Sentinel(t)
	st := open(t, url, &store.Options{Acks: 1, Timeout: 20 * time.Second})
	bot := botOf(t, st, "bot", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var accepted sync.Map
	var n, after atomic.Int64
	over := make(chan struct{})
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := 0; after.Load() < 200 && ctx.Err() == nil; i++ {
				id, event := fmt.Sprint("user ", caller), fmt.Sprint("event ", caller, " ", i)
				_, err := bot.Accept(ctx, id, session.Event{ID: event, Text: "hi"})
				if err != nil {
					if !errors.Is(err, session.ErrUnknownOutcome) {
						t.Log(err)
					}
					continue
				}
				accepted.Store(event, id)
				n.Add(1)
				select {
				case <-over:
					after.Add(1)
				default:
				}
			}
		})
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(url, "redis+sentinel://"), ",")
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: first})
	defer sentinel.Close()
	master := func() string { return fmt.Sprint(sentinel.GetMasterAddrByName(ctx, "main").Val()) }
	old := master()
	for n.Load() < 200 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := sentinel.Failover(ctx, "main").Err(); err != nil {
		t.Fatal(err)
	}
	for master() == old && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	close(over)
	bounded.Wait(t, "all callers return", &callers)

	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- bot.Serve(serving, func(context.Context, *store.Turn) error { return nil }, nil)
	}()
	lost := 0
	accepted.Range(func(event, id any) bool {
		o, err := bot.Receipt(id.(string), event.(string)).Wait(ctx)
		if err != nil || o.Status != session.Handled {
			lost++
			t.Errorf("%v of %v was accepted: %v, %v", event, id, o, err)
		}
		return lost < 10
	})
	stop()
	if err := bounded.Receive(t, "Serve ends", served); err != nil {
		t.Error(err)
	}
	t.Logf("%d events accepted, %d of them after the fail-over, %d lost", n.Load(), after.Load(), lost)
}
