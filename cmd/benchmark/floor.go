package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
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
//
// It stays the same whatever the library stores, so that two versions of the
// library can be measured by one yardstick.
type floor struct {
	env     env
	client  *redis.Client
	work    work
	buckets int
	ops     atomic.Int64
}

func openFloor(w work) func(context.Context, env) (instance, error) {
	return func(_ context.Context, e env) (instance, error) {
		client, err := newClient(e.url)
		if err != nil {
			return nil, err
		}
		f := &floor{env: e, client: client, work: w, buckets: 256}
		if w.name != "" {
			f.buckets = workBuckets
		}
		return f, nil
	}
}

// key is like those of the store's layout.
func (f *floor) key(kind, user string) string {
	hash := fnv.New32a()
	hash.Write([]byte(user))
	tag := fmt.Sprintf("%s:{%d.%d.3f}:%s:bench", f.env.prefix, f.buckets, int(hash.Sum32()%uint32(f.buckets)), kind)
	switch kind {
	case "s", "h", "q", "e", "o": // the session's own; the others are its bucket's
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
	if f.work.fresh {
		f.enter(ctx, accept, user, now)
	}
	accept.ZAdd(ctx, f.key("due", user), redis.Z{Score: float64(ms + 15000), Member: user})
	accept.RPush(ctx, f.key("q", user), digest+stamp+string(event))
	accept.HSet(ctx, f.key("e", user), digest, "p "+forget+" 2n9c#1f 0 0 0 0")
	if f.work.fresh {
		accept.PExpireAt(ctx, f.key("e", user), now.Add(blobLife))
	}
	accept.HSet(ctx, s, "lease", token+" "+lease+" event host-123-abcdef#1f 0 0 64 0 "+at)
	loaded := accept.HGetAll(ctx, s)
	f.notice(ctx, accept, "accepted", "", user)
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
	reply := stamp + encode([]any{1, x.Reply})
	commit := f.client.Pipeline()
	commit.HIncrBy(ctx, f.key("g", user), from+"\x00"+to, 1)
	commit.HDel(ctx, s, "f:file", "f:predicted_intent")
	commit.RPush(ctx, f.key("h", user), stamp+encode([]any{0, x.Text}), reply)
	if f.work.fresh {
		commit.PExpireAt(ctx, f.key("h", user), now.Add(blobLife))
	}
	if f.work.limit > 0 {
		commit.LTrim(ctx, f.key("h", user), int64(-f.work.limit), -1)
	}
	if f.work.send {
		commit.RPush(ctx, f.key("o", user), token+":"+strconv.FormatInt(seq+2, 10)+":9:"+"1-1234567"+reply)
	}
	commit.ZRem(ctx, f.key("n", user), "s"+from+"\x00"+user)
	commit.ZAdd(ctx, f.key("n", user), redis.Z{Member: "s" + to + "\x00" + user})
	if f.work.minute {
		commit.ZAdd(ctx, f.key("i", user), redis.Z{Score: float64(ms), Member: user})
	}
	commit.LPop(ctx, f.key("q", user))
	commit.HSet(ctx, f.key("e", user), digest, "d "+forget+" 2n9c#1f 0 "+token+" "+strconv.FormatInt(seq+1, 10)+" "+strconv.FormatInt(seq+2, 10))
	free := token + " 0 free - 0 0 0 0 " + at
	if f.work.send {
		free = token + " " + lease + " reply host-123-abcdef#1f 0 0 64 0 " + at
	} else {
		commit.ZRem(ctx, f.key("due", user), user)
	}
	commit.HSet(ctx, s, "d:"+valueKeys[0], encode(x.Values[0]), "d:"+valueKeys[1], encode(x.Values[1]), "intent", string(said),
		"message", encode(x.Text), "state", to, "lease", free, "head", head(at, seq+2))
	f.notice(ctx, commit, "committed", digest, user)
	if _, err = commit.Exec(ctx); err != nil || !f.work.send {
		return err
	}
	// The reply is sent, and noted: a third pipeline, beside the user's path.
	noted := f.client.Pipeline()
	noted.LPop(ctx, f.key("o", user))
	noted.ZRem(ctx, f.key("due", user), user)
	noted.HSet(ctx, s, "lease", token+" 0 free - 0 0 0 0 "+at)
	_, err = noted.Exec(ctx)
	return err
}

// enter makes a session that was not there.
func (f *floor) enter(ctx context.Context, pipe redis.Pipeliner, user string, now time.Time) {
	at, ms := strconv.FormatInt(now.UnixMilli(), 10), float64(now.UnixMilli())
	s := f.key("s", user)
	pipe.HSet(ctx, s, "lease", "1763800000000000 0 free - 0 0 0 0 "+at, "head", head(at, 0))
	pipe.HSet(ctx, s, "state", states[0], "platform", "web", "user", user)
	pipe.PExpireAt(ctx, s, now.Add(blobLife))
	pipe.ZAdd(ctx, f.key("i", user), redis.Z{Score: ms, Member: user})
	pipe.ZAdd(ctx, f.key("n", user), redis.Z{Member: "s" + states[0] + "\x00" + user})
	pipe.ZAdd(ctx, f.key("n", user), redis.Z{Member: "u" + user + "\x00" + user})
	pipe.ZAdd(ctx, f.key("ttl", user), redis.Z{Score: ms + float64(blobLife.Milliseconds()), Member: user})
	pipe.HIncrBy(ctx, f.key("b", user), oursBot, 1)
}

// notice tells who watches what happened.
func (f *floor) notice(ctx context.Context, pipe redis.Pipeliner, kind, detail, user string) {
	if f.work.watch {
		at := strconv.FormatInt(time.Now().UnixMilli(), 10)
		pipe.Publish(ctx, f.channel(), strings.Join([]string{kind, at, "12", states[0], strconv.Itoa(len(detail)), detail + user}, "\x00"))
	}
}

func (f *floor) channel() string { return f.env.prefix + ":0123456789abcdef:watch:bench" }

// prepare makes a session of each user as ours has them: listed, with a chat,
// and with the ids of its last events.
func (f *floor) prepare(ctx context.Context, users []string, chat []exchange) error {
	now := time.Now()
	err := inPipelines(ctx, f.env.control, users, func(pipe redis.Pipeliner, user string) { f.enter(ctx, pipe, user, now) })
	if err != nil {
		return err
	}
	recent := max(0, len(chat)-idsKept)
	first := f.key("h", users[0])
	for part := range slices.Chunk(asMessages(chat[:recent], now.UnixMilli()), 500) {
		pipe := f.env.control.Pipeline()
		for _, m := range part {
			author := 0
			if m.From == fromBot {
				author = 1
			}
			pipe.RPush(ctx, first, "123456"+encode([]any{author, m.Text}))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	err = inPipelines(ctx, f.env.control, users[1:], func(pipe redis.Pipeliner, user string) {
		pipe.Copy(ctx, first, f.key("h", user), f.env.control.Options().DB, true)
	})
	if err != nil {
		return err
	}
	return inParallel(ctx, users, func(ctx context.Context, user string) error {
		for _, x := range chat[recent:] {
			if err := f.turn(ctx, user, x); err != nil {
				return err
			}
		}
		return f.env.control.PExpire(ctx, f.key("h", user), blobLife).Err()
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
