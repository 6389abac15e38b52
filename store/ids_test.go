package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// fill puts n lines into a hash, under the fields "0", "1", …
func fill(t *testing.T, c redis.UniversalClient, key string, n int, line string) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var pairs []string
		for i := range 1000 {
			pairs = append(pairs, strconv.Itoa(from+i), line)
		}
		if err := c.HSet(t.Context(), key, pairs).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// However much there is to forget, each call forgets a part of it, and in the end
// it is all gone.
func TestEachCallForgetsABoundedPart(t *testing.T) {
	t.Parallel()
	const ids, most = 100_000, 2_000
	for what, test := range map[string]struct {
		hash, line string
		call       func(bot *Bot, i int) error
	}{
		"event ids": {"events", stored.Line{Status: stored.LineHandled, Forget: 1000}.Encode(), func(bot *Bot, i int) error {
			_, err := bot.Accept(t.Context(), "1", session.Event{ID: fmt.Sprint("e", i)})
			return err
		}},
		"void lines": {"events", stored.Line{Status: stored.LineVoid, Forget: 99_999_999_999}.Encode(), func(bot *Bot, i int) error {
			_, err := bot.Accept(t.Context(), "1", session.Event{ID: fmt.Sprint("e", i)})
			return err
		}},
		"calls": {"calls", "1000 1 0 idle", func(bot *Bot, i int) error {
			return bot.Session("1").Set(t.Context(), "k", i)
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := redistest.Single(t)
			c, st := client(t, url), opened(t, url, nil)
			bot := botOf(t, st, "bot", &BotOptions{InboxLimit: ids, RecordOnly: true})
			if _, err := bot.Session("1").Create(t.Context(), Origin{}); err != nil {
				t.Fatal(err)
			}
			key := st.layout.key(test.hash, st.layout.place(session.Ref{Bot: "bot", ID: "1"}))
			fill(t, c, key, ids, test.line)
			if test.hash == "calls" {
				c.HSet(t.Context(), key, "", "0 0") // due now: it was swept a moment ago
			}
			first, calls := ids-1, 0 // of the fields "0" to "99999", one that is there
			for left := int64(ids); ; calls++ {
				before := c.HLen(t.Context(), key).Val()
				if err := test.call(bot, calls); err != nil {
					t.Fatal(err)
				}
				after := c.HLen(t.Context(), key).Val()
				if gone := before - after; gone > most {
					t.Fatalf("call %d forgot %d lines", calls, gone)
				}
				for first >= 0 && !c.HExists(t.Context(), key, strconv.Itoa(first)).Val() {
					first--
				}
				if left = after; first < 0 {
					break
				}
				if calls > ids/50 {
					t.Fatalf("after %d calls %d lines are left", calls, left)
				}
			}
		})
	}
}

// A void line is taken for none, however long it is kept.
func TestAnIDWithAVoidLineIsUnknown(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, st := client(t, url), opened(t, url, nil)
	bot := botOf(t, st, "bot", &BotOptions{RecordOnly: true})
	s := bot.Session("1")
	_, err := s.Create(t.Context(), Origin{})
	noError(t, err)
	void := stored.Line{Status: stored.LineVoid, Made: true, Forget: 99_999_999_999, Token: "1763800000000000", First: 1, Count: 2}.Encode()
	calls := map[string]func(id string) (before bool, err error){
		"Accept": func(id string) (bool, error) {
			r, err := bot.Accept(t.Context(), "1", session.Event{ID: id})
			return err == nil && r.Duplicate, err
		},
		"UpdateOnce": func(id string) (bool, error) {
			_, before, err := bot.UpdateOnce(t.Context(), "1", id, nothing)
			return before, err
		},
		"ApplyOnce": func(id string) (bool, error) {
			_, before, err := s.ApplyOnce(t.Context(), id, session.Change{Set: map[string]any{"k": 1}})
			return before, err
		},
	}
	for what, call := range calls {
		noError(t, c.HSet(t.Context(), st.layout.key("events", st.layout.place(s.Ref())), digest(what), void).Err())
		if o, err := bot.Receipt("1", what).Wait(t.Context()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("the outcome of a void line: %+v, %v", o, err)
		}
		for i := range 2 {
			if before, err := call(what); err != nil || before != (i > 0) {
				t.Errorf("%s, call %d: made before %t, %v", what, i, before, err)
			}
			drained(t, bot, nothing)
		}
		if o, err := bot.Receipt("1", what).Wait(t.Context()); err != nil || o.Status != session.Handled {
			t.Errorf("the outcome after %s: %+v, %v", what, o, err)
		}
	}
}

// A place to go on from that is none, by damage, costs no call.
func TestASweepWithADamagedCursorBeginsAgain(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, st := client(t, url), opened(t, url, nil)
	bot := botOf(t, st, "bot", nil)
	s := bot.Session("1")
	if _, err := s.Create(t.Context(), Origin{}); err != nil {
		t.Fatal(err)
	}
	at := st.layout.place(s.Ref())
	for i, cursor := range []string{"x", "-1", "99999999999999999999999", ""} {
		c.HSet(t.Context(), st.layout.key("events", at), "", cursor)
		c.HSet(t.Context(), st.layout.key("calls", at), "", "0 "+cursor)
		if _, err := bot.Accept(t.Context(), "1", session.Event{ID: fmt.Sprint(i)}); err != nil {
			t.Errorf("Accept with the cursor %q: %v", cursor, err)
		}
		if err := s.Set(t.Context(), "k", i); err != nil {
			t.Errorf("Set with the cursor %q: %v", cursor, err)
		}
	}
}

// A clocked is a server whose clock a test moves.
type clocked struct {
	*miniredis.Miniredis
	now time.Time
}

func newClocked(t *testing.T) *clocked {
	c := &clocked{miniredis.RunT(t), time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)}
	c.SetTime(c.now)
	return c
}

func (c *clocked) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.FastForward(d)
	c.SetTime(c.now)
}

func (c *clocked) open(t *testing.T, timeout time.Duration) *Store {
	return opened(t, "redis://"+c.Addr(), &Options{Timeout: timeout, Logger: slog.New(slog.DiscardHandler)})
}

func accepted(t *testing.T, bot *Bot, id string) *Receipt {
	t.Helper()
	r, err := bot.Accept(t.Context(), "1", session.Event{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drained(t *testing.T, bot *Bot, h Handler) int {
	t.Helper()
	n, err := bot.Drain(t.Context(), h, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func nothing(context.Context, *Turn) error { return nil }

// What one process promised for a day no other with a window of seconds forgets.
func TestAnIDIsRememberedAsPromisedWhoeverSweeps(t *testing.T) {
	t.Parallel()
	c := newClocked(t)
	long := botOf(t, c.open(t, time.Second), "bot", &BotOptions{DedupeWindow: 24 * time.Hour, RecordOnly: true})
	short := botOf(t, c.open(t, time.Second), "bot", nil)
	const ids = 300 // more than one part of a sweep
	for i := range ids {
		accepted(t, long, fmt.Sprint("long ", i))
	}
	drained(t, long, nothing)
	if err := short.Configure(t.Context(), func(o *BotOptions) { o.DedupeWindow = time.Second }); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		c.pass(30 * time.Minute)
		accepted(t, short, fmt.Sprint("short ", i))
		drained(t, short, nothing)
	}
	c.pass(4*time.Hour - time.Minute)
	for i := range ids {
		if !accepted(t, short, fmt.Sprint("long ", i)).Duplicate {
			t.Fatalf("the id %d was forgotten before its day was over", i)
		}
	}
	c.pass(2 * time.Minute)
	if accepted(t, long, "long 0").Duplicate {
		t.Error("an id is remembered for longer than promised")
	}
}

// An event may wait for longer than anything else is remembered: its duplicates
// are known all the same, whoever comes first when it has waited long enough.
func TestAnIDIsKnownForAsLongAsItsEventWaits(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, waits time.Duration) (*clocked, *Bot) {
		c := newClocked(t)
		bot := botOf(t, c.open(t, time.Second), "bot", &BotOptions{DedupeWindow: time.Second, TTL: -1, RecordOnly: true})
		for _, id := range []string{"a", "b", "c"} {
			accepted(t, bot, id)
		}
		c.pass(waits)
		return c, bot
	}
	for _, waits := range []time.Duration{time.Hour, 30 * time.Hour, 100 * 24 * time.Hour} {
		t.Run("duplicates after "+waits.String(), func(t *testing.T) {
			t.Parallel()
			_, bot := begin(t, waits)
			for i, id := range []string{"b", "new", "a", "c", "new"} {
				if r := accepted(t, bot, id); r.Duplicate != (i != 1) {
					t.Errorf("event %s, number %d: duplicate %t", id, i, r.Duplicate)
				}
			}
			if n := drained(t, bot, nothing); n != 4 {
				t.Errorf("%d turns, want 4", n)
			}
		})
		for end, err := range map[string]error{"handled": nil, "dead": GiveUp(errors.New("no"))} {
			t.Run("turns after "+waits.String()+", the first "+end, func(t *testing.T) {
				t.Parallel()
				_, bot := begin(t, waits)
				var order []string
				drained(t, bot, func(_ context.Context, turn *Turn) error {
					order = append(order, turn.Event().ID)
					if turn.Event().ID == "a" {
						return err
					}
					if turn.Event().ID == "b" && (!accepted(t, bot, "b").Duplicate || !accepted(t, bot, "c").Duplicate) {
						t.Error("what waits counts as new")
					}
					return nil
				})
				if strings.Join(order, " ") != "a b c" {
					t.Errorf("handled: %v", order)
				}
			})
		}
		t.Run("a receipt after "+waits.String(), func(t *testing.T) {
			t.Parallel()
			_, bot := begin(t, waits)
			r := bot.Receipt("1", "c")
			if o, found, err := r.look(t.Context()); found || err != nil {
				t.Errorf("what waits: %+v, %v", o, err)
			}
			drained(t, bot, nothing)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if o, err := r.Wait(ctx); err != nil || o.Status != session.Handled {
				t.Errorf("what was handled: %+v, %v", o, err)
			}
		})
	}
}
