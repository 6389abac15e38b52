package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// A calls is a client's hook that notes which scripts of a session it sends.
type calls struct {
	mu   sync.Mutex
	made []string
}

var scriptNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, script := range lua.All {
		names[script.SHA()] = script.Name
	}
	return names
})

func (c *calls) note(cmd redis.Cmder) {
	if args := cmd.Args(); cmd.Name() == "evalsha" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if name := scriptNames()[args[1].(string)]; !slices.Contains([]string{"beat", "look", "lease", "status", "load", "history", "settings", "outcome"}, name) {
			c.made = append(c.made, name)
		}
	}
}

// take returns what was sent since the last take.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := c.made
	c.made = nil
	return made
}

func (c *calls) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *calls) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.note(cmd); return next(ctx, cmd) }
}
func (c *calls) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			c.note(cmd)
		}
		return next(ctx, cmds)
	}
}

// An eagerScene has a bot that is served eagerly, with a session that the process knows.
type eagerScene struct {
	*testing.T
	calls
	st, other *Store
	bot       *Bot
	away      *Bot // away is the same bot in another process.
	runs      atomic.Int32
	handle    atomic.Pointer[Handler]
	events    int
}

func newEagerScene(t *testing.T, recordOnly bool) *eagerScene {
	url := redistest.Single(t)
	s := &eagerScene{T: t}
	c, err := ParseURL(url)
	noError(t, err)
	c.AddHook(&s.calls)
	s.st, err = New(t.Context(), c, &Options{Buckets: 1})
	noError(t, err)
	t.Cleanup(func() { s.st.Close(); c.Close() })
	s.other = opened(t, url, &Options{Buckets: 1})
	opts := &BotOptions{RecordOnly: recordOnly, Backoff: time.Millisecond}
	s.bot, s.away = botOf(t, s.st, "bot", opts), botOf(t, s.other, "bot", opts)
	serve := &ServeOptions{Eager: true}
	if !recordOnly {
		serve.Send = func(context.Context, Delivery) error { return nil }
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.bot.Serve(ctx, func(ctx context.Context, turn *Turn) error {
			s.runs.Add(1)
			if handle := s.handle.Load(); handle != nil {
				if err := (*handle)(ctx, turn); err != nil {
					return err
				}
			}
			turn.Set("last", turn.Event().Text)
			turn.Reply("re " + turn.Event().Text)
			return nil
		}, serve)
	}()
	t.Cleanup(func() { cancel(); noError(t, bounded.Receive(t, "Serve ends", done)) })
	eventually(t, "it serves", func() bool { return s.bot.serving.Load() != nil })
	s.bot.serving.Load().patience = time.Minute
	for range 3 { // the first makes the session, the second is the first usual turn, by the third all scripts are known
		s.says()
	}
	s.runs.Store(0)
	s.take()
	return s
}

// accept has the event of that id accepted.
func (s *eagerScene) accept(ctx context.Context, id string) (*Receipt, error) {
	return s.bot.Accept(ctx, "1", session.Event{ID: id, Text: id})
}

// says has a next event accepted and handled, and the session known.
func (s *eagerScene) says() *Receipt {
	s.Helper()
	s.events++
	r, err := s.accept(s.Context(), fmt.Sprint("event ", s.events))
	noError(s.T, err)
	s.handled(r)
	return r
}

func (s *eagerScene) handled(r *Receipt) {
	s.Helper()
	o, err := r.Wait(s.Context())
	noError(s.T, err)
	noError(s.T, o.Err())
	if len(o.Replies) != 1 || o.Replies[0].String() != "re "+r.EventID {
		s.Errorf("the replies to %q are %v", r.EventID, o.Replies)
	}
	s.free()
}

// free waits until nothing more happens.
func (s *eagerScene) free() {
	s.Helper()
	eventually(s.T, "the session is free", func() bool {
		st, err := s.away.Session("1").Status(s.Context())
		noError(s.T, err)
		return st.Lease.Work == session.WorkNone && st.Waiting+st.Unsent == 0 && len(s.bot.serving.Load().slots) == 0
	})
}

// is checks how often the handler ran and what was sent meanwhile, that each event is
// in the chat once, and that all that is stored fits together.
func (s *eagerScene) is(runs int32, sent ...string) {
	s.Helper()
	s.free()
	if n := s.runs.Load(); n != runs {
		s.Errorf("the handler ran %d times, want %d", n, runs)
	}
	if made := s.take(); !slices.Equal(made, sent) {
		s.Errorf("the scripts are %v, want %v", made, sent)
	}
	chat, err := s.away.Session("1").History(s.Context(), session.All())
	noError(s.T, err)
	times := map[string]int{}
	for _, m := range chat {
		times[m.String()]++
	}
	for text, n := range times {
		if n != 1 {
			s.Errorf("%q is in the chat %d times", text, n)
		}
	}
	noError(s.T, s.other.Whole(s.Context()))
}

func second[T any](_ T, err error) error { return err }

func (s *eagerScene) handles(h Handler) { s.handle.Store(&h) }

func TestAnEagerTurnIsOneTrip(t *testing.T) {
	t.Parallel()
	s := newEagerScene(t, true)
	before, err := s.away.Session("1").Load(t.Context())
	noError(t, err)
	r := s.says()
	s.is(1, "commit")
	after, err := s.away.Session("1").Load(t.Context())
	noError(t, err)
	if after.Version != before.Version+1 || after.Seq != before.Seq+2 || after.Data["last"] != r.EventID || r.Duplicate || r.Created {
		t.Errorf("after %+v it is %+v, with the receipt %+v", before, after, r)
	}
	if again, err := s.away.Accept(t.Context(), "1", session.Event{ID: r.EventID, Text: "again"}); err != nil || !again.Duplicate {
		t.Errorf("the same event elsewhere: %+v, %v", again, err)
	}
	if o, err := s.away.Receipt("1", r.EventID).Wait(t.Context()); err != nil || len(o.Replies) != 1 {
		t.Errorf("its outcome elsewhere: %+v, %v", o, err)
	}
	again, err := s.accept(t.Context(), r.EventID)
	if err != nil || !again.Duplicate {
		t.Errorf("the same event here: %+v, %v", again, err)
	}
}

func TestAnEagerTurnSendsItsReplies(t *testing.T) {
	t.Parallel()
	s := newEagerScene(t, false)
	s.says()
	s.is(1, "commit", "sent")
	s.says()
	s.is(2, "commit", "sent")
}

// What the handler does in its own session has the event accepted first, and then goes
// on under the lease.
func TestAnEagerRunGoesOnUnderALeaseWhereItMust(t *testing.T) {
	t.Parallel()
	own := func(s *eagerScene) *Session { return s.bot.Session("1") }
	for name, c := range map[string]struct {
		does func(s *eagerScene, ctx context.Context, t *Turn) error
		sent []string
	}{
		"the chat is read": {func(_ *eagerScene, ctx context.Context, t *Turn) error {
			return second(t.History(ctx, session.Last(2)))
		}, []string{"accept", "commit"}},
		"the session is read": {func(s *eagerScene, ctx context.Context, _ *Turn) error { return second(own(s).Load(ctx)) }, []string{"accept", "commit"}},
		"a live verb":         {func(s *eagerScene, ctx context.Context, _ *Turn) error { return own(s).Set(ctx, "live", 1) }, []string{"accept", "change", "commit", "settle"}},
		"it takes long": {func(s *eagerScene, _ context.Context, _ *Turn) error {
			eventually(s.T, "it is accepted", func() bool { return len(s.sent()) > 0 })
			return nil
		}, []string{"accept", "commit"}},
		"a reset": {func(_ *eagerScene, _ context.Context, t *Turn) error { t.Reset(session.KeepChat); return nil }, []string{"accept", "settle"}},
		"another event": {func(s *eagerScene, ctx context.Context, _ *Turn) error {
			return second(s.bot.Accept(ctx, "2", session.Event{ID: "x"}))
		}, nil},
		"the session is moved twice": {func(_ *eagerScene, _ context.Context, t *Turn) error { t.Move("a"); t.Move("b"); return nil }, []string{"accept", "settle"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newEagerScene(t, true)
			if name == "it takes long" {
				s.bot.serving.Load().patience = time.Millisecond
			}
			s.handles(func(ctx context.Context, turn *Turn) error {
				if turn.Ref().ID != "1" {
					return nil
				}
				return c.does(s, ctx, turn)
			})
			r, err := s.accept(t.Context(), "event")
			noError(t, err)
			s.handled(r)
			if c.sent != nil {
				s.is(1, c.sent...)
			}
		})
	}
}

// sent returns what take would.
func (s *eagerScene) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.made)
}

// A handler that fails, in whatever way, fails as the turn of an accepted event.
func TestAnEagerRunThatFailsIsAnAttempt(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]func() error{
		"an error": func() error { return errors.New("no") },
		"a panic":  func() error { panic("no") },
		"an exit":  func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newEagerScene(t, true)
			var attempts []int
			s.handles(func(_ context.Context, turn *Turn) error {
				attempts = append(attempts, turn.Attempt())
				if turn.Attempt() == 1 {
					return fails()
				}
				return nil
			})
			r, err := s.accept(t.Context(), "event")
			noError(t, err)
			s.handled(r)
			s.is(2, "accept", "release", "settle")
			if !slices.Equal(attempts, []int{1, 2}) {
				t.Errorf("the attempts are %v", attempts)
			}
		})
	}
}

// Where the session is another one by now, nothing of the run is left.
func TestAnEagerRunOnAnOldRecordIsDropped(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(s *eagerScene, ctx context.Context) error{
		"a live verb elsewhere": func(s *eagerScene, ctx context.Context) error { return s.away.Session("1").Set(ctx, "live", 1) },
		"a turn elsewhere": func(s *eagerScene, ctx context.Context) error {
			return second(s.away.Update(ctx, "1", func(_ context.Context, t *Turn) error { t.Set("live", 1); return nil }))
		},
		"a reset elsewhere": func(s *eagerScene, ctx context.Context) error {
			return s.away.Session("1").Reset(ctx, session.KeepChat)
		},
	} {
		for _, when := range []string{"before", "while"} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				s := newEagerScene(t, true)
				var seen []any
				s.handles(func(_ context.Context, turn *Turn) error {
					if when == "while" && s.runs.Load() == 1 {
						noError(t, meanwhile(s, t.Context()))
					}
					seen = append(seen, turn.Snapshot().Data["live"])
					return nil
				})
				if when == "before" {
					noError(t, meanwhile(s, t.Context()))
				}
				r, err := s.accept(t.Context(), "event")
				noError(t, err)
				s.handled(r)
				if made := s.sent(); len(made) != 3 || made[0] != "commit" || made[1] != "accept" {
					t.Errorf("the scripts are %v", made)
				}
				s.take()
				s.is(2)
				if name != "a reset elsewhere" && (seen[0] != nil || seen[len(seen)-1] != int64(1)) {
					t.Errorf("the runs see %v", seen)
				}
				snap, err := s.away.Session("1").Load(t.Context())
				noError(t, err)
				if name != "a reset elsewhere" && snap.Data["live"] != int64(1) {
					t.Errorf("what came between is lost: %v", snap.Data)
				}
			})
		}
	}
}

// A caller who gives up before the event is accepted is told so, and nothing is stored.
func TestAnEagerRunWhoseCallerGivesUpIsDropped(t *testing.T) {
	t.Parallel()
	s := newEagerScene(t, true)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough, ended := errors.New("enough"), make(chan struct{})
	s.handles(func(run context.Context, turn *Turn) error {
		if s.runs.Load() == 1 {
			cancel(enough)
			<-run.Done()
			if !errors.Is(context.Cause(run), session.ErrFenced) {
				t.Errorf("the run's context ended because of %v", context.Cause(run))
			}
			close(ended)
		}
		return nil
	})
	_, err := s.accept(ctx, "event")
	if errors.Is(err, enough) { // else the event was accepted before it was seen
		bounded.Receive(t, "the run ends", ended)
		s.is(1)
	} else {
		t.Errorf("Accept returned %v", err)
	}
	r, err := s.accept(t.Context(), "event")
	noError(t, err)
	s.handled(r)
	if r.Duplicate {
		t.Error("the event had been accepted")
	}
}

// An event that is known is not handled again, though its handler runs.
func TestAnEagerRunOfAKnownEventIsDropped(t *testing.T) {
	t.Parallel()
	s := newEagerScene(t, true)
	first := s.says()
	s.is(1, "commit")
	again, err := s.accept(t.Context(), first.EventID)
	noError(t, err)
	if !again.Duplicate {
		t.Error("it is no duplicate")
	}
	s.is(2, "commit", "accept")
}

func TestEagerRunsStopWhereMostAreDropped(t *testing.T) {
	t.Parallel()
	var x tries
	for range 999 {
		x.note(true)
	}
	if !x.may() || x.rate() != 100 {
		t.Errorf("after 999 turns: %t, %d in a hundred", x.may(), x.rate())
	}
	for range 501 {
		x.note(false)
	}
	if x.may() {
		t.Error("with 499 of the last thousand it goes on")
	}
	var few tries
	for range tooFew - 1 {
		few.note(false)
	}
	if !few.may() {
		t.Error("it stops after few runs")
	}
	if few.note(false); few.may() {
		t.Error("it never stops")
	}
}
