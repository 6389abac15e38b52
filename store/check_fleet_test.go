package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// While a fleet handles, fails, sends, resets, ends and lets expire what callers
// bring, and when it is at rest, nothing is wrong.
func TestCheckFindsNothingInABusyFleet(t *testing.T) {
	t.Parallel()
	for server, url := range map[string]string{"single": redistest.Single(t), "cluster": redistest.Cluster(t, 3)} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			busyFleet(t, url)
		})
	}
}

func busyFleet(t *testing.T, url string) {
	ctx := t.Context()
	serving, stop := context.WithCancel(ctx)
	var fleet, callers sync.WaitGroup
	handler := func(_ context.Context, turn *Turn) error {
		switch turn.Event().Text {
		case "0":
			return errors.New("as it was told")
		case "1":
			turn.Destroy()
		case "2":
			turn.Reset(session.DropChat)
		}
		turn.Move("talking")
		turn.Set(turn.Event().Text, "v")
		turn.Reply("hello")
		return nil
	}
	serve := &ServeOptions{Send: func(_ context.Context, d Delivery) error {
		if d.Message.Seq%7 == 0 {
			return errors.New("as it was told")
		}
		return nil
	}}
	opts := &BotOptions{MaxAttempts: 2, Backoff: time.Millisecond, DeadLimit: 2, TTL: 2 * time.Second}
	for range 2 {
		bot := botOf(t, opened(t, url, &Options{Buckets: 8}), "bot", opts)
		fleet.Go(func() {
			if err := bot.Serve(serving, handler, serve); err != nil {
				t.Error(err)
			}
		})
		fleet.Go(func() {
			for _, err := range bot.Watch(serving) {
				noError(t, err)
			}
		})
	}
	st := opened(t, url, nil)
	bot := botOf(t, st, "bot", nil)
	var receipts sync.Map
	for caller := range 4 {
		callers.Go(func() {
			for i := range 150 {
				id := fmt.Sprint(i % 13)
				s := bot.Session(id)
				r, err := bot.Accept(ctx, id, session.Event{ID: fmt.Sprint(caller, " ", i), Text: fmt.Sprint(i % 9), User: "ann"})
				if err != nil {
					t.Error(err)
					return
				}
				receipts.Store(r, nil)
				switch i % 40 {
				case 10:
					err = s.SetFile(ctx, session.File{Name: "f", Data: []byte("bytes")})
				case 20:
					err = s.Reset(ctx, session.KeepChat)
				case 30:
					_, err = s.Destroy(ctx)
				}
				if err != nil && !errors.Is(err, session.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(done) }()
	checks := 0
	for busy := true; busy; checks++ {
		select {
		case <-done:
			busy = false
		default:
		}
		if err := st.Whole(ctx); err != nil {
			t.Error(err)
		}
	}
	for r := range receipts.Range {
		if _, err := r.(*Receipt).Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := st.Whole(ctx); err != nil {
		t.Error(err)
	}
	stop()
	bounded.Wait(t, "Serve ends everywhere", &fleet)
	if err := st.Whole(ctx); err != nil {
		t.Error(err)
	}
	if checks < 2 {
		t.Errorf("%d checks while the fleet was busy", checks)
	}
	t.Logf("%d checks while the fleet was busy", checks)
}

// What is wrong in the last of what is read a part at a time.
func TestCheckFindsTheLastOfMany(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c, ctx := client(t, url), t.Context()
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	sessionsOf(t, bot, "s", 1200)
	at := st.layout.place(session.Ref{Bot: "bot", ID: "s 7"})
	var chat []session.Message
	for i := range 120 {
		chat = append(chat, session.Message{From: session.FromBot, Content: i})
	}
	s := bot.Session("s 7")
	for _, m := range chat {
		noError(t, s.Record(ctx, m))
	}
	for i := range 700 {
		noError(t, c.HSet(ctx, st.layout.key("events", at), digest(fmt.Sprint(i)), stored.Line{Status: stored.LineDropped}.Encode()).Err())
	}
	noError(t, c.Expire(ctx, st.layout.key("events", at), time.Hour).Err())
	noError(t, st.Whole(ctx))

	noError(t, c.LSet(ctx, st.layout.key("history", at), -1, "short").Err())
	for i := range 700 {
		noError(t, c.HSet(ctx, st.layout.key("events", at), digest(fmt.Sprint(i)), "o").Err())
	}
	for i := range 700 {
		noError(t, c.HSet(ctx, st.layout.key("moves", at), fmt.Sprint("from\x00to", i), "none").Err())
	}
	for i := range 300 { // behind all others
		noError(t, c.Do(ctx, "ZADD", st.layout.key("index", at), 1e15, fmt.Sprint("x", i)).Err())
	}
	texts := map[string]int{}
	for f, err := range st.Check(ctx) {
		noError(t, err)
		texts[f.Text[:20]]++
	}
	if texts["the element with the"] != 1 || texts["the line of the even"] != 700 || texts["its hash is gone, an"] != 300 || texts["the count of the mov"] != 700 || texts["1200 sessions are co"] != 1 || len(texts) != 5 {
		t.Errorf("found is %v", texts)
	}
}

func TestAFindingSaysAllInOneLine(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]Finding{
		`bot/"a b": it is wrong (key "bs:{4.3.1}:h:bot/a b")`: {session.Ref{Bot: "bot", ID: "a b"}, "bs:{4.3.1}:h:bot/a b", "it is wrong"},
		`bot: it is wrong (key "bs:{4.0.0}:i:bot")`:           {session.Ref{Bot: "bot"}, "bs:{4.0.0}:i:bot", "it is wrong"},
		`it is wrong (key "bs:\n")`:                           {session.Ref{}, "bs:\n", "it is wrong"},
	} {
		if got := f.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestCheckEndsWithItsReader(t *testing.T) {
	t.Parallel()
	s := stocked(t, redistest.Single(t), "n")
	for i := range 10 {
		cmd("SET", fmt.Sprint(":other", i), "")(s)
		cmd("RPUSH", "inbox/waits", "short")(s)
	}
	all, err := Gather(s.st.Check(t.Context()))
	noError(t, err)
	if len(all) != 20 {
		t.Fatalf("%d findings, want 20: %v", len(all), all)
	}
	for most := range all {
		n := 0
		for f, err := range s.st.Check(t.Context()) {
			noError(t, err)
			if f == (Finding{}) {
				t.Error("an empty Finding without an error")
			}
			if n++; n == most+1 {
				break
			}
		}
		if n != most+1 {
			t.Errorf("%d findings, want %d", n, most+1)
		}
	}
}

// fails returns what a check hands out that cannot read: findings, and an error at
// the end which is not about the data.
func fails(ctx context.Context, t *testing.T, st *Store) (found []Finding, last error) {
	t.Helper()
	for f, err := range st.Check(ctx) {
		if last != nil {
			t.Errorf("behind the error comes %v, %v", f, err)
		}
		if last = err; err == nil {
			found = append(found, f)
		} else if f != (Finding{}) || errors.Is(err, session.ErrCorrupt) {
			t.Errorf("with the error comes %v: %v", f, err)
		}
	}
	if last == nil {
		t.Error("no error says that not all could be read")
	}
	return found, last
}

func TestCheckSaysThatItCannotRead(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	s := stocked(t, url, "n")
	cmd("SET", ":other", "")(s)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := fails(ended, t, s.st); len(found) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.st.Check(ctx) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("with a context that ends meanwhile: %v", last)
	}

	closed := opened(t, url, &Options{Namespace: "n"})
	noError(t, closed.Close())
	if found, _ := fails(t.Context(), t, closed); len(found) > 0 {
		t.Errorf("a store that is closed finds %v", found)
	}

	cmd("HSET", "meta/", "buckets", "8")(s)
	if found, err := fails(t.Context(), t, s.st); len(found) > 0 || !errors.Is(err, session.ErrUnsupported) {
		t.Errorf("of data that is divided in another way: %v, %v", found, err)
	}
	cmd("HSET", "meta/", "layout", "99")(s)
	if found, err := fails(t.Context(), t, s.st); len(found) > 0 || !errors.Is(err, session.ErrNewerLayout) {
		t.Errorf("of data of a newer layout: %v, %v", found, err)
	}
}
