package main

import (
	"context"
	"errors"
	"fmt"
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
// handler in the same process, the commit, and Receipt.Wait for the reply.
type ours struct {
	env    env
	client redis.UniversalClient
	store  *store.Store
	bot    *store.Bot
	last   int // messages that the handler reads; zero: none
	stop   context.CancelFunc
	served chan error
	events atomic.Int64
	name   string // part of this instance's event ids

	at       map[string]string // user -> what its keys begin with: namespace and tag
	chatSize int
}

const (
	oursBot      = "bench"
	templateUser = "template"
	idsKept      = 20 // event ids that a prepared session remembers against duplicates
	kindRace     = "race"
)

func openOurs(last int) func(context.Context, env) (instance, error) {
	return func(ctx context.Context, e env) (instance, error) {
		return newOurs(ctx, e, last, nil)
	}
}

func newOurs(ctx context.Context, e env, last int, hook redis.Hook) (*ours, error) {
	client, err := store.ParseURL(e.url)
	if err != nil {
		return nil, err
	}
	if hook != nil {
		client.AddHook(hook)
	}
	st, err := store.New(ctx, client, &store.Options{Namespace: e.prefix})
	if err != nil {
		client.Close()
		return nil, err
	}
	o := &ours{env: e, client: client, store: st, last: last, served: make(chan error, 1), at: map[string]string{}}
	o.name = st.Name()[strings.LastIndexByte(st.Name(), '-')+1:]
	// Room for every caller at once: they all wait in this process.
	if o.bot, err = st.Bot(ctx, oursBot, &store.BotOptions{Initial: states[0], RecordOnly: true}); err != nil {
		return nil, errors.Join(err, st.Close(), client.Close())
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	o.stop = stop
	go func() { o.served <- o.bot.Serve(serving, o.handle, &store.ServeOptions{Concurrency: 512}) }()
	if err := awaitReplica(ctx, o.bot, st.Name()); err != nil {
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

// prepare makes one session by turns, with the whole chat and its ids, and the
// others by one turn each; chat and ids are copied to them within the server.
func (o *ours) prepare(ctx context.Context, users []string, chat []exchange) error {
	for part := chat; len(part) > 0; part = part[min(500, len(part)):] {
		if err := o.turn(ctx, templateUser, chat[0]); err != nil { // makes the session
			return err
		}
		_, err := o.bot.Update(ctx, templateUser, func(_ context.Context, t *store.Turn) error {
			for _, x := range part[:min(500, len(part))] {
				t.Record(session.Message{From: session.FromUser, Content: x.Text})
				t.Record(session.Message{Content: x.Reply})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := o.find(ctx); err != nil {
		return err
	}
	template := o.at[templateUser]
	if err := o.env.control.Del(ctx, template+":e:"+oursBot+"/"+templateUser).Err(); err != nil {
		return err
	}
	for i := range idsKept {
		if err := o.turn(ctx, templateUser, chat[i%len(chat)]); err != nil {
			return err
		}
	}
	if err := inParallel(ctx, users, func(ctx context.Context, user string) error { return o.turn(ctx, user, chat[len(chat)-1]) }); err != nil {
		return err
	}
	if err := o.find(ctx); err != nil {
		return err
	}
	o.chatSize = 2 * len(chat)
	h := template + ":h:" + oursBot + "/" + templateUser
	if err := o.env.control.LTrim(ctx, h, int64(-o.chatSize), -1).Err(); err != nil {
		return err
	}
	// The number of the chat's last message is in the head.
	head, err := o.env.control.HGet(ctx, template+":s:"+oursBot+"/"+templateUser, "head").Result()
	if err != nil {
		return err
	}
	return inPipelines(ctx, o.env.control, users, func(pipe redis.Pipeliner, user string) {
		pipe.Copy(ctx, h, o.at[user]+":h:"+oursBot+"/"+user, o.db(), true)
		pipe.HSet(ctx, o.at[user]+":s:"+oursBot+"/"+user, "head", head)
		o.copyIDs(ctx, pipe, user)
	})
}

func (o *ours) copyIDs(ctx context.Context, pipe redis.Pipeliner, user string) {
	pipe.Copy(ctx, o.at[templateUser]+":e:"+oursBot+"/"+templateUser, o.at[user]+":e:"+oursBot+"/"+user, o.db(), true)
}

func (o *ours) db() int { return o.env.control.Options().DB }

// find learns where the sessions' keys are, by looking.
func (o *ours) find(ctx context.Context) error {
	middle := ":s:" + oursBot + "/"
	scan := o.env.control.Scan(ctx, 0, o.env.prefix+":*"+middle+"*", 1000).Iterator()
	for scan.Next(ctx) {
		start, user, _ := strings.Cut(scan.Val(), middle)
		o.at[user] = start
	}
	return scan.Err()
}

func (o *ours) restore(ctx context.Context, users []string) error {
	return inPipelines(ctx, o.env.control, users, func(pipe redis.Pipeliner, user string) {
		pipe.LTrim(ctx, o.at[user]+":h:"+oursBot+"/"+user, int64(-o.chatSize), -1)
		o.copyIDs(ctx, pipe, user)
	})
}

// forget deletes the ids kept against duplicates and returns how many there were.
func (o *ours) forget(ctx context.Context) (ids int, err error) {
	scan := o.env.control.Scan(ctx, 0, o.env.prefix+":*:e:"+oursBot+"/*", 1000).Iterator()
	for scan.Next(ctx) {
		n, err := o.env.control.HLen(ctx, scan.Val()).Result()
		if err != nil {
			return ids, err
		}
		ids += int(n)
		if err := o.env.control.Del(ctx, scan.Val()).Err(); err != nil {
			return ids, err
		}
	}
	return ids, scan.Err()
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
