package store

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// A Notice tells that something happened to a session.
type Notice struct {
	Kind    string // accepted, committed, dead, changed, created, reset, destroyed, expired or ended
	Ref     session.Ref
	State   string // after it
	Version int64  // after it
	Time    time.Time
}

// watchLife is how long scripts go on publishing for a watcher who is gone.
const watchLife = 6 * time.Second

// Watch yields what happens to the bot's sessions, live, until ctx ends or the
// caller stops. It is for looking on, not for acting: what happens while the
// connection is lost is not told. Nothing is published when nobody watches.
func (b *Bot) Watch(ctx context.Context) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		err := b.err
		if err == nil && b.store.opts.ReadOnly {
			err = fmt.Errorf("%w: a watcher makes itself known", session.ErrReadOnly)
		}
		if err != nil {
			yield(Notice{}, fmt.Errorf("watch: %w", err))
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		channel := b.store.opts.Namespace + ":" + b.store.identity().id + ":watch:" + b.name
		sub := b.store.client.Subscribe(ctx, channel)
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			yield(Notice{}, fmt.Errorf("watch %s: %w", b.name, err))
			return
		}
		if err := b.announce(ctx, channel); err != nil {
			yield(Notice{}, fmt.Errorf("watch %s: %w", b.name, err))
			return
		}
		messages := sub.Channel(redis.WithChannelSize(1000))
		again := time.NewTicker(watchLife / 3)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				if err := b.announce(ctx, channel); err != nil && !yield(Notice{}, fmt.Errorf("watch %s: %w", b.name, err)) {
					return
				}
			case m, ok := <-messages:
				if !ok || !yield(b.notice(m.Payload)) {
					return
				}
			}
		}
	}
}

// announce leaves the watch key in every bucket.
func (b *Bot) announce(ctx context.Context, channel string) error {
	_, err := b.store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for bucket := range b.store.layout.tags {
			pipe.Set(ctx, b.store.layout.key("watch", place{ref: session.Ref{Bot: b.name}, bucket: bucket}), channel, watchLife)
		}
		return nil
	})
	return err
}

// notice reads what prelude/watch.lua publishes.
func (b *Bot) notice(payload string) (Notice, error) {
	parts := strings.SplitN(payload, "\x00", 6)
	if len(parts) != 6 {
		return Notice{}, fmt.Errorf("watch %s: %w: a notice of %d parts", b.name, session.ErrCorrupt, len(parts))
	}
	ms, _ := strconv.ParseInt(parts[1], 10, 64)
	version, _ := strconv.ParseInt(parts[2], 10, 64)
	detail, err := strconv.Atoi(parts[4])
	if err != nil || detail < 0 || detail > len(parts[5]) {
		return Notice{}, fmt.Errorf("watch %s: %w: a notice with the detail length %q", b.name, session.ErrCorrupt, parts[4])
	}
	return Notice{
		Kind: parts[0], Ref: session.Ref{Bot: b.name, ID: parts[5][detail:]}, State: parts[3], Version: version, Time: time.UnixMilli(ms).UTC(),
	}, nil
}
