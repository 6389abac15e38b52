package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
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
	since    int64 // ms, as are seen and until
	seen     int64
	until    int64
	Version  string             `json:"version,omitempty"`  // Version is that of its module; empty if it is not known.
	Features []string           `json:"features,omitempty"` // Features are names of what it can do and older versions cannot.
	Leaving  bool               `json:"leaving,omitempty"`  // Leaving is whether it takes no sessions any more.
	Bots     map[string]service `json:"bots,omitempty"`     // Bots are those that it serves.
	Left     []string           `json:"left,omitempty"`     // Left are those that it has served and does not serve any more.
}

// A service is what a replica does for one bot.
type service struct {
	Revision int64 `json:"revision"`        // Revision is that of the settings by which it goes.
	Slots    int   `json:"slots"`           // Slots is how many sessions it handles at once.
	Free     int   `json:"free"`            // Free is how many of them it could take now.
	Stuck    int   `json:"stuck,omitempty"` // Stuck is how many functions of the user's run on after MaxTurn.
	Eager    int   `json:"eager,omitempty"` // Eager is how many of a hundred eager runs became their event's turn, of the last thousand.
}

var presenceLine = regexp.MustCompile(`^(\d{1,18}) (\d{1,18}) (\d{1,18}) (\{.*\})$`)

// readPresence reads a replica's line.
func readPresence(name, line string) (p presence, err error) {
	words := presenceLine.FindStringSubmatch(line)
	if words == nil {
		return p, errors.New("it is not three numbers and an object")
	}
	if err := json.Unmarshal([]byte(words[4]), &p); err != nil {
		return p, errors.New("its JSON cannot be read")
	}
	p.name = name
	for i, at := range []*int64{&p.since, &p.seen, &p.until} {
		*at, _ = strconv.ParseInt(words[i+1], 10, 64)
	}
	return p, nil
}

// there is whether the replica is believed to be there at a moment, in ms.
func (p presence) there(now int64) bool { return p.until > now }

// presentAt reads the lines of those that are believed to be there at a moment. What
// cannot be read is left out.
func presentAt(now int64, lines map[string]string) (replicas []presence) {
	for name, line := range lines {
		if p, err := readPresence(name, line); err == nil && p.there(now) {
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
		p.Bots[r.bot.name] = service{Revision: r.bot.kept.Load().Revision, Slots: slots, Free: slots - len(r.slots), Stuck: r.stuck(), Eager: r.tries.rate()}
	}
	p.Left, p.Leaving = s.duty.left(), len(p.Bots) == 0
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

// A Replica is a process that serves a bot, or has served it within the last hour, as
// it was when it was last seen.
type Replica struct {
	Name     string    `json:"name"`               // Name is its [Store.Name], which a session.Lease shows as the holder, and [Filter.HeldBy] takes.
	Version  string    `json:"version,omitempty"`  // Version is that of this module in its program. Empty if the program does not know.
	Features []string  `json:"features,omitempty"` // Features are names of what it can do and older versions cannot.
	Since    time.Time `json:"since"`              // Since is when it was first seen, by the server's clock.
	Seen     time.Time `json:"seen"`               // Seen is when it was last seen, by the server's clock.
	Now      time.Time `json:"now"`                // Now is when the server was asked.
	Present  bool      `json:"present"`            // Present is whether it is believed to be there: it was seen a moment ago, and did not leave.
	Leaving  bool      `json:"leaving,omitempty"`  // Leaving is whether it has stopped to serve the bot.
	Revision int64     `json:"revision"`           // Revision is that of the bot's settings by which it goes; see [Settings]. Zero once it is leaving.
	Slots    int       `json:"slots"`              // Slots is how many sessions of the bot it handles at once. Zero once it is leaving.
	Used     int       `json:"used"`               // Used is how many of the slots are taken. With all of them it takes no other session.
	Stuck    int       `json:"stuck"`              // Stuck is how many handlers, Sends and Updates did not return within [Options.MaxTurn] and still run. Once they are left alone they take no slot.
}

// Replicas is a loop over the replicas that were seen within the last hour, by their
// names: those that serve the bot, with and without room for another session, and those
// that have left or were not heard of again. What one holds, and for how long, are
// [Bot.Sessions] by [Filter.HeldBy]. For its errors see Lists in the package comment.
func (b *Bot) Replicas(ctx context.Context) iter.Seq2[Replica, error] {
	return func(yield func(Replica, error) bool) {
		seen, now, err := b.seen(ctx)
		if err != nil {
			yield(Replica{}, err)
			return
		}
		for _, p := range seen {
			does, serves := p.Bots[b.name]
			if !serves && !slices.Contains(p.Left, b.name) {
				continue
			}
			if !yield(Replica{
				Name: p.name, Version: p.Version, Features: p.Features, Since: time.UnixMilli(p.since).UTC(), Seen: time.UnixMilli(p.seen).UTC(),
				Now: time.UnixMilli(now).UTC(), Present: serves && p.there(now), Leaving: !serves, Revision: does.Revision, Slots: does.Slots, Used: does.Slots - does.Free, Stuck: does.Stuck,
			}, nil) {
				return
			}
		}
	}
}

// seen reads who was seen within the last hour, of all bots, by name.
func (b *Bot) seen(ctx context.Context) (replicas []presence, now int64, err error) {
	if err := b.store.usable(); err != nil {
		return nil, 0, fmt.Errorf("replicas: %w", err)
	}
	lines, now, err := b.store.presences(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("replicas of %s: %w", b.name, call.NoRight(err))
	}
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		if p, err := readPresence(name, lines[name]); err == nil && p.seen > now-time.Hour.Milliseconds() {
			replicas = append(replicas, p)
		}
	}
	return replicas, now, nil
}

// replicas returns the names of those that are there and have room for the bot's sessions.
func (b *Bot) replicas(ctx context.Context) ([]string, error) {
	seen, now, err := b.seen(ctx)
	return withRoom(slices.DeleteFunc(seen, func(p presence) bool { return !p.there(now) }), b.name), err
}

// replicas reads who is there.
func (s *Store) replicas(ctx context.Context) ([]presence, error) {
	lines, now, err := s.presences(ctx)
	return presentAt(now, lines), err
}

// presences reads the lines of all replicas, and the server's time.
func (s *Store) presences(ctx context.Context) (lines map[string]string, now int64, err error) {
	at := s.noBucket()
	all := call.HGetAll(s.layout.key("replicas", at))
	if err := s.read(ctx, all); err != nil {
		return nil, 0, err
	}
	return all.Val, s.caller.Clock.At(at.bucket, time.Now()), nil
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
