package call

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Command is one plain command, beside the scripts. Do gives it its value.
type Command interface {
	send(ctx context.Context, by redis.Cmdable)
	take() error
	failed() error
}

// A Value is a command that returns a T.
type Value[T any] struct {
	Val T
	Err error

	make func(ctx context.Context, by redis.Cmdable) result[T]
	sent result[T]
}

type result[T any] interface{ Result() (T, error) }

func (v *Value[T]) send(ctx context.Context, by redis.Cmdable) { v.sent = v.make(ctx, by) }

func (v *Value[T]) take() error {
	if v.Val, v.Err = v.sent.Result(); errors.Is(v.Err, redis.Nil) {
		v.Err = nil // nothing is there: the zero value
	}
	return v.Err
}

func (v *Value[T]) failed() error { return v.Err }

// Read sends commands that write nothing, as Do does. Those that fail for reasons of
// the moment are sent again, until ctx ends.
func (c *Caller) Read(ctx context.Context, commands ...Command) error {
	left := slices.Clone(commands)
	for try := 0; ; try++ {
		whole := c.Do(ctx, left...)
		left = slices.DeleteFunc(left, func(command Command) bool { return command.failed() == nil || !Passing(command.failed()) })
		if len(left) > 0 && Sleep(ctx, c.Backoff(try, "read")) {
			continue
		}
		for _, command := range commands {
			if err := command.failed(); err != nil {
				return err
			}
		}
		return whole
	}
}

// Do sends commands once, all in one pipeline. Each has its own value and error;
// it returns the first error.
func (c *Caller) Do(ctx context.Context, commands ...Command) error {
	return do(ctx, c.client, commands)
}

func do(ctx context.Context, client redis.Cmdable, commands []Command) (first error) {
	if len(commands) == 1 {
		commands[0].send(ctx, client)
		return commands[0].take()
	}
	pipe := client.Pipeline()
	for _, command := range commands {
		command.send(ctx, pipe)
	}
	if cmds := pipe.Cmds(); isCluster(client) {
		pipe = client.Pipeline()
		for _, cmd := range cmds {
			_ = pipe.Process(ctx, unrepeated{cmd}) // only queues it
		}
	}
	_, err := pipe.Exec(ctx)
	for _, command := range commands {
		if err := command.take(); err != nil && first == nil {
			first = err
		}
	}
	if first == nil && !errors.Is(err, redis.Nil) {
		first = err // a hook may refuse the whole without telling each
	}
	return first
}

// unrepeated is a command in a pipeline of a cluster's client that go-redis sends
// again only where a node redirects it. By default go-redis 9.23 sends a node's whole
// part of a pipeline again if its first command failed for the moment, also those
// that the node has redirected: these are then on their way to two nodes, and two
// goroutines read the two replies into one command.
type unrepeated struct{ redis.Cmder }

func (unrepeated) NoRetry() bool { return true }

func isCluster(client redis.Cmdable) bool {
	_, cluster := client.(*redis.ClusterClient)
	return cluster
}

// HGet reads a field; empty if it is not there.
func HGet(key, field string) *Value[string] {
	return &Value[string]{make: func(ctx context.Context, c redis.Cmdable) result[string] { return c.HGet(ctx, key, field) }}
}

// HMGet reads fields; nil for each that is not there.
func HMGet(key string, fields []string) *Value[[]any] {
	return &Value[[]any]{make: func(ctx context.Context, c redis.Cmdable) result[[]any] { return c.HMGet(ctx, key, fields...) }}
}

// HGetAll reads a hash.
func HGetAll(key string) *Value[map[string]string] {
	return &Value[map[string]string]{make: func(ctx context.Context, c redis.Cmdable) result[map[string]string] { return c.HGetAll(ctx, key) }}
}

// HKeys reads the names of a hash's fields.
func HKeys(key string) *Value[[]string] {
	return &Value[[]string]{make: func(ctx context.Context, c redis.Cmdable) result[[]string] { return c.HKeys(ctx, key) }}
}

// HSetNX sets a field that is not there yet.
func HSetNX(key, field string, value any) *Value[bool] {
	return &Value[bool]{make: func(ctx context.Context, c redis.Cmdable) result[bool] { return c.HSetNX(ctx, key, field, value) }}
}

// A Fields is a part of a hash: field, value, field, value, and from where the next
// part is read; 0 behind the last one.
type Fields struct {
	Pairs []string
	Next  uint64
}

type fields struct{ *redis.ScanCmd }

func (f fields) Result() (part Fields, err error) {
	part.Pairs, part.Next, err = f.ScanCmd.Result()
	return part, err
}

// HScan reads about n fields of a hash, some perhaps twice.
func HScan(key string, from uint64, n int64) *Value[Fields] {
	return &Value[Fields]{make: func(ctx context.Context, c redis.Cmdable) result[Fields] {
		return fields{c.HScan(ctx, key, from, "", n)}
	}}
}

// LRange reads the elements of a list from one index to another; -1 is that of the last.
func LRange(key string, from, to int64) *Value[[]string] {
	return &Value[[]string]{make: func(ctx context.Context, c redis.Cmdable) result[[]string] { return c.LRange(ctx, key, from, to) }}
}

// LLen counts a list's elements.
func LLen(key string) *Value[int64] {
	return &Value[int64]{make: func(ctx context.Context, c redis.Cmdable) result[int64] { return c.LLen(ctx, key) }}
}

// Type reads the type of what is stored; "none" if there is nothing.
func Type(key string) *Value[string] {
	return &Value[string]{make: func(ctx context.Context, c redis.Cmdable) result[string] { return c.Type(ctx, key) }}
}

// PTTL reads how long a key lives; negative for ever.
func PTTL(key string) *Value[time.Duration] {
	return &Value[time.Duration]{make: func(ctx context.Context, c redis.Cmdable) result[time.Duration] { return c.PTTL(ctx, key) }}
}

// Set writes a text that lives for so long.
func Set(key, value string, life time.Duration) *Value[string] {
	return &Value[string]{make: func(ctx context.Context, c redis.Cmdable) result[string] { return c.Set(ctx, key, value, life) }}
}

// Publish tells those who listen.
func Publish(channel, message string) *Value[int64] {
	return &Value[int64]{make: func(ctx context.Context, c redis.Cmdable) result[int64] { return c.Publish(ctx, channel, message) }}
}

// ZAddXX moves a member that is there.
func ZAddXX(key, member string, score float64) *Value[int64] {
	return &Value[int64]{make: func(ctx context.Context, c redis.Cmdable) result[int64] {
		return c.ZAddXX(ctx, key, redis.Z{Score: score, Member: member})
	}}
}

// ZScore reads the score of a member; zero if it is not there.
func ZScore(key, member string) *Value[float64] {
	return &Value[float64]{make: func(ctx context.Context, c redis.Cmdable) result[float64] { return c.ZScore(ctx, key, member) }}
}

// ZCard counts a sorted set's members.
func ZCard(key string) *Value[int64] {
	return &Value[int64]{make: func(ctx context.Context, c redis.Cmdable) result[int64] { return c.ZCard(ctx, key) }}
}

// ZCount counts the members whose score is in a range.
func ZCount(key, least, most string) *Value[int64] {
	return &Value[int64]{make: func(ctx context.Context, c redis.Cmdable) result[int64] { return c.ZCount(ctx, key, least, most) }}
}

// ZRangeByScore reads the members whose score is in a range.
func ZRangeByScore(key, least, most string) *Value[[]string] {
	return &Value[[]string]{make: func(ctx context.Context, c redis.Cmdable) result[[]string] {
		return c.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: least, Max: most})
	}}
}

// Ping asks for a reply and nothing else.
func Ping() *Value[string] {
	return &Value[string]{make: func(ctx context.Context, c redis.Cmdable) result[string] { return c.Ping(ctx) }}
}

// A Member is one of a sorted set.
type Member struct {
	Name  string
	Score float64
}

type members struct{ *redis.ZSliceCmd }

func (m members) Result() ([]Member, error) {
	zs, err := m.ZSliceCmd.Result()
	list := make([]Member, len(zs))
	for i, z := range zs {
		list[i].Name, _ = z.Member.(string)
		list[i].Score = z.Score
	}
	return list, err
}

// Ranked reads the members from one rank to another, the lowest score first.
func Ranked(key string, from, to int64) *Value[[]Member] {
	return &Value[[]Member]{make: func(ctx context.Context, c redis.Cmdable) result[[]Member] {
		return members{c.ZRangeWithScores(ctx, key, from, to)}
	}}
}
