package store

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// A Notice tells that something happened to a session. Its kind is
//
//   - "accepted": an event was accepted;
//   - "committed": a turn or an Update was committed;
//   - "dead": an event or a reply became a dead letter;
//   - "created", "changed", "reset", "destroyed": a method of [Session] did
//     it;
//   - "expired": the session was idle for its time to live;
//   - "ended": the session's own turn destroyed it, and its replies are sent;
//   - "gap": notices may be missing before this one.
type Notice struct {
	Kind    string      // Kind says what happened: see Notice.
	Ref     session.Ref // Ref names the session; for a gap, only the bot.
	State   string      // State is the session's state afterwards or, if it is gone, its last one.
	Version int64       // Version is the session's version afterwards or, if it is gone, its last one.
	Time    time.Time   // Time is when it happened, by the server's clock.
}

// watchLife is how long scripts go on publishing for a watcher who is gone, and
// watchQueue how many notices wait for a slow one.
var (
	watchLife  = 6 * time.Second
	watchQueue = 10_000
)

// Watch is a loop over what happens to the bot's sessions from now on, until
// ctx ends or the caller breaks. It is for monitoring: do not act on it. Where
// notices may be missing, a notice of the kind "gap" stands in their place:
// after a lost connection, when the server could not be told in time that
// somebody watches, and when ten thousand notices wait for a slow caller. An
// error ends the loop. A store with [Options.ReadOnly] cannot watch. Nothing
// is published while nobody watches.
func (b *Bot) Watch(ctx context.Context) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		err := b.store.usable()
		if err == nil && b.store.opts.ReadOnly {
			err = fmt.Errorf("%w: a watcher makes itself known", session.ErrReadOnly)
		}
		if err != nil {
			yield(Notice{}, fmt.Errorf("watch: %w", err))
			return
		}
		w := &watcher{bot: b, of: b.store.identity(), queue: make(chan item, watchQueue)}
		var running sync.WaitGroup
		defer running.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		sub := b.store.client.Subscribe(ctx, w.channel())
		defer sub.Close()
		_, err = sub.Receive(ctx)
		announced := time.Now()
		if err == nil {
			err = w.announce(ctx)
		}
		if err != nil {
			yield(Notice{}, fmt.Errorf("watch %s: %w", b.name, err))
			return
		}
		// Both go on whatever the caller does between two notices.
		running.Go(func() { w.announcements(ctx, sub, announced) })
		running.Go(func() { w.receive(ctx, sub) })
		for {
			select {
			case <-ctx.Done():
				return
			case <-b.store.ended:
				yield(Notice{}, fmt.Errorf("watch %s: %w", b.name, b.store.usable()))
				return
			case i := <-w.queue:
				if !yield(i.notice, i.err) {
					return
				}
			}
		}
	}
}

// A watcher receives notices while its caller is busy with others.
type watcher struct {
	bot   *Bot
	of    *identity // of the data whose notices it hears
	queue chan item

	mu   sync.Mutex
	lost bool // something is missing behind what is in the queue, and is to be told
}

type item struct {
	notice Notice
	err    error
}

// push queues items, and before them what tells of a gap. What finds no room is
// lost, and so a gap.
func (w *watcher) push(items ...item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost {
		items = append([]item{{notice: Notice{Kind: "gap", Ref: session.Ref{Bot: w.bot.name}, Time: w.bot.store.caller.Clock.Now(0).UTC()}}}, items...)
	}
	for _, i := range items {
		select {
		case w.queue <- i:
			w.lost = false
		default:
			w.lost = true
			return
		}
	}
}

// lose notes that notices may be missing before the next one.
func (w *watcher) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = true
}

// gap tells that notices may be missing from here on.
func (w *watcher) gap() {
	w.lose()
	w.push()
}

// receive queues what is published. Where the connection was lost, go-redis makes
// another one, and a second subscription tells of it.
func (w *watcher) receive(ctx context.Context, sub *redis.PubSub) {
	for ctx.Err() == nil {
		got, err := sub.ReceiveTimeout(ctx, watchLife/2)
		if err != nil && call.TimeOver(err) && sub.Ping(ctx) == nil {
			// A connection that is dead without a word takes the ping, but gives no answer.
			// Receive leaves it after the deadline, as ReceiveTimeout would not.
			answer, cancel := context.WithTimeout(ctx, watchLife/2)
			got, err = sub.Receive(answer)
			cancel()
		}
		switch got := got.(type) {
		case *redis.Subscription:
			w.gap()
		case *redis.Message:
			n, err := w.bot.notice(got.Payload)
			w.push(item{n, err})
		}
		if err != nil {
			call.Sleep(ctx, watchLife/100)
		}
	}
}

// channel is where the notices of that data are published.
func (w *watcher) channel() string {
	return w.bot.store.layout.watchChannel(w.of.id, w.bot.name)
}

// announcements keeps the watch keys alive, and goes on to another channel if the
// stored data is another's: a bucket has one watch key, which all who watch write.
// Where that failed for too long, scripts did not publish; a key's life begins when
// it is written, so it lasts from the beginning of the announcement at least.
func (w *watcher) announcements(ctx context.Context, sub *redis.PubSub, last time.Time) {
	for call.Sleep(ctx, watchLife/3) {
		began := time.Now()
		if began.Sub(last) > watchLife {
			w.lose() // a notice that comes as soon as scripts publish again stands behind the gap
		}
		if err := w.renew(ctx, sub); err != nil {
			continue
		}
		if time.Since(last) > watchLife {
			w.gap()
		}
		last = began
		w.push() // of a gap, if there was no room before
	}
}

// renew goes on to the channel of the data that is stored now, and announces it.
func (w *watcher) renew(ctx context.Context, sub *redis.PubSub) error {
	ctx, cancel := context.WithTimeout(ctx, watchLife/3) // so that the caller who stops need not wait
	defer cancel()
	if err := w.bot.store.followAtTimes(ctx); err != nil {
		return err
	}
	if now := w.bot.store.identity(); now.id != w.of.id {
		before := w.channel()
		w.of = now
		// Whatever comes of these, the client's next connection has the new channel alone.
		_ = sub.Subscribe(ctx, w.channel())
		_ = sub.Unsubscribe(ctx, before)
		w.gap()
	}
	return w.announce(ctx)
}

// announce leaves the watch key in every bucket.
func (w *watcher) announce(ctx context.Context) error {
	store := w.bot.store
	_, err := store.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for bucket := range store.layout.tags {
			pipe.Set(ctx, store.layout.key("watch", place{ref: session.Ref{Bot: w.bot.name}, bucket: bucket}), w.channel(), watchLife)
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
