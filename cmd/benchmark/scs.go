package main

import (
	"context"
	"encoding/gob"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

func init() {
	// What gob finds behind an interface it must know by name.
	gob.Register([]message{})
	gob.Register(intent{})
}

// webSession is github.com/alexedwards/scs/v2 with its go-redis store: a
// session manager for web servers, one gob blob a session.
type webSession struct {
	env      env
	client   *redis.Client
	store    *goredisstore.RedisStore
	manager  *scs.SessionManager
	prepared map[string][]byte
}

func openSCS(ctx context.Context, e env) (instance, error) {
	client, err := newClient(e.url)
	if err != nil {
		return nil, err
	}
	w := &webSession{env: e, client: client, prepared: map[string][]byte{}}
	w.store = goredisstore.NewWithPrefix(client, e.prefix+":")
	w.manager = scs.New()
	w.manager.Store = w.store
	w.manager.Lifetime = blobLife
	return w, nil
}

func (w *webSession) turn(ctx context.Context, user string, x exchange) error {
	ctx, err := w.manager.Load(ctx, user)
	if err != nil {
		return err
	}
	chat, _ := w.manager.Get(ctx, "chat").([]message)
	now := time.Now().UnixMilli()
	w.manager.Put(ctx, "chat", append(chat, message{fromUser, x.Text, now}, message{fromBot, x.Reply, now}))
	w.manager.Put(ctx, "message", x.Text)
	w.manager.Put(ctx, "intent", intent{x.Intent, score, x.Text})
	w.manager.Put(ctx, "state", nextState(w.manager.GetString(ctx, "state")))
	w.manager.Put(ctx, valueKeys[0], x.Values[0])
	w.manager.Put(ctx, valueKeys[1], x.Values[1])
	_, _, err = w.manager.Commit(ctx)
	return err
}

func (w *webSession) prepare(ctx context.Context, users []string, chat []exchange) error {
	r := newRecord("", chat, 0)
	values := map[string]any{"chat": r.Chat, "message": r.Message, "intent": r.Intent, "state": r.State}
	for _, key := range valueKeys {
		values[key] = r.Data[key]
	}
	data, err := w.manager.Codec.Encode(time.Now().Add(blobLife).UTC(), values)
	if err != nil {
		return err
	}
	for _, user := range users {
		w.prepared[user] = data
	}
	return w.restore(ctx, users)
}

func (w *webSession) restore(ctx context.Context, users []string) error {
	return setAll(ctx, w.env.control, users, func(user string) string { return w.env.prefix + ":" + user }, w.prepared)
}

func (w *webSession) close() error { return w.client.Close() }

func (w *webSession) messages(ctx context.Context, user string) (int, error) {
	ctx, err := w.manager.Load(ctx, user)
	if err != nil {
		return 0, err
	}
	chat, _ := w.manager.Get(ctx, "chat").([]message)
	return len(chat), nil
}

func (w *webSession) add(ctx context.Context, user, key string) error {
	ctx, err := w.manager.Load(ctx, user)
	if err != nil {
		return err
	}
	w.manager.Put(ctx, counterKey, w.manager.GetInt(ctx, counterKey)+1)
	w.manager.Put(ctx, key, true)
	_, _, err = w.manager.Commit(ctx)
	return err
}

func (w *webSession) left(ctx context.Context, user string) (counter, keys int, err error) {
	ctx, err = w.manager.Load(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	names := map[string]bool{}
	for _, key := range w.manager.Keys(ctx) {
		names[key] = true
	}
	return w.manager.GetInt(ctx, counterKey), countRaceKeys(names), nil
}
