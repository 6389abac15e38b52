package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
	"trpc.group/trpc-go/trpc-agent-go/event"
	"trpc.group/trpc-go/trpc-agent-go/model"
	"trpc.group/trpc-go/trpc-agent-go/session"
	trpcredis "trpc.group/trpc-go/trpc-agent-go/session/redis"
)

// trpc is trpc.group/trpc-go/trpc-agent-go/session/redis, in its newer layout
// alone (CompatModeNone), which saves it a command a turn: a JSON string for
// the state, a hash and a sorted set for the events.
type trpc struct {
	env      env
	service  *trpcredis.Service
	last     int // events asked for; zero: as many as it gives
	chatSize int
}

const trpcApp = "bench"

func openTRPC(last int) func(context.Context, env) (instance, error) {
	return func(ctx context.Context, e env) (instance, error) {
		service, err := trpcredis.NewService(trpcredis.WithRedisClientURL(e.url), trpcredis.WithKeyPrefix(e.prefix),
			trpcredis.WithSessionTTL(blobLife), trpcredis.WithCompatMode(trpcredis.CompatModeNone))
		if err != nil {
			return nil, err
		}
		return &trpc{env: e, service: service, last: last}, nil
	}
}

func (t *trpc) key(user string) session.Key {
	return session.Key{AppName: trpcApp, UserID: user, SessionID: "1"}
}

func (t *trpc) get(ctx context.Context, user string) (*session.Session, error) {
	var opts []session.Option
	if t.last > 0 {
		opts = append(opts, session.WithEventNum(t.last))
	}
	s, err := t.service.GetSession(ctx, t.key(user), opts...)
	if err == nil && s == nil {
		err = errors.New("the session is not there")
	}
	return s, err
}

func trpcEvent(m model.Message) *event.Event {
	author := fromUser
	if m.Role == model.RoleAssistant {
		author = fromBot
	}
	return event.NewResponseEvent("turn", author, &model.Response{Done: true, Choices: []model.Choice{{Message: m}}})
}

// trpcDelta is what a turn sets beside the chat.
func trpcDelta(state string, x exchange) (map[string][]byte, error) {
	said, err := json.Marshal(intent{x.Intent, score, x.Text})
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"state": []byte(nextState(state)), "message": []byte(x.Text), "intent": said,
		valueKeys[0]: []byte(x.Values[0]), valueKeys[1]: []byte(x.Values[1]),
	}, nil
}

func (t *trpc) turn(ctx context.Context, user string, x exchange) error {
	s, err := t.get(ctx, user)
	if err != nil {
		return err
	}
	return t.append(ctx, s, x)
}

func (t *trpc) append(ctx context.Context, s *session.Session, x exchange) error {
	if err := t.service.AppendEvent(ctx, s, trpcEvent(model.NewUserMessage(x.Text))); err != nil {
		return err
	}
	state, _ := s.GetState("state")
	delta, err := trpcDelta(string(state), x)
	if err != nil {
		return err
	}
	reply := trpcEvent(model.NewAssistantMessage(x.Reply))
	reply.StateDelta = delta
	return t.service.AppendEvent(ctx, s, reply)
}

// prepare appends the chat to one session, and copies its events to the others
// within the server.
func (t *trpc) prepare(ctx context.Context, users []string, chat []exchange) error {
	t.chatSize = 2 * len(chat)
	for i, user := range users {
		s, err := t.service.CreateSession(ctx, t.key(user), session.StateMap{"state": []byte(states[0])})
		if err != nil {
			return err
		}
		own := chat[len(chat)-1:]
		if i == 0 {
			own = chat
		}
		for _, x := range own {
			// A session that is not asked for its events need not hold them here.
			s.Events = nil
			if err := t.append(ctx, s, x); err != nil {
				return err
			}
		}
	}
	return inPipelines(ctx, t.env.control, users[1:], func(pipe redis.Pipeliner, user string) {
		for from, to := range t.eventKeys(users[0], user) {
			pipe.Copy(ctx, from, to, t.env.control.Options().DB, true)
		}
	})
}

// eventKeys are the two keys that hold a session's events, of one user and of
// another.
func (t *trpc) eventKeys(from, to string) map[string]string {
	data := t.env.prefix + ":hashidx:evtdata:" + trpcApp + ":{%s}:1"
	index := t.env.prefix + ":hashidx:evtidx:time:" + trpcApp + ":{%s}:1"
	return map[string]string{fmt.Sprintf(data, from): fmt.Sprintf(data, to), fmt.Sprintf(index, from): fmt.Sprintf(index, to)}
}

// trpcCut removes all events but the oldest so many.
var trpcCut = redis.NewScript(`
local ids = redis.call('ZRANGE', KEYS[2], ARGV[1], -1)
for _, id in ipairs(ids) do redis.call('HDEL', KEYS[1], id) end
redis.call('ZREMRANGEBYRANK', KEYS[2], ARGV[1], -1)
return #ids`)

func (t *trpc) restore(ctx context.Context, users []string) error {
	for _, user := range users {
		keys := []string{t.env.prefix + ":hashidx:evtdata:" + trpcApp + ":{" + user + "}:1",
			t.env.prefix + ":hashidx:evtidx:time:" + trpcApp + ":{" + user + "}:1"}
		if err := trpcCut.Run(ctx, t.env.control, keys, t.chatSize).Err(); err != nil {
			return err
		}
	}
	return nil
}

func (t *trpc) close() error { return t.service.Close() }

func (t *trpc) messages(ctx context.Context, user string) (int, error) {
	s, err := t.get(ctx, user)
	if err != nil {
		return 0, err
	}
	return s.GetEventCount(), nil
}

func (t *trpc) add(ctx context.Context, user, key string) error {
	s, err := t.service.GetSession(ctx, t.key(user))
	if err == nil && s == nil {
		s, err = t.service.CreateSession(ctx, t.key(user), session.StateMap{})
	}
	if err != nil {
		return err
	}
	value, _ := s.GetState(counterKey)
	n, _ := strconv.Atoi(string(value))
	e := trpcEvent(model.NewAssistantMessage("counted"))
	e.StateDelta = map[string][]byte{counterKey: []byte(strconv.Itoa(n + 1)), key: []byte("1")}
	return t.service.AppendEvent(ctx, s, e)
}

func (t *trpc) left(ctx context.Context, user string) (counter, keys int, err error) {
	s, err := t.get(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	value, _ := s.GetState(counterKey)
	counter, err = strconv.Atoi(string(value))
	return counter, countRaceKeys(s.SnapshotState()), err
}
