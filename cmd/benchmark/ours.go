package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// ours is this library as a webhook uses it that also serves: Accept, the
// handler in the same process, the commit, and Receipt.Wait for the reply. Only
// the library's public methods are used, so that it does not matter how a
// version stores its data.
type ours struct {
	env    env
	client redis.UniversalClient
	store  *store.Store
	bot    *store.Bot
	last   int // messages that the handler reads; zero: none
	slow   time.Duration
	stop   context.CancelFunc
	served chan error
	events atomic.Int64
	sent   atomic.Int64 // replies given to Send
	name   string       // part of this instance's event ids
}

const (
	oursBot  = "bench"
	idsKept  = 5 // event ids that a prepared session remembers against duplicates
	kindRace = "race"
)

// settings are what can differ between two instances of ours. The zero value is
// what the table of all contenders shows.
type settings struct {
	last    int           // messages that the handler reads; zero: none
	send    bool          // replies are sent, not only recorded
	limit   int           // HistoryLimit
	buckets int           // zero: 256
	acks    int           // Options.Acks
	fsync   bool          // Options.Fsync
	eager   bool          // ServeOptions.Eager
	waits   bool          // the caller waits until it is eager
	slow    time.Duration // what the handler does takes so long
}

// eagerFrom is how long a replica must serve before it runs a turn eagerly.
var eagerFrom = time.Minute // tests set it

func openOurs(with settings) func(context.Context, env) (instance, error) {
	return func(ctx context.Context, e env) (instance, error) {
		return newOurs(ctx, e, with)
	}
}

func newOurs(ctx context.Context, e env, with settings) (*ours, error) {
	client, err := store.ParseURL(e.url)
	if err != nil {
		return nil, err
	}
	st, err := store.New(ctx, client, &store.Options{Namespace: e.prefix, Buckets: with.buckets, Acks: with.acks, Fsync: with.fsync})
	if err != nil {
		client.Close()
		return nil, err
	}
	o := &ours{env: e, client: client, store: st, last: with.last, slow: with.slow, served: make(chan error, 1)}
	o.name = st.Name()[strings.LastIndexByte(st.Name(), '-')+1:]
	o.bot, err = st.Bot(ctx, oursBot, &store.BotOptions{Initial: states[0], HistoryLimit: with.limit, RecordOnly: !with.send})
	if err != nil {
		return nil, errors.Join(err, st.Close(), client.Close())
	}
	// Room for every caller at once: they all wait in this process.
	serve := &store.ServeOptions{Concurrency: 512, Eager: with.eager}
	if with.send {
		serve.Send = func(context.Context, store.Delivery) error {
			o.sent.Add(1)
			return nil
		}
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	o.stop = stop
	go func() { o.served <- o.bot.Serve(serving, o.handle, serve) }()
	err = awaitReplica(ctx, o.bot, st.Name())
	if err == nil && with.eager && !with.waits {
		err = pause(ctx, eagerFrom)
	}
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// awaitReplica waits until a replica serves the bot.
func awaitReplica(ctx context.Context, bot *store.Bot, name string) error {
	for {
		for r, err := range bot.Replicas(ctx) {
			if err != nil || r.Name == name {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (o *ours) close() error {
	o.stop()
	return errors.Join(<-o.served, o.client.Close())
}

// handle is the bot.
func (o *ours) handle(ctx context.Context, t *store.Turn) error {
	text := t.Event().Text
	if t.Event().Kind == kindRace {
		counter := store.Key[int](counterKey)
		n, _ := counter.Get(t)
		counter.Set(t, n+1)
		t.Set(text, true)
		return nil
	}
	x, ok := o.env.turns[text]
	if !ok {
		return store.GiveUp(fmt.Errorf("an unknown message: %q", text))
	}
	if o.last > 0 {
		if _, err := t.History(ctx, session.Last(o.last)); err != nil {
			return err
		}
	}
	if o.slow > 0 {
		if err := pause(ctx, o.slow); err != nil {
			return err
		}
	}
	t.SetIntent(&session.Intent{Name: x.Intent, Score: score, Sentence: text})
	t.Move(nextState(t.State()))
	t.Set(valueKeys[0], x.Values[0])
	t.Set(valueKeys[1], x.Values[1])
	t.Reply(x.Reply)
	return nil
}

func (o *ours) turn(ctx context.Context, user string, x exchange) error {
	return o.say(ctx, user, session.Event{Text: x.Text})
}

func (o *ours) say(ctx context.Context, user string, e session.Event) error {
	e.ID = o.name + "-" + strconv.FormatInt(o.events.Add(1), 10)
	e.Platform, e.User = "web", user
	receipt, err := o.bot.Accept(ctx, user, e)
	if err != nil {
		return err
	}
	outcome, err := receipt.Wait(ctx)
	if err != nil {
		return err
	}
	if outcome.Status != session.Handled {
		return fmt.Errorf("event %s of %s: %s %s", e.ID, user, outcome.Status, outcome.Reason)
	}
	return nil
}

// prepare makes the sessions: the last exchanges of the chat by turns, so that
// the sessions remember as many event ids, and all before them at once.
func (o *ours) prepare(ctx context.Context, users []string, chat []exchange) error {
	recent := max(0, len(chat)-idsKept)
	return inParallel(ctx, users, func(ctx context.Context, user string) error {
		if _, err := o.bot.Session(user).Create(ctx, store.Origin{Platform: "web", User: user}); err != nil {
			return err
		}
		for part := range slices.Chunk(chat[:recent], 1000) {
			_, err := o.bot.Update(ctx, user, func(_ context.Context, t *store.Turn) error {
				for _, x := range part {
					t.Record(session.Message{From: session.FromUser, Content: x.Text})
					t.Record(session.Message{Content: x.Reply})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, x := range chat[recent:] {
			if err := o.turn(ctx, user, x); err != nil {
				return err
			}
		}
		return nil
	})
}

// storeChat makes a session with that chat as turns would leave it, but without an
// event, so that it remembers no event ids.
func (o *ours) storeChat(ctx context.Context, user string, chat []exchange) error {
	s := o.bot.Session(user)
	if _, err := s.Create(ctx, store.Origin{Platform: "web", User: user}); err != nil {
		return err
	}
	state := states[0]
	for _, x := range chat {
		state = nextState(state)
		_, err := s.Apply(ctx, session.Change{
			Moves: []string{state}, Set: map[string]any{valueKeys[0]: x.Values[0], valueKeys[1]: x.Values[1]}, Message: &x.Text,
			Intent: &session.Intent{Name: x.Intent, Score: score, Sentence: x.Text}, SetIntent: true,
			Chat: []session.Entry{
				{Message: session.Message{From: session.FromUser, Content: x.Text}},
				{Message: session.Message{From: session.FromBot, Content: x.Reply}},
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *ours) messages(ctx context.Context, user string) (int, error) {
	chat, err := o.bot.Session(user).History(ctx, session.All())
	return len(chat), err
}

func (o *ours) add(ctx context.Context, user, key string) error {
	return o.say(ctx, user, session.Event{Kind: kindRace, Text: key})
}

func (o *ours) left(ctx context.Context, user string) (counter, keys int, err error) {
	snap, err := o.bot.Session(user).Load(ctx)
	if err != nil {
		return 0, 0, err
	}
	counter, _, err = store.Key[int](counterKey).Load(ctx, o.bot.Session(user))
	return counter, countRaceKeys(snap.Data), err
}

func countRaceKeys[V any](data map[string]V) (n int) {
	for key := range data {
		if strings.HasPrefix(key, racePrefix) {
			n++
		}
	}
	return n
}

// inParallel runs do for each user, 32 at a time.
func inParallel(ctx context.Context, users []string, do func(context.Context, string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for _, user := range users {
		group.Go(func() error { return do(ctx, user) })
	}
	return group.Wait()
}

// inPipelines runs commands for each user, a few users a pipeline.
func inPipelines(ctx context.Context, client *redis.Client, users []string, do func(redis.Pipeliner, string)) error {
	const most = 64
	for part := users; len(part) > 0; part = part[min(most, len(part)):] {
		pipe := client.Pipeline()
		for _, user := range part[:min(most, len(part))] {
			do(pipe, user)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
