package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// A fleet is what this process knows of the replicas, of all bots. Those that serve
// a bot and have room for its sessions divide the buckets between them by rendezvous
// hashing: each bucket belongs to the replica for which the hash of both is greatest,
// so that one that comes or goes moves only its own share.
type fleet struct {
	mu       sync.Mutex
	replicas []presence
	asked    time.Time
	shares   map[string][]int // shares are this replica's, by the names of those who share
}

// A presence is what a replica says of itself. Its line in bs:replicas is three
// numbers, in ms by the server's clock, and its JSON: since when it is there, when it
// was last seen, and until when it is believed to be there.
type presence struct {
	name     string
	Version  string             `json:"version,omitempty"`  // Version is that of its module; empty if it is not known.
	Features []string           `json:"features,omitempty"` // Features are names of what it can do and older versions cannot.
	Leaving  bool               `json:"leaving,omitempty"`  // Leaving is whether it takes no sessions any more.
	Bots     map[string]service `json:"bots,omitempty"`     // Bots are those that it serves.
}

// A service is what a replica does for one bot.
type service struct {
	Revision int64 `json:"revision"`        // Revision is that of the settings by which it goes.
	Slots    int   `json:"slots"`           // Slots is how many sessions it handles at once.
	Free     int   `json:"free"`            // Free is how many of them it could take now.
	Eager    int   `json:"eager,omitempty"` // Eager is how many of a hundred eager runs became their event's turn, of the last thousand.
}

var presenceLine = regexp.MustCompile(`^(\d{1,18}) (\d{1,18}) (\d{1,18}) (\{.*\})$`)

// readPresence reads a replica's line. until is the last of its numbers.
func readPresence(name, line string) (p presence, until int64, err error) {
	words := presenceLine.FindStringSubmatch(line)
	if words == nil {
		return p, 0, errors.New("it is not three numbers and an object")
	}
	until, _ = strconv.ParseInt(words[3], 10, 64)
	if err := json.Unmarshal([]byte(words[4]), &p); err != nil {
		return p, 0, errors.New("its JSON cannot be read")
	}
	p.name = name
	return p, until, nil
}

// presentAt reads the lines of those that are believed to be there at a moment. What
// cannot be read is left out.
func presentAt(now int64, lines map[string]string) (replicas []presence) {
	for name, line := range lines {
		if p, until, err := readPresence(name, line); err == nil && until > now {
			replicas = append(replicas, p)
		}
	}
	return replicas
}

func (f *fleet) set(replicas []presence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas, f.asked, f.shares = replicas, time.Now(), map[string][]int{}
}

// size is how many replicas there are.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.replicas)
}

// age is for how long the server was not asked.
func (f *fleet) age() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.asked)
}

// stale reports whether what is known is too old to leave something to somebody who
// may be dead.
func (f *fleet) stale() bool { return f.age() > 3*beatEvery(f.size()) }

// withRoom returns the names of the replicas that have room for a bot's sessions.
func (f *fleet) withRoom(bot string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return withRoom(f.replicas, bot)
}

func withRoom(replicas []presence, bot string) (names []string) {
	for _, p := range replicas {
		if p.Bots[bot].Free > 0 {
			names = append(names, p.name)
		}
	}
	return names
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

// share returns the buckets of a bot that are this replica's to look at: all of them
// as long as it knows of nobody for sure.
func (b *Bot) share() []int {
	s := b.store
	var names []string
	if !s.fleet.stale() {
		names = s.fleet.withRoom(b.name)
	}
	if !slices.Contains(names, s.name) {
		names = append(names, s.name)
	}
	return s.fleet.share(s.name, names, len(s.layout.tags))
}

// share returns the buckets that belong to one of the names. Most bots are served by
// the same replicas, so it is kept until those are others. Do not change it.
func (f *fleet) share(name string, names []string, buckets int) []int {
	who := strings.Join(names, " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	mine, known := f.shares[who]
	if known {
		return mine
	}
	for bucket := range buckets {
		if owner(names, bucket) == name {
			mine = append(mine, bucket)
		}
	}
	if f.shares != nil {
		f.shares[who] = mine
	}
	return mine
}

// serves reports whether a replica serves the bot, or it is not known.
func (f *fleet) serves(bot string) bool {
	if f.stale() {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.replicas, func(p presence) bool { _, serves := p.Bots[bot]; return serves })
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

// beats keeps this process among the replicas until ctx ends.
func (s *Store) beats(ctx context.Context) {
	for call.Sleep(ctx, beatEvery(s.fleet.size())) {
		s.complain(ctx, "heartbeat failed", s.beat(ctx))
		// The looks, which are plain commands, do not hear what the servers' clocks show.
		// Where one cannot be asked, the estimates are what they were.
		ask, cancel := context.WithTimeout(ctx, time.Second/2)
		_ = s.caller.RaiseClock(ask)
		cancel()
	}
}

// beat says what this process serves, and learns what others do. One that serves
// nothing any more leaves the fleet.
func (s *Store) beat(ctx context.Context) error {
	keep := 3 * beatEvery(s.fleet.size()+1)
	ctx, cancel := context.WithTimeout(ctx, keep) // after that nobody would believe it any more
	defer cancel()
	if err := s.followAtTimes(ctx); err != nil {
		return err
	}
	p := s.presence()
	ms := keep.Milliseconds()
	if p.Leaving {
		ms = 0
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	answer, err := s.run(ctx, s.noBucket(), ask(lua.Beat, []string{"name", s.name, "keep", strconv.FormatInt(ms, 10), "about", string(text)}))
	if err != nil {
		return err
	}
	lines := map[string]string{}
	for row := range answer.Rows("there") {
		lines[row.Text("name")] = row.Text("line")
	}
	s.fleet.set(presentAt(answer.Now(), lines))
	return nil
}

// presence is what this process says of itself.
func (s *Store) presence() presence {
	p := presence{Version: moduleVersion(), Bots: map[string]service{}}
	for _, r := range s.duty.all() {
		slots := cap(r.slots)
		p.Bots[r.bot.name] = service{Revision: r.bot.kept.Load().Revision, Slots: slots, Free: slots - len(r.slots), Eager: r.tries.rate()}
	}
	p.Leaving = len(p.Bots) == 0
	return p
}

// moduleVersion is the version of this module, as the program was built with it.
var moduleVersion = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == "github.com/botsession/botsession" {
			return m.Version
		}
	}
	return ""
})

// wakeFor wakes somebody if what a reply says next is that a session has work and nobody.
// It happens beside the caller's path; if it is lost, the next look finds the
// session.
func (b *Bot) wakeFor(next string, at place) {
	if next != "due" {
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
			b.store.about(at.ref).InfoContext(ctx, "wake-up failed", "error", err)
		}
	}()
}

// wake tells the replica that owns the session's bucket.
func (b *Bot) wake(ctx context.Context, at place) error {
	s := b.store
	if len(s.duty.all()) == 0 && s.fleet.age() > 2*time.Second {
		if err := s.followAtTimes(ctx); err != nil {
			return err
		}
		replicas, err := s.replicas(ctx)
		if err != nil {
			return err
		}
		s.fleet.set(replicas)
	}
	names := s.fleet.withRoom(b.name)
	if b.serving.Load() != nil { // and has no room: somebody else
		names = slices.DeleteFunc(names, func(name string) bool { return name == s.name })
	}
	to := owner(names, at.bucket)
	if to == "" {
		return nil
	}
	return s.caller.Do(ctx, call.Publish(s.layout.wakeChannel(s.identity().id, to), at.ref.Bot+"/"+at.ref.ID))
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
	replicas, err := b.store.replicas(ctx)
	if err != nil {
		return nil, fmt.Errorf("replicas of %s: %w", b.name, call.NoRight(err))
	}
	return withRoom(replicas, b.name), nil
}

// replicas reads who is there.
func (s *Store) replicas(ctx context.Context) ([]presence, error) {
	at := s.noBucket()
	lines := call.HGetAll(s.layout.key("replicas", at))
	if err := s.read(ctx, lines); err != nil {
		return nil, err
	}
	return presentAt(s.caller.Clock.At(at.bucket, time.Now()), lines.Val), nil
}

// wakes takes what other processes could not, until ctx ends.
func (s *Store) wakes(ctx context.Context) {
	for ctx.Err() == nil {
		s.wakesOf(ctx, s.identity())
	}
}

// wakesOf does so until the stored data is another's.
func (s *Store) wakesOf(ctx context.Context, of *identity) {
	messages, end := s.caller.Listen(ctx, s.layout.wakeChannel(of.id, s.name))
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
			bot, id, _ := strings.Cut(m.Payload, "/")
			if r := s.duty.of(bot); r != nil {
				r.take(s.layout.place(session.Ref{Bot: bot, ID: id}))
			}
		}
	}
}
