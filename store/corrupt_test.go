package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// A damage is done to one key of a session, or of its bucket's index, by
// somebody who writes what does not belong there. The key has the right type:
// of others see package storetest.
type damage struct {
	name string // of the key, as scripts call it
	what string
	do   func(ctx context.Context, c *redis.Client, key string) error
}

func damages() []damage {
	junk := []string{"", "x", "m", "m\xc1", "j{", strings.Repeat("\xff", 22), strings.Repeat("\x00", 40), "1:2:", "1:2:xxxxxxm\xc1", ":::"}
	var all []damage
	add := func(name, what string, do func(ctx context.Context, c *redis.Client, key string) error) {
		all = append(all, damage{name, what, do})
	}
	for _, name := range []string{"history", "inbox", "outbox", "letters"} {
		for _, text := range junk {
			add(name, fmt.Sprintf("%q at its end", text), func(ctx context.Context, c *redis.Client, key string) error { return c.RPush(ctx, key, text).Err() })
			add(name, fmt.Sprintf("%q at its head", text), func(ctx context.Context, c *redis.Client, key string) error { return c.LPush(ctx, key, text).Err() })
		}
		add(name, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, name := range []string{"events", "calls"} {
		for _, text := range append(junk, strings.Repeat("p", 25), strings.Repeat("D", 25), strings.Repeat("V", 30), strings.Repeat("x", 24)+"\xff", "99999999999999 ") {
			add(name, fmt.Sprintf("%q in every field", text), func(ctx context.Context, c *redis.Client, key string) error {
				fields, err := c.HKeys(ctx, key).Result()
				for _, f := range append(fields, "", "another") {
					err = errors.Join(err, c.HSet(ctx, key, f, text).Err())
				}
				return err
			})
		}
		add(name, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, field := range []string{"rec", "hand", "retry", "state", "message", "intent", "file", "d:k", "platform", "user", "err", "d:", "f:"} {
		for _, text := range append(junk, "1", "1 1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1 1 - 7 1", "1 2 free - 0 0", "0 0 free - 0 0 x", "99999999999999999999 1 event a#b 0 0 0 0 0",
			"1 99999999999999999999 1 1 1 1 1 0 0 - 0 1", "9 9 9 9 9 99999999999999999999999") {
			add("session", fmt.Sprintf("%s = %q", field, text), func(ctx context.Context, c *redis.Client, key string) error {
				return c.HSet(ctx, key, field, text).Err()
			})
		}
		add("session", field+" gone", func(ctx context.Context, c *redis.Client, key string) error { return c.HDel(ctx, key, field).Err() })
	}
	add("session", "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	for _, name := range []string{"index", "users", "expiry", "due", "dead"} {
		for _, member := range []string{"", "nobody", "u", "u\x00", "u\x00nobody", "\x00\x00", "bad"} {
			for _, score := range []float64{math.Inf(-1), -1, 0, 1.5, 1e18, math.Inf(1)} {
				add(name, fmt.Sprintf("%q with the score %g", member, score), func(ctx context.Context, c *redis.Client, key string) error {
					return c.ZAdd(ctx, key, redis.Z{Score: score, Member: member}).Err()
				})
			}
		}
		add(name, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, name := range []string{"moves", "bots"} {
		for _, text := range junk {
			add(name, fmt.Sprintf("%q in every field", text), func(ctx context.Context, c *redis.Client, key string) error {
				for _, f := range []string{"", "bot", "start\x00next", "x"} {
					if err := c.HSet(ctx, key, f, text).Err(); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return all
}

// Whatever is damaged: no call panics or hangs, what it answers is an error that
// says so or what is still there, and the other sessions of the bucket go on.
func TestDamageIsSurvivedByTheNeighbours(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	all := damages()
	work := make(chan int)
	go func() {
		defer close(work)
		for i := range all {
			work <- i
		}
	}()
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := range work {
				t.Run(fmt.Sprintf("%s: %s", all[i].name, all[i].what), func(t *testing.T) {
					survive(t, url, client, fmt.Sprint("n", i), all[i])
				})
			}
		})
	}
	bounded.Wait(t, "all damages are tried", &workers)
	t.Logf("%d damages", len(all))
}

func survive(t *testing.T, url string, client *redis.Client, namespace string, d damage) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	st := open(t, url, &store.Options{Namespace: namespace, Buckets: 1, Timeout: 10 * time.Second, Lease: 100 * time.Millisecond})
	brings := store.ServeOptions{
		Send: func(context.Context, store.Delivery) error { return nil },
	}
	bot := botWith(t, st, "bot", store.BotOptions{Backoff: time.Millisecond, MaxAttempts: 2}, brings)
	handler := func(_ context.Context, t *store.Turn) error {
		if t.Event().Text == "fail" {
			return errors.New("as it was told")
		}
		t.Snapshot()
		t.Set("k", "v")
		t.Move("next")
		t.Reply("re " + t.Event().Text)
		return nil
	}
	// Something of everything: a dead letter, a chat, an event that waits, an unsent reply.
	bad := bot.Session("bad")
	for _, text := range []string{"fail", "hi"} {
		if _, err := bot.Accept(ctx, "bad", session.Event{ID: text, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bot.Drain(ctx, handler, &brings); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		bad.SetFile(ctx, session.File{Name: "f", Data: []byte("f")}), bad.Set(ctx, "k", 1), bad.SetIntent(ctx, &session.Intent{Name: "i"}), bad.Reply(ctx, "unsent"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bot.Accept(ctx, "bad", session.Event{ID: "waits", Text: "waits"}); err != nil {
		t.Fatal(err)
	}
	if err := d.do(ctx, client, st.Key(d.name, bad.Ref())); err != nil {
		t.Fatal(err)
	}

	calls := map[string]func() error{
		"Load":    func() error { _, err := bad.Load(ctx); return err },
		"Heads":   func() error { _, err := bad.Heads(ctx); return err },
		"Status":  func() error { _, err := bad.Status(ctx); return err },
		"History": func() error { _, err := bad.History(ctx, session.All().WithWaiting()); return err },
		"History between": func() error {
			_, err := bad.History(ctx, session.All().Since(time.Now().Add(-time.Hour)).Until(time.Now().Add(time.Hour)))
			return err
		},
		"DeadLetters": func() error { _, err := bad.DeadLetters(ctx); return err },
		"File":        func() error { _, err := bad.File(ctx); return err },
		"Sessions":    func() error { _, err := store.Gather(bot.Sessions(ctx, store.Filter{})); return err },
		"OfUser":      func() error { _, err := store.Gather(bot.Sessions(ctx, store.Filter{User: "u"})); return err },
		"Counts":      func() error { _, err := bot.Counts(ctx); return err },
		"Gauges":      func() error { _, err := bot.Gauges(ctx); return err },
		"Set":         func() error { return bad.Set(ctx, "k", "v") },
		"Move":        func() error { return bad.Move(ctx, session.Transition{From: "next", To: "s1"}) },
		"Record":      func() error { return bad.Record(ctx, session.Message{Content: "x"}) },
		"Accept":      func() error { _, err := bot.Accept(ctx, "bad", session.Event{ID: "new", Text: "new"}); return err },
		"Accept again": func() error {
			_, err := bot.Accept(ctx, "bad", session.Event{ID: "waits", Text: "waits"})
			return err
		},
		"Receipt": func() error {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := bot.Receipt("bad", "hi").Wait(short)
			return err
		},
	}
	for what, call := range calls {
		if err := call(); err != nil && !known(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- bot.Serve(serving, handler, &brings) }()
	for _, id := range []string{"good", "better"} {
		r, err := bot.Accept(ctx, id, session.Event{ID: "1", Text: "hello"})
		if err != nil {
			t.Errorf("the neighbour %s: %v", id, err)
			continue
		}
		if o, err := r.Wait(ctx); err != nil || o.Status != session.Handled || len(o.Replies) != 1 {
			t.Errorf("the neighbour %s: %+v, %v", id, o, err)
		}
	}
	stop()
	if err := bounded.Receive(t, "Serve ends", served); err != nil {
		t.Error(err)
	}
	for _, last := range []func() error{
		func() error { return bad.Reset(ctx, session.DropChat) },
		func() error { _, err := bad.Destroy(ctx); return err },
	} {
		if err := last(); err != nil && !known(err) {
			t.Error(err)
		}
	}
}

// corrupt reports whether an error says of the session's key that it cannot be read.
func corrupt(err error, ref session.Ref, name string) bool {
	var c *session.CorruptError
	return errors.As(err, &c) && c.Ref == ref && c.Field == name
}

// What became of an event is not guessed: every call that needs to know says that it
// cannot, and the event itself becomes a dead letter that says so.
func TestALineThatCannotBeReadIsAnErrorOfEveryCall(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st, client := open(t, url, nil), observer(t, url)
	bot := botOf(t, st, "bot", &store.BotOptions{MaxAttempts: 1, RecordOnly: true})
	nothing := func(context.Context, *store.Turn) error { return nil }
	waits, many := stored.Line{Status: stored.LineWaits, Forget: 99999999999}.Encode(), stored.Line{Status: stored.LineHandled, Forget: 99999999999, Count: 300}.Encode()
	for i, line := range []string{
		"", "p", waits[:24], waits + "\x00", "z" + waits[1:], "\x00" + waits[1:], "\xff" + waits[1:], waits[:24] + "\xff", waits + "\x00\x00\x00\x00\x00",
		many[:25], many[:29], many + "\x00", "p 99999999999 c 0 0 0 0",
	} {
		t.Run(fmt.Sprintf("%q", line), func(t *testing.T) {
			ctx, id, event := t.Context(), fmt.Sprint(i), session.Event{ID: "e", Text: "hi"}
			sess := bot.Session(id)
			receipt, err := bot.Accept(ctx, id, event)
			must(t, err)
			must(t, client.HSet(ctx, st.Key("events", sess.Ref()), string(ids.DigestOf(event.ID)), line).Err())
			for what, call := range map[string]func() error{
				"Accept":     func() error { _, err := bot.Accept(ctx, id, event); return err },
				"Wait":       func() error { _, err := receipt.Wait(ctx); return err },
				"UpdateOnce": func() error { _, _, err := bot.UpdateOnce(ctx, id, event.ID, nothing); return err },
				"ApplyOnce":  func() error { _, _, err := sess.ApplyOnce(ctx, event.ID, session.Change{}); return err },
			} {
				if err := call(); !corrupt(err, sess.Ref(), "events") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err = bot.Drain(ctx, nothing, nil)
			must(t, err)
			if o, err := receipt.Wait(ctx); err != nil || o.Status != session.Dead || !strings.Contains(o.Reason, "events") {
				t.Errorf("the event's outcome: %+v, %v", o, err)
			}
			if r, err := bot.Accept(ctx, id, event); err != nil || !r.Duplicate {
				t.Errorf("Accept of the dead event: %+v, %v", r, err)
			}
		})
	}
}

func TestAnElementWithoutItsTimeIsAnErrorOrLeftAlone(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st, client, ctx := open(t, url, nil), observer(t, url), t.Context()
	bot := botOf(t, st, "bot", &store.BotOptions{MaxAttempts: 1, RecordOnly: true})
	sess := bot.Session("1")
	_, err := bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
	must(t, err)
	must(t, client.RPush(ctx, st.Key("letters", sess.Ref()), "short").Err())
	_, err = bot.Drain(ctx, func(context.Context, *store.Turn) error { return errors.New("as it was told") }, nil)
	must(t, err)
	letters, err := sess.DeadLetters(ctx)
	if len(letters) != 1 || letters[0].Error != "as it was told" || !corrupt(err, sess.Ref(), "letters") {
		t.Errorf("the dead letters behind one that is damaged: %+v, %v", letters, err)
	}
	must(t, client.LPush(ctx, st.Key("history", sess.Ref()), "short").Err())
	for what, q := range map[string]session.Query{"since": session.All().Since(time.Unix(1, 0)), "until": session.All().Until(time.Unix(1, 0))} {
		if _, err := sess.History(ctx, q); !corrupt(err, sess.Ref(), "history") {
			t.Errorf("the history %s a moment: %v", what, err)
		}
	}
}

// known are the errors that say what is wrong with a session.
func known(err error) bool {
	for _, is := range []error{session.ErrCorrupt, session.ErrNewerLayout, session.ErrNotFound, session.ErrInboxFull, session.ErrWrongState, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
