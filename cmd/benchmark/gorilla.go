package main

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/sessions"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"
)

// gorilla is github.com/gorilla/sessions with rbcervilla/redisstore: sessions
// of web requests, one gob blob each. Each turn is a request with the cookie.
type gorilla struct {
	env      env
	client   *redis.Client
	store    *redisstore.RedisStore
	prepared map[string][]byte
}

const cookieName = "bench"

func openGorilla(ctx context.Context, e env) (instance, error) {
	client, err := newClient(e.url)
	if err != nil {
		return nil, err
	}
	store, err := redisstore.NewRedisStore(ctx, client)
	if err != nil {
		client.Close()
		return nil, err
	}
	store.KeyPrefix(e.prefix + ":")
	store.Options(sessions.Options{Path: "/", MaxAge: int(blobLife / time.Second)})
	return &gorilla{env: e, client: client, store: store, prepared: map[string][]byte{}}, nil
}

// nowhere is the response that no browser reads.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

func (g *gorilla) get(ctx context.Context, user string) (*http.Request, *sessions.Session, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	if err != nil {
		return nil, nil, err
	}
	r.AddCookie(&http.Cookie{Name: cookieName, Value: user})
	s, err := g.store.Get(r, cookieName)
	return r, s, err
}

func (g *gorilla) turn(ctx context.Context, user string, x exchange) error {
	r, s, err := g.get(ctx, user)
	if err != nil {
		return err
	}
	chat, _ := s.Values["chat"].([]message)
	state, _ := s.Values["state"].(string)
	now := time.Now().UnixMilli()
	s.Values["chat"] = append(chat, message{fromUser, x.Text, now}, message{fromBot, x.Reply, now})
	s.Values["message"] = x.Text
	s.Values["intent"] = intent{x.Intent, score, x.Text}
	s.Values["state"] = nextState(state)
	s.Values[valueKeys[0]], s.Values[valueKeys[1]] = x.Values[0], x.Values[1]
	return g.store.Save(r, nowhere{http.Header{}}, s)
}

func (g *gorilla) prepare(ctx context.Context, users []string, chat []exchange) error {
	r := newRecord("", chat, 0)
	s := sessions.NewSession(g.store, cookieName)
	s.Values = map[any]any{"chat": r.Chat, "message": r.Message, "intent": r.Intent, "state": r.State,
		valueKeys[0]: r.Data[valueKeys[0]], valueKeys[1]: r.Data[valueKeys[1]]}
	data, err := redisstore.GobSerializer{}.Serialize(s)
	if err != nil {
		return err
	}
	for _, user := range users {
		g.prepared[user] = data
	}
	return g.restore(ctx, users)
}

func (g *gorilla) restore(ctx context.Context, users []string) error {
	return setAll(ctx, g.env.control, users, func(user string) string { return g.env.prefix + ":" + user }, g.prepared)
}

func (g *gorilla) close() error { return g.client.Close() }

func (g *gorilla) messages(ctx context.Context, user string) (int, error) {
	_, s, err := g.get(ctx, user)
	if err != nil {
		return 0, err
	}
	chat, _ := s.Values["chat"].([]message)
	return len(chat), nil
}

func (g *gorilla) add(ctx context.Context, user, key string) error {
	r, s, err := g.get(ctx, user)
	if err != nil {
		return err
	}
	n, _ := s.Values[counterKey].(int)
	s.Values[counterKey] = n + 1
	s.Values[key] = true
	return g.store.Save(r, nowhere{http.Header{}}, s)
}

func (g *gorilla) left(ctx context.Context, user string) (counter, keys int, err error) {
	_, s, err := g.get(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	names := map[string]any{}
	for key, value := range s.Values {
		if name, ok := key.(string); ok {
			names[name] = value
		}
	}
	counter, _ = s.Values[counterKey].(int)
	return counter, countRaceKeys(names), nil
}
