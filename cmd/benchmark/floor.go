package main

import (
	"context"
	"hash/fnv"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/botsession/botsession/codec"
)

// floor is what a turn of ours would cost if nothing had to be guarded: the
// commands by which its scripts write, on keys and values like theirs, and the
// one that loads the session, in two pipelines. What the scripts read only to
// decide (is it a duplicate, is it leased, is the key of the right type) is
// not here. What is faster than this keeps less than we do.
type floor struct {
	env      env
	client   *redis.Client
	ops      atomic.Int64
	chatSize int
	first    string // whose ids are copied to the others
}

func openFloor(ctx context.Context, e env) (instance, error) {
	client, err := newClient(e.url)
	if err != nil {
		return nil, err
	}
	return &floor{env: e, client: client}, nil
}

// key is like those of the store's layout, with 256 buckets.
func (f *floor) key(kind, user string) string {
	hash := fnv.New32a()
	hash.Write([]byte(user))
	tag := f.env.prefix + ":{256." + strconv.Itoa(int(hash.Sum32()%256)) + ".3f}:" + kind + ":bench"
	switch kind {
	case "s", "h", "q", "e": // the session's own; the others are its bucket's
		return tag + "/" + user
	}
	return tag
}

// digest names an event in 16 bytes.
func (f *floor) digest() string {
	hash := fnv.New128a()
	hash.Write(strconv.AppendInt(nil, f.ops.Add(1), 10))
	return string(hash.Sum(nil))
}

// head is as long as a session's head.
func head(at string, seq int64) string {
	n := strconv.FormatInt(seq, 10)
	return "1 1763800000000000 " + n + " " + n + " " + n + " 1763800000000 " + at + " 1766392000000 1768984000000 - 0 1763800000000000"
}

// encode is the cheap part of our codec: a tag byte, then msgpack.
func encode(v any) string {
	data, err := msgpack.Marshal(v)
	if err != nil {
		panic(err) // only strings and structs of strings come here
	}
	return "m" + string(data)
}

func (f *floor) turn(ctx context.Context, user string, x exchange) error {
	now := time.Now()
	ms, digest := now.UnixMilli(), f.digest()
	at := strconv.FormatInt(ms, 10)
	token := strconv.FormatInt(now.UnixMicro(), 10)
	lease := strconv.FormatInt(ms+15000, 10)
	forget := strconv.FormatInt(ms/1000+86400, 10)
	s, stamp := f.key("s", user), digest[:6]

	event, err := codec.Msgpack.Encode([]any{digest, "", x.Text, nil, nil, "web", user, nil})
	if err != nil {
		return err
	}
	accept := f.client.Pipeline()
	accept.ZAdd(ctx, f.key("due", user), redis.Z{Score: float64(ms + 15000), Member: user})
	accept.RPush(ctx, f.key("q", user), digest+stamp+string(event))
	accept.HSet(ctx, f.key("e", user), digest, "p "+forget+" 2n9c#1f 0 0 0 0")
	accept.HSet(ctx, s, "lease", token+" "+lease+" event host-123-abcdef#1f 0 0 64 0 "+at)
	loaded := accept.HGetAll(ctx, s)
	if _, err := accept.Exec(ctx); err != nil {
		return err
	}
	snap := loaded.Val()
	seq, _ := strconv.ParseInt(strings.Fields(snap["head"])[3], 10, 64)
	from := snap["state"]
	to := nextState(from)

	said, err := codec.Msgpack.Encode([]any{x.Intent, score, x.Text, nil})
	if err != nil {
		return err
	}
	commit := f.client.Pipeline()
	commit.HIncrBy(ctx, f.key("g", user), from+"\x00"+to, 1)
	commit.HDel(ctx, s, "f:file", "f:predicted_intent")
	commit.RPush(ctx, f.key("h", user), stamp+encode([]any{0, x.Text}), stamp+encode([]any{1, x.Reply}))
	commit.ZAdd(ctx, f.key("i", user), redis.Z{Score: float64(len(to)<<25) + float64(ms/60000-26297280), Member: user})
	commit.LPop(ctx, f.key("q", user))
	commit.HSet(ctx, f.key("e", user), digest, "d "+forget+" 2n9c#1f 0 "+token+" "+strconv.FormatInt(seq+1, 10)+" "+strconv.FormatInt(seq+2, 10))
	commit.ZRem(ctx, f.key("due", user), user)
	commit.HSet(ctx, s, "d:"+valueKeys[0], encode(x.Values[0]), "d:"+valueKeys[1], encode(x.Values[1]), "intent", string(said),
		"message", encode(x.Text), "state", to, "lease", token+" 0 free - 0 0 0 0 "+at, "head", head(at, seq+2))
	_, err = commit.Exec(ctx)
	return err
}

func (f *floor) prepare(ctx context.Context, users []string, chat []exchange) error {
	f.chatSize, f.first = 2*len(chat), users[0]
	last := chat[len(chat)-1]
	first := f.key("h", users[0])
	for _, user := range users {
		err := f.env.control.HSet(ctx, f.key("s", user), "lease", "1763800000000000 0 free - 0 0 0 0 1763800000000",
			"head", head("1763800000000", int64(f.chatSize)), "state", states[0], "platform", "web", "user", user).Err()
		if err != nil {
			return err
		}
		f.env.control.PExpire(ctx, f.key("s", user), blobLife)
		for range idsKept {
			if err := f.env.control.HSet(ctx, f.key("e", user), f.digest(), "d 1763886400 2n9c#1f 0 1763800000000000 123 124").Err(); err != nil {
				return err
			}
			if user != users[0] {
				break
			}
		}
		if err := f.turn(ctx, user, last); err != nil {
			return err
		}
		f.env.control.PExpire(ctx, f.key("h", user), blobLife)
	}
	pipe := f.env.control.Pipeline()
	pipe.Del(ctx, first)
	for _, m := range asMessages(chat, time.Now().UnixMilli()) {
		author := 0
		if m.From == fromBot {
			author = 1
		}
		pipe.RPush(ctx, first, "123456"+encode([]any{author, m.Text}))
	}
	pipe.PExpire(ctx, first, blobLife)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	return inPipelines(ctx, f.env.control, users[1:], func(pipe redis.Pipeliner, user string) {
		pipe.Copy(ctx, first, f.key("h", user), f.env.control.Options().DB, true)
		pipe.Copy(ctx, f.key("e", users[0]), f.key("e", user), f.env.control.Options().DB, true)
	})
}

func (f *floor) restore(ctx context.Context, users []string) error {
	return inPipelines(ctx, f.env.control, users, func(pipe redis.Pipeliner, user string) {
		pipe.LTrim(ctx, f.key("h", user), int64(-f.chatSize), -1)
		if user != f.first {
			pipe.Copy(ctx, f.key("e", f.first), f.key("e", user), f.env.control.Options().DB, true)
		}
	})
}

func (f *floor) close() error { return f.client.Close() }

func (f *floor) messages(ctx context.Context, user string) (int, error) {
	n, err := f.client.LLen(ctx, f.key("h", user)).Result()
	return int(n), err
}

func (f *floor) add(ctx context.Context, user, key string) error {
	n, err := f.client.HGet(ctx, f.key("s", user), "d:"+counterKey).Int()
	if err != nil && err != redis.Nil {
		return err
	}
	return f.client.HSet(ctx, f.key("s", user), "d:"+counterKey, n+1, key, "1").Err()
}

func (f *floor) left(ctx context.Context, user string) (counter, keys int, err error) {
	data, err := f.client.HGetAll(ctx, f.key("s", user)).Result()
	if err != nil {
		return 0, 0, err
	}
	counter, err = strconv.Atoi(data["d:"+counterKey])
	return counter, countRaceKeys(data), err
}
