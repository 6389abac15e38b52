package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
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
			if c.name == nameBare || c.perMessage == 1 && c.name != nameCapped {
				continue // they hold no sessions
			}
			fmt.Fprintf(b.progress, "\r\033[Kmemory of %d messages: %s", messages, c.name)
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
	fmt.Fprint(b.progress, "\r\033[K")
	return found, nil
}

// idle compares the server's memory before and after, both times with none of
// the contender's connections, whose buffers would be counted too.
func (b *bench) idle(ctx context.Context, c contender, i *idle) (err error) {
	e := b.env()
	defer func() { err = errors.Join(err, b.server.sweep(context.WithoutCancel(ctx), e.prefix)) }()
	// Sessions that are not counted make what sessions share: scripts, and the
	// index of each bucket.
	warm := map[string][]exchange{}
	for n := range warmUps(c) {
		warm["warm-"+strconv.Itoa(n)] = b.data.chat(n, 4)
	}
	if err := b.fillAll(ctx, c, e, warm); err != nil {
		return err
	}
	if _, err := (&ours{env: e}).forget(ctx); err != nil {
		return err
	}
	before, err := b.settled(ctx)
	if err != nil {
		return err
	}
	chats := map[string][]exchange{}
	for n := range i.Sessions {
		user := "user-" + strconv.Itoa(n)
		chats[user] = b.data.chat(n, i.Messages)
		i.Payload += payload(user, chats[user]) / float64(i.Sessions)
	}
	if err := b.fillAll(ctx, c, e, chats); err != nil {
		return err
	}
	after, err := b.settled(ctx)
	if err != nil {
		return err
	}
	i.Bytes = float64(after-before) / float64(i.Sessions)
	ids, err := (&ours{env: e}).forget(ctx)
	if err != nil || ids == 0 {
		return err
	}
	without, err := b.settled(ctx)
	if err != nil {
		return err
	}
	i.PerID = float64(after-without) / float64(ids)
	i.IDs = float64(ids) / float64(i.Sessions)
	i.Bytes -= i.PerID * i.IDs
	return nil
}

// warmUps is how many sessions there are before those that are counted. Those
// of an index in buckets are at home among many.
func warmUps(c contender) int {
	if c.buckets {
		return 2000
	}
	return 1
}

// fillAll gives users their chats, by an instance that is closed afterwards.
func (b *bench) fillAll(ctx context.Context, c contender, e env, chats map[string][]exchange) (err error) {
	in, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	users := slices.Sorted(maps.Keys(chats))
	if _, ok := in.(*ours); ok {
		return inParallel(ctx, users, func(ctx context.Context, user string) error { return b.fill(ctx, in, user, chats[user]) })
	}
	for _, user := range users {
		if err := b.fill(ctx, in, user, chats[user]); err != nil {
			return err
		}
	}
	return nil
}

// fill gives a user a chat: ours by turns, since what they leave is what is
// asked for; the others as prepare stores it, and one turn.
func (b *bench) fill(ctx context.Context, in instance, user string, chat []exchange) error {
	if o, ok := in.(*ours); ok {
		for _, x := range chat {
			if err := o.turn(ctx, user, b.turns[x.Text]); err != nil {
				return err
			}
		}
		return nil
	}
	last := len(chat) - 1
	if err := in.prepare(ctx, []string{user}, chat[:last]); err != nil {
		return err
	}
	return in.turn(ctx, user, chat[last])
}

// settled returns the server's memory once it no longer changes.
func (b *bench) settled(ctx context.Context) (int64, error) {
	last := int64(-1)
	for range 20 {
		used, err := b.server.usedMemory(ctx)
		if err != nil {
			return 0, err
		}
		if diff := used - last; last >= 0 && diff > -1024 && diff < 1024 {
			return used, nil
		}
		last = used
		time.Sleep(150 * time.Millisecond)
	}
	return last, nil
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
