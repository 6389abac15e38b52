package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// A damage is done to one key of a session, or of its bucket's index, by
// somebody who writes what does not belong there. The key has the right type:
// of others see package storetest.
type damage struct {
	kind string // of the key, see layout.go
	what string
	do   func(ctx context.Context, c *redis.Client, key string) error
}

func damages() []damage {
	junk := []string{"", "x", "m", "m\xc1", "j{", strings.Repeat("\xff", 22), strings.Repeat("\x00", 40), "1:2:", "1:2:xxxxxxm\xc1", ":::"}
	var all []damage
	add := func(kind, what string, do func(ctx context.Context, c *redis.Client, key string) error) {
		all = append(all, damage{kind, what, do})
	}
	for _, kind := range []string{"h", "q", "o", "x"} {
		for _, text := range junk {
			add(kind, fmt.Sprintf("%q at its end", text), func(ctx context.Context, c *redis.Client, key string) error { return c.RPush(ctx, key, text).Err() })
			add(kind, fmt.Sprintf("%q at its head", text), func(ctx context.Context, c *redis.Client, key string) error { return c.LPush(ctx, key, text).Err() })
		}
		add(kind, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, kind := range []string{"e", "p"} {
		for _, text := range append(junk, "p 99999999999 x 0", "d 1", "z 1 2 3 4 5 6", "99999999999999 ") {
			add(kind, fmt.Sprintf("%q in every field", text), func(ctx context.Context, c *redis.Client, key string) error {
				fields, err := c.HKeys(ctx, key).Result()
				for _, f := range append(fields, "", "another") {
					err = errors.Join(err, c.HSet(ctx, key, f, text).Err())
				}
				return err
			})
		}
		add(kind, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, field := range []string{"head", "lease", "retry", "state", "message", "intent", "file", "d:k", "platform", "user", "err", "d:", "f:"} {
		for _, text := range append(junk, "1", "1 1 1 1 1 1 1 1 1 1", "1 1 1 1 1 1 1 1 1 - 7 1", "1 2 free - 0 0", "0 0 free - 0 0 x", "99999999999999999999 1 event a#b 0 0 0 0 0",
			"1 99999999999999999999 1 1 1 1 1 0 0 - 0 1", "9 9 9 9 9 99999999999999999999999") {
			add("s", fmt.Sprintf("%s = %q", field, text), func(ctx context.Context, c *redis.Client, key string) error {
				return c.HSet(ctx, key, field, text).Err()
			})
		}
		add("s", field+" gone", func(ctx context.Context, c *redis.Client, key string) error { return c.HDel(ctx, key, field).Err() })
	}
	add("s", "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	for _, kind := range []string{"i", "n", "ttl", "due", "dead"} {
		for _, member := range []string{"", "nobody", "s", "u", "s\x00", "snowhere\x00nobody", "\x00\x00", "bad"} {
			for _, score := range []float64{-1, 0, 1, 1e18} {
				add(kind, fmt.Sprintf("%q with the score %g", member, score), func(ctx context.Context, c *redis.Client, key string) error {
					return c.ZAdd(ctx, key, redis.Z{Score: score, Member: member}).Err()
				})
			}
		}
		add(kind, "gone", func(ctx context.Context, c *redis.Client, key string) error { return c.Del(ctx, key).Err() })
	}
	for _, kind := range []string{"g", "b"} {
		for _, text := range junk {
			add(kind, fmt.Sprintf("%q in every field", text), func(ctx context.Context, c *redis.Client, key string) error {
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
				t.Run(fmt.Sprintf("%s: %s", all[i].kind, all[i].what), func(t *testing.T) {
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
	keys, err := client.Keys(ctx, namespace+":{*:s:bot/bad").Result()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	tag, _ := strings.CutSuffix(keys[0], "s:bot/bad")
	key := tag + d.kind + ":bot"
	switch d.kind {
	case "h", "q", "o", "x", "e", "p", "s":
		key += "/bad"
	case "b":
		key = tag + "b"
	}
	if err := d.do(ctx, client, key); err != nil {
		t.Fatal(err)
	}

	calls := map[string]func() error{
		"Load":        func() error { _, err := bad.Load(ctx); return err },
		"Status":      func() error { _, err := bad.Status(ctx); return err },
		"History":     func() error { _, err := bad.History(ctx, session.All().WithWaiting()); return err },
		"DeadLetters": func() error { _, err := bad.DeadLetters(ctx); return err },
		"File":        func() error { _, err := bad.File(ctx); return err },
		"Sessions":    func() error { _, err := store.Gather(bot.Sessions(ctx, store.Filter{})); return err },
		"OfUser":      func() error { _, err := store.Gather(bot.Sessions(ctx, store.Filter{User: "u"})); return err },
		"Counts":      func() error { _, err := bot.Counts(ctx); return err },
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

// known are the errors that say what is wrong with a session.
func known(err error) bool {
	for _, is := range []error{session.ErrCorrupt, session.ErrNewerLayout, session.ErrNotFound, session.ErrInboxFull, session.ErrWrongState, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
