package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/vmihailenco/msgpack/v5"
)

// record is a session as the contenders keep it that store one blob.
type record struct {
	State   string         `json:"state" msgpack:"state"`
	User    string         `json:"user" msgpack:"user"`
	Message string         `json:"message" msgpack:"message"`
	Intent  intent         `json:"intent" msgpack:"intent"`
	Data    map[string]any `json:"data" msgpack:"data"`
	Chat    []message      `json:"chat" msgpack:"chat"`
}

type intent struct {
	Name     string  `json:"name" msgpack:"name"`
	Score    float64 `json:"score" msgpack:"score"`
	Sentence string  `json:"sentence" msgpack:"sentence"`
}

// newRecord returns the session that a chat leaves, with its last messages, or
// all if keep is zero.
func newRecord(user string, chat []exchange, keep int) *record {
	r := &record{State: states[0], User: user, Data: map[string]any{}}
	if len(chat) > 0 {
		r.note(chat[len(chat)-1])
	}
	r.Chat = asMessages(chat, time.Now().UnixMilli())
	r.cut(keep)
	return r
}

// note sets what a turn sets beside the chat.
func (r *record) note(x exchange) {
	r.State = nextState(r.State)
	r.Message = x.Text
	r.Intent = intent{x.Intent, score, x.Text}
	r.Data[valueKeys[0]], r.Data[valueKeys[1]] = x.Values[0], x.Values[1]
}

// turn does a turn to the record.
func (r *record) turn(x exchange, keep int) {
	r.note(x)
	now := time.Now().UnixMilli()
	r.Chat = append(r.Chat, message{fromUser, x.Text, now}, message{fromBot, x.Reply, now})
	r.cut(keep)
}

func (r *record) cut(keep int) {
	if keep > 0 && len(r.Chat) > keep {
		r.Chat = r.Chat[len(r.Chat)-keep:]
	}
}

// count is the record's part of the race.
func (r *record) count(key string) {
	n, _ := asInt(r.Data[counterKey])
	r.Data[counterKey] = n + 1
	r.Data[key] = true
}

// asInt reads a number of whatever type a decoder made of it.
func asInt(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int8:
		return int(v), true
	case int64:
		return int(v), true
	case uint8:
		return int(v), true
	case uint16:
		return int(v), true
	case float64:
		return int(v), true
	}
	return 0, false
}

// blob is the store that most bots write themselves: one value, read and
// written whole. With keep, it keeps only the last messages.
type blob struct {
	env      env
	client   *redis.Client
	keep     int
	prepared map[string][]byte
}

// blobLife is how long blobs live, as our sessions do.
const blobLife = 30 * 24 * time.Hour

func openBlob(keep int) func(context.Context, env) (instance, error) {
	return func(ctx context.Context, e env) (instance, error) {
		client, err := newClient(e.url)
		if err != nil {
			return nil, err
		}
		return &blob{env: e, client: client, keep: keep, prepared: map[string][]byte{}}, nil
	}
}

// newClient makes a client with go-redis' own pool, and without the commands
// that it sends on each new connection if it is let.
func newClient(url string) (*redis.Client, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(opts), nil
}

func (b *blob) key(user string) string { return b.env.prefix + ":" + user }

func (b *blob) load(ctx context.Context, user string) (*record, error) {
	data, err := b.client.Get(ctx, b.key(user)).Bytes()
	if errors.Is(err, redis.Nil) {
		return &record{State: states[0], User: user, Data: map[string]any{}}, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(record)
	return r, msgpack.Unmarshal(data, r)
}

func (b *blob) save(ctx context.Context, user string, r *record) error {
	data, err := msgpack.Marshal(r)
	if err != nil {
		return err
	}
	return b.client.Set(ctx, b.key(user), data, blobLife).Err()
}

func (b *blob) turn(ctx context.Context, user string, x exchange) error {
	r, err := b.load(ctx, user)
	if err != nil {
		return err
	}
	r.turn(x, b.keep)
	return b.save(ctx, user, r)
}

func (b *blob) prepare(ctx context.Context, users []string, chat []exchange) error {
	r := newRecord(users[0], chat, b.keep)
	for _, user := range users {
		r.User = user
		data, err := msgpack.Marshal(r)
		if err != nil {
			return err
		}
		b.prepared[user] = data
	}
	return b.restore(ctx, users)
}

func (b *blob) restore(ctx context.Context, users []string) error {
	return setAll(ctx, b.env.control, users, b.key, b.prepared)
}

// setAll writes the blobs as they were prepared, a few a pipeline.
func setAll(ctx context.Context, client *redis.Client, users []string, key func(string) string, prepared map[string][]byte) error {
	return inPipelines(ctx, client, users, func(pipe redis.Pipeliner, user string) {
		pipe.Set(ctx, key(user), prepared[user], blobLife)
	})
}

func (b *blob) close() error { return b.client.Close() }

func (b *blob) messages(ctx context.Context, user string) (int, error) {
	r, err := b.load(ctx, user)
	if err != nil {
		return 0, err
	}
	return len(r.Chat), nil
}

func (b *blob) add(ctx context.Context, user, key string) error {
	r, err := b.load(ctx, user)
	if err != nil {
		return err
	}
	r.count(key)
	return b.save(ctx, user, r)
}

func (b *blob) left(ctx context.Context, user string) (counter, keys int, err error) {
	r, err := b.load(ctx, user)
	if err != nil {
		return 0, 0, err
	}
	counter, _ = asInt(r.Data[counterKey])
	return counter, countRaceKeys(r.Data), nil
}
