package store

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// A fleet is what this process knows of the replicas that serve a bot and have
// room. They divide the buckets between them by rendezvous hashing: each bucket
// belongs to the replica for which the hash of both is greatest, so that one
// that comes or goes moves only its own share.
type fleet struct {
	mu    sync.Mutex
	names []string
	asked time.Time
}

func (f *fleet) set(names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names, f.asked = names, time.Now()
}

func (f *fleet) get() (names []string, asked time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names, f.asked
}

// owner returns the replica that a bucket belongs to, or "".
func owner(names []string, bucket int) string {
	best, most := "", uint64(0)
	for _, name := range names {
		h := fnv.New64a()
		h.Write([]byte(name))
		h.Write([]byte(strconv.Itoa(bucket)))
		weight := h.Sum64()
		weight ^= weight >> 32
		weight *= 0x9e3779b97f4a7c15 // FNV's last bytes move only its low bits: spread them
		if best == "" || weight > most || weight == most && name < best {
			best, most = name, weight
		}
	}
	return best
}

// share returns the buckets that are this replica's to look at: all of them as
// long as it knows of nobody for sure.
func (f *fleet) share(b *Bot) []int {
	names, asked := f.get()
	if time.Since(asked) > 3*beatEvery(len(names)) {
		names = nil // too old to leave a bucket to somebody who may be dead
	}
	if !slices.Contains(names, b.store.name) {
		names = append(slices.Clone(names), b.store.name)
	}
	var mine []int
	for bucket := range b.store.layout.tags {
		if owner(names, bucket) == b.store.name {
			mine = append(mine, bucket)
		}
	}
	return mine
}

func (l layout) all() []int {
	all := make([]int, len(l.tags))
	for i := range all {
		all[i] = i
	}
	return all
}

// beatEvery is how often a replica of a fleet of n says that it is there: once
// a second, or less often in a large fleet, so that all together do it about
// twenty times a second.
func beatEvery(n int) time.Duration {
	return min(max(time.Second, time.Duration(n)*50*time.Millisecond), longestBeat)
}

const longestBeat = 10 * time.Second

// beats keeps this replica in the fleet, while it has room, and takes it out
// when ctx ends.
func (r *runner) beats(ctx context.Context) {
	for {
		room := len(r.slots) < cap(r.slots)
		r.complain(ctx, "heartbeat failed", r.beat(ctx, room))
		names, _ := r.bot.fleet.get()
		if !call.Sleep(ctx, beatEvery(len(names))) {
			break
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.beat(last, false)
}

func (r *runner) beat(ctx context.Context, room bool) error {
	b := r.bot
	names, _ := b.fleet.get()
	keep := 3 * beatEvery(len(names)+1)
	ctx, cancel := context.WithTimeout(ctx, keep) // after that nobody would believe it any more
	defer cancel()
	if err := b.store.followAtTimes(ctx); err != nil {
		return err
	}
	answer, err := b.store.run(ctx, lua.Beat, b.fleetPlace(), b.store.name, flag(room), millis(keep))
	if err != nil {
		return err
	}
	b.fleet.set(answer.Texts(2))
	return nil
}

// fleetPlace is where the replicas' key is: in no bucket.
func (b *Bot) fleetPlace() place {
	return place{ref: session.Ref{Bot: b.name}, bucket: len(b.store.layout.tags)}
}

// wakeFor wakes somebody if a reply says that a session has work and nobody.
// It happens beside the caller's path; if it is lost, the next look finds the
// session.
func (b *Bot) wakeFor(next reply, at place) {
	if next.Text(0) != "due" {
		return
	}
	if r := b.serving.Load(); r != nil {
		if s := r.tryEnter(); s != nil {
			r.spawnClaim(at, s)
			return
		}
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.wake(ctx, at); err != nil {
			b.store.log.Info("wake-up failed", "session", at.ref.String(), "error", err)
		}
	}()
}

// wake tells the replica that owns the session's bucket.
func (b *Bot) wake(ctx context.Context, at place) error {
	names, asked := b.fleet.get()
	if time.Since(asked) > 2*time.Second && b.serving.Load() == nil {
		if err := b.store.followAtTimes(ctx); err != nil {
			return err
		}
		found, err := b.replicas(ctx)
		if err != nil {
			return err
		}
		names = found
		b.fleet.set(names)
	}
	if b.serving.Load() != nil { // and has no room: somebody else
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == b.store.name })
	}
	to := owner(names, at.bucket)
	if to == "" {
		return nil
	}
	return b.store.caller.Do(ctx, call.Publish(b.store.layout.wakeChannel(b.store.identity().id, b.name, to), at.ref.ID))
}

// A Replica is a process that serves a bot.
type Replica struct {
	Name string // Name is its [Store.Name], which a session.Lease shows as the holder.
}

// Replicas is a loop over the replicas that serve the bot, in no order; those
// that have no room for another session are left out. For its errors see Lists
// in the package comment.
func (b *Bot) Replicas(ctx context.Context) iter.Seq2[Replica, error] {
	return func(yield func(Replica, error) bool) {
		names, err := b.replicas(ctx)
		if err != nil {
			yield(Replica{}, err)
			return
		}
		for _, name := range names {
			if !yield(Replica{Name: name}, nil) {
				return
			}
		}
	}
}

func (b *Bot) replicas(ctx context.Context) ([]string, error) {
	if err := b.store.usable(); err != nil {
		return nil, fmt.Errorf("replicas: %w", err)
	}
	at := b.fleetPlace()
	now := strconv.FormatInt(b.store.caller.Clock.At(at.bucket, time.Now()), 10)
	names := call.ZRangeByScore(b.store.layout.key("replicas", at), now, "+inf")
	if err := b.store.read(ctx, names); err != nil {
		return nil, fmt.Errorf("replicas of %s: %w", b.name, call.NoRight(err))
	}
	return names.Val, nil
}

// wakes takes what other processes could not.
func (r *runner) wakes(ctx context.Context) {
	for ctx.Err() == nil {
		r.wakesOf(ctx, r.bot.store.identity())
	}
}

// wakesOf does so until the stored data is another's.
func (r *runner) wakesOf(ctx context.Context, of *identity) {
	b := r.bot
	messages, end := b.store.caller.Listen(ctx, b.store.layout.wakeChannel(of.id, b.name, b.store.name))
	defer end()
	for {
		select {
		case <-ctx.Done():
			return
		case <-of.replaced:
			return
		case m, ok := <-messages:
			if !ok {
				call.Sleep(ctx, time.Second) // the client is closed
				return
			}
			if s := r.enter(ctx); s != nil {
				r.spawnClaim(b.store.layout.place(session.Ref{Bot: b.name, ID: m.Payload}), s)
			}
		}
	}
}
