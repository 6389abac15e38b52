package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// idle is what a session takes that nobody talks to.
type idle struct {
	Contender string  `json:"contender"`
	Messages  int     `json:"messages"`
	Sessions  int     `json:"sessions"`
	Bytes     float64 `json:"bytes"`   // a session, without the ids kept against duplicates
	Payload   float64 `json:"payload"` // what the users said and the bot set, encoded by nobody
	IDs       float64 `json:"ids,omitempty"`
	PerID     float64 `json:"bytes_an_id,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// idles measures memory, with another chat in each session.
func (b *bench) idles(ctx context.Context, all []contender) (found []*idle, err error) {
	for _, messages := range b.config.memory {
		for _, c := range all {
			b.say("memory of %d messages: %s", messages, c.name)
			i := &idle{Contender: c.name, Messages: messages, Sessions: b.config.sessions}
			if messages > 100 {
				i.Sessions = max(20, b.config.sessions/4)
			}
			found = append(found, i)
			if err := b.idle(ctx, c, i); err != nil {
				i.Error = err.Error()
			}
			if err := ctx.Err(); err != nil {
				return found, err
			}
		}
	}
	b.say("")
	return found, nil
}

// idle measures sessions as they are stored and, of ours, the same sessions as
// turns leave them: these remember the ids of their events.
func (b *bench) idle(ctx context.Context, c contender, i *idle) error {
	chats := map[string][]exchange{}
	for n := range i.Sessions {
		user := "user-" + strconv.Itoa(n)
		chats[user] = b.data.chat(n, i.Messages)
		i.Payload += payload(user, chats[user]) / float64(i.Sessions)
	}
	var err error
	i.Bytes, err = b.kept(ctx, c, chats, func(ctx context.Context, in instance, user string) error {
		if o, ok := in.(*ours); ok {
			return o.storeChat(ctx, user, chats[user])
		}
		return storeAndTalk(ctx, in, user, chats[user])
	})
	if err != nil || c.name != nameOurs {
		return err
	}
	all, err := b.kept(ctx, c, chats, func(ctx context.Context, in instance, user string) error {
		for _, x := range chats[user] {
			if err := in.turn(ctx, user, x); err != nil {
				return err
			}
		}
		return nil
	})
	i.IDs = float64(i.Messages / 2)
	i.PerID = (all - i.Bytes) / i.IDs
	return err
}

// kept returns what the server keeps of each session. It compares the server's
// memory before and after, both times with none of the contender's connections,
// whose buffers would be counted too.
func (b *bench) kept(ctx context.Context, c contender, chats map[string][]exchange,
	fill func(context.Context, instance, string) error) (bytes float64, err error) {
	e := b.env()
	defer func() { err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix)) }()
	open := func(users []string, fill func(context.Context, instance, string) error) (used int64, err error) {
		in, err := c.open(ctx, e)
		if err != nil {
			return 0, err
		}
		if _, ok := in.(*ours); ok {
			err = inParallel(ctx, users, func(ctx context.Context, user string) error { return fill(ctx, in, user) })
		} else {
			for _, user := range users {
				if err = fill(ctx, in, user); err != nil {
					break
				}
			}
		}
		if err := errors.Join(err, in.close()); err != nil {
			return 0, err
		}
		if err := b.expired(ctx, e.prefix); err != nil {
			return 0, err
		}
		return b.settled(ctx)
	}
	// Sessions that are not counted make what sessions share: scripts, and the
	// index of each bucket.
	var warm []string
	for n := range warmUps(c) {
		warm = append(warm, "warm-"+strconv.Itoa(n))
	}
	before, err := open(warm, func(ctx context.Context, in instance, user string) error {
		if o, ok := in.(*ours); ok {
			return o.storeChat(ctx, user, b.data.chat(0, 4))
		}
		return storeAndTalk(ctx, in, user, b.data.chat(0, 4))
	})
	if err != nil {
		return 0, err
	}
	after, err := open(slices.Sorted(maps.Keys(chats)), fill)
	return float64(after-before) / float64(len(chats)), err
}

// storeAndTalk gives a user a chat as prepare stores it, and one turn.
func storeAndTalk(ctx context.Context, in instance, user string, chat []exchange) error {
	last := len(chat) - 1
	if err := in.prepare(ctx, []string{user}, chat[:last]); err != nil {
		return err
	}
	return in.turn(ctx, user, chat[last])
}

// warmUps is how many sessions there are before those that are counted. Those
// of an index in buckets are at home among many.
func warmUps(c contender) int {
	if c.buckets {
		return 2000
	}
	return 1
}

// expired waits until the server has dropped what lives for a few minutes at
// most, such as what calls returned: an idle session does not have it any more.
func (b *bench) expired(ctx context.Context, prefix string) error {
	for {
		short := 0
		for cursor := uint64(0); ; {
			keys, next, err := b.server.control.Scan(ctx, cursor, "*"+prefix+"*", 1000).Result()
			if err != nil {
				return err
			}
			cmds, err := b.server.control.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for _, key := range keys {
					pipe.PTTL(ctx, key)
				}
				return nil
			})
			if err != nil {
				return err
			}
			for _, cmd := range cmds {
				if left := cmd.(*redis.DurationCmd).Val(); left > 0 && left < 5*time.Minute {
					short++
				}
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
		if short == 0 {
			return nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// settled returns the server's memory once it has not changed for a second.
func (b *bench) settled(ctx context.Context) (int64, error) {
	last, same := int64(-1), 0
	for range 300 {
		used, err := b.server.usedMemory(ctx)
		if err != nil {
			return 0, err
		}
		if diff := used - last; last >= 0 && diff > -1024 && diff < 1024 {
			if same++; same == 5 {
				return used, nil
			}
		} else {
			same = 0
		}
		last = used
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the server's memory does not come to rest")
}

// payload is the bytes of what a session holds: its id, its user, the state,
// the message, the intent, the values with their keys, and the chat's texts.
func payload(user string, chat []exchange) float64 {
	last := chat[len(chat)-1]
	n := 2*len(user) + len("web") + len(states[len(chat)%2]) + len(last.Text)
	n += len(last.Intent) + 8 + len(last.Text) // name, score, sentence
	for v, key := range valueKeys {
		n += len(key) + len(last.Values[v])
	}
	for _, x := range chat {
		n += len(x.Text) + len(x.Reply)
	}
	return float64(n)
}
