package main

import (
	"context"
	"encoding/json"
	"time"

	adkredis "github.com/achetronic/adk-utils-go/session/redis"
	"github.com/redis/go-redis/v9"
	"google.golang.org/adk/v2/session"
	"google.golang.org/genai"
)

// adk is github.com/achetronic/adk-utils-go/session/redis: a JSON string for
// the state, a list of JSON events. It makes its own client, and its keys have
// no prefix but the app's name.
type adk struct {
	env      env
	service  *adkredis.RedisSessionService
	chatSize int
}

func openADK(ctx context.Context, e env) (instance, error) {
	opts, err := redis.ParseURL(e.url)
	if err != nil {
		return nil, err
	}
	service, err := adkredis.NewRedisSessionService(adkredis.RedisSessionServiceConfig{
		Addr: opts.Addr, Password: opts.Password, DB: opts.DB, TTL: blobLife})
	if err != nil {
		return nil, err
	}
	return &adk{env: e, service: service}, nil
}

func (a *adk) get(ctx context.Context, user string) (session.Session, error) {
	r, err := a.service.Get(ctx, &session.GetRequest{AppName: a.env.prefix, UserID: user, SessionID: "1"})
	if err != nil {
		return nil, err
	}
	return r.Session, nil
}

func (a *adk) create(ctx context.Context, user string, state map[string]any) error {
	_, err := a.service.Create(ctx, &session.CreateRequest{AppName: a.env.prefix, UserID: user, SessionID: "1", State: state})
	return err
}

func adkEvent(ctx context.Context, author string, role genai.Role, text string) *session.Event {
	e := session.NewEvent(ctx, "turn")
	e.Author = author
	e.Content = genai.NewContentFromText(text, role)
	return e
}

func (a *adk) turn(ctx context.Context, user string, x exchange) error {
	s, err := a.get(ctx, user)
	if err != nil {
		return err
	}
	if err := a.service.AppendEvent(ctx, s, adkEvent(ctx, fromUser, genai.RoleUser, x.Text)); err != nil {
		return err
	}
	state, _ := s.State().Get("state")
	return a.service.AppendEvent(ctx, s, adkReply(ctx, state, x))
}

func adkReply(ctx context.Context, state any, x exchange) *session.Event {
	before, _ := state.(string)
	e := adkEvent(ctx, fromBot, genai.RoleModel, x.Reply)
	e.Actions.StateDelta = map[string]any{
		"state": nextState(before), "message": x.Text, "intent": intent{x.Intent, score, x.Text},
		valueKeys[0]: x.Values[0], valueKeys[1]: x.Values[1],
	}
	return e
}

func (a *adk) events(user string) string { return "events:" + a.env.prefix + ":" + user + ":1" }

// prepare writes the events of one session as AppendEvent does, which alone
// would take five round trips each, and copies them to the others within the
// server.
func (a *adk) prepare(ctx context.Context, users []string, chat []exchange) error {
	a.chatSize = 2 * len(chat)
	for i, user := range users {
		last := chat[len(chat)-1]
		err := a.create(ctx, user, map[string]any{"state": states[0], "message": last.Text,
			"intent": intent{last.Intent, score, last.Text}, valueKeys[0]: last.Values[0], valueKeys[1]: last.Values[1]})
		if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		pipe := a.env.control.Pipeline()
		for _, x := range chat {
			said, err := json.Marshal(adkEvent(ctx, fromUser, genai.RoleUser, x.Text))
			if err != nil {
				return err
			}
			replied, err := json.Marshal(adkReply(ctx, states[0], x))
			if err != nil {
				return err
			}
			pipe.RPush(ctx, a.events(user), said, replied)
			if pipe.Len() == 200 {
				if _, err := pipe.Exec(ctx); err != nil {
					return err
				}
			}
		}
		pipe.Expire(ctx, a.events(user), blobLife)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return inPipelines(ctx, a.env.control, users[1:], func(pipe redis.Pipeliner, user string) {
		pipe.Copy(ctx, a.events(users[0]), a.events(user), a.env.control.Options().DB, true)
	})
}

func (a *adk) restore(ctx context.Context, users []string) error {
	return inPipelines(ctx, a.env.control, users, func(pipe redis.Pipeliner, user string) {
		pipe.LTrim(ctx, a.events(user), int64(-a.chatSize), -1)
	})
}

func (a *adk) close() error { return a.service.Close() }

func (a *adk) messages(ctx context.Context, user string) (int, error) {
	s, err := a.get(ctx, user)
	if err != nil {
		return 0, err
	}
	return s.Events().Len(), nil
}

func (a *adk) add(ctx context.Context, user, key string) error {
	s, err := a.get(ctx, user)
	if err != nil {
		return err
	}
	value, _ := s.State().Get(counterKey)
	n, _ := asInt(value)
	e := adkEvent(ctx, fromBot, genai.RoleModel, "counted")
	e.Timestamp = time.Now()
	e.Actions.StateDelta = map[string]any{counterKey: n + 1, key: true}
	return a.service.AppendEvent(ctx, s, e)
}

func (a *adk) left(ctx context.Context, user string) (counter, keys int, err error) {
	s, err := a.get(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	names := map[string]any{}
	for key, value := range s.State().All() {
		names[key] = value
	}
	counter, _ = asInt(names[counterKey])
	return counter, countRaceKeys(names), nil
}
