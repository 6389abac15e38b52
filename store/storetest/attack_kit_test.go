package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

// These need a server whose clock a test can move.

func TestAChatInUseIsKeptWhole(t *testing.T) {
	t.Parallel()
	kit := New(t, echo, nil, nil)
	for i := range 20 { // twice as long as its time to live
		kit.Say("ann", "hello")
		chat, err := kit.Bot().Session("ann").History(t.Context(), session.All())
		if err != nil || len(chat) != 2*(i+1) {
			t.Fatalf("at the visit on day %d there are %d messages, %v; want %d", 3*i, len(chat), err, 2*(i+1))
		}
		kit.Advance(3 * 24 * time.Hour)
	}
}

func TestASessionIsKeptForAsLongAsItsEventIsRetried(t *testing.T) {
	t.Parallel()
	const pause = 10 * 24 * time.Hour // much longer than the time to live, and than Redis' own
	var found []any
	kit := New(t, func(_ context.Context, turn *store.Turn) error {
		if turn.Event().Text == "set" {
			turn.Set("k", "v")
			return nil
		}
		v, _ := turn.Get("k")
		found = append(found, v, turn.Attempt())
		if turn.Attempt() == 1 {
			return store.RetryAfter(pause, errors.New("later"))
		}
		return nil
	}, &store.BotOptions{TTL: time.Hour}, nil)
	kit.Say("ann", "set")
	kit.Say("ann", "later")
	kit.Advance(pause + time.Hour)
	if got, want := fmt.Sprint(found), "[v 1 v 2]"; got != want {
		t.Errorf("data and attempt in each turn: %s, want %s", got, want)
	}
}

// movable starts a server whose clock is ahead of the machine's by what forward
// is told, from then on. It shows the time as of the last tick.
func movable(t *testing.T) (s *scene, forward func(time.Duration)) {
	server := miniredis.RunT(t)
	server.SetTime(time.Now())
	moves := make(chan time.Duration)
	go func() {
		ahead := time.Duration(0)
		ticker := time.NewTicker(glance)
		defer ticker.Stop()
		for {
			select {
			case by := <-moves:
				ahead += by
				server.SetTime(time.Now().Add(ahead))
				server.FastForward(by)
				moves <- 0
			case <-ticker.C:
				server.SetTime(time.Now().Add(ahead))
				server.FastForward(glance)
			case <-t.Context().Done():
				return
			}
		}
	}()
	s = newScene(t, func(t testing.TB) redis.UniversalClient {
		c, err := store.ParseURL("redis://" + server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
	return s, func(by time.Duration) {
		moves <- by // the goroutine above lives as long as the test
		bounded.Receive(t, "the clock has moved", moves)
	}
}

func TestARetryAfterTheServersClockWentForwardAppliesOnce(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{4 * time.Second, 20 * time.Second, time.Hour} {
		s, forward := movable(t)
		r := s.replica()
		sess := r.bot("bot", nil).Session("1")
		s.create(sess, store.Origin{})
		s.ok(sess.Touch(s.Context())) // loads the script
		first := true
		r.fail(lua.Change, func(_ context.Context, q request) error {
			if !first {
				return q.deliver()
			}
			first = false
			s.ok(q.deliver())
			forward(by)
			return io.EOF
		})
		err := sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "hi"})
		if err != nil {
			s.is(err, session.ErrUnknownOutcome)
		}
		equal(s, fmt.Sprintf("chat after one Record, and %v forward", by), s.chat(sess), []string{"b hi"})
	}
}

func TestALookGoesByTheServersClock(t *testing.T) {
	t.Parallel()
	s, forward := movable(t)
	serving, other := s.bot(), s.replica()
	s.serve(serving, echo)
	s.replicas(serving, 1)
	forward(time.Hour)
	other.client.AddHook(deaf{}) // its wake-ups are lost: only looking finds the event
	s.handled(s.accept(other.bot("bot", nil), "1", "hello"))
}
