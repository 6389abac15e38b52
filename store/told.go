package store

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
)

// Whoever waits for an event that this process accepted is told how it ended, by the
// replica that ended it. An event carries the tag of the process that accepted it
// (ids.TagOf), and nothing is stored of who waits: a process in which somebody waits
// says so every two seconds, on a channel that all replicas hear, and they remember it
// for five (hear.go). They publish the endings of events of such a process in batches,
// on a channel of its tag (tell.go). A message on a channel is records, one behind the
// other, each with its length before it. A record is a letter and what follows:
//
//	on the channel of all
//	w  tag                                        in that process somebody waits
//	?                                             a replica has come: say again who waits
//	o  session                                    events that waited for the session were dropped
//
//	on the channel of one tag
//	d  digest, session, reason, replies           the event was handled
//	x  digest, session, reason                    it became a dead letter
//	?  digest, session                            it ended: look how
//
// A reply is its number in the chat, its time (ms) and what EncodeMessage wrote. Numbers
// and lengths are uvarints; session, reason and messages have their lengths before them,
// but for the session of o.
//
// All of this may be lost, so whoever waits also looks now and then (Receipt.wait). But
// it is true: it is published when the script that made it so has returned.
const (
	announceLife = 5 * time.Second        // for how long an announcement is remembered
	announceGap  = 100 * time.Millisecond // at least, between two
	announceTrip = 200 * time.Millisecond // how long one may be on its way
	announceMore = 10 * time.Second       // for so long after the last wait a process goes on

	mostTags      = 4096
	tellEvery     = 10 * time.Millisecond // at most so often: a hundred messages a second to one process
	mostToldBytes = 8 << 10               // of the replies and the reason of one event
	mostOut       = 1 << 20               // bytes that are to be published
	mostKept      = 1000                  // endings for which somebody may come yet
	mostKeptBytes = 1 << 20
)

// A waiter is one call of Receipt.Wait.
type waiter struct {
	ended chan ending   // how the event ended; one place
	look  chan struct{} // to be looked at now; one place
}

// told has who waits, here and elsewhere.
type told struct {
	patience time.Duration // after so long, and up to five eighths more, whoever is to be told looks
	every    time.Duration // between two announcements
	interest atomic.Int64  // zero if nobody waits anywhere; else whoever ends an event looks who

	mu      sync.Mutex
	waiters map[waited][]*waiter
	tags    map[string]time.Time // those of processes in which somebody waits, until when
	swept   time.Time            // when those that are over were last dropped

	since    time.Time // from when on what this process accepts is told of; zero if it does not say that somebody waits
	last     time.Time // when it last said so
	asked    time.Time // when it was last asked to
	lost     time.Time // what was told until then may be lost
	kept     map[waited]keptEnding
	order    []keptAt // of kept, the oldest first
	bytes    int
	serving  bool
	stop     context.CancelFunc // of the loop; nil while there is none
	stopped  chan struct{}      // closed when the loop has ended
	announce chan struct{}      // one place

	out      map[string][]byte // what is to be published, by channels
	outBytes int
	sending  bool
	complain sync.Once
}

// A keptEnding is an ending and when it was heard of.
type keptEnding struct {
	ending
	at time.Time
}

type keptAt struct {
	what waited
	at   time.Time
	size int
}

// count notes whether anybody waits anywhere.
func (t *told) count() {
	n := len(t.waiters) + len(t.tags)
	if !t.since.IsZero() {
		n++
	}
	t.interest.Store(int64(n))
}

// enter makes the caller one who waits for an event that this process accepted then, or
// perhaps another did if that is zero; leave ends that.
func (t *told) enter(what waited, accepted time.Time) *waiter {
	w := &waiter{ended: make(chan ending, 1), look: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiters == nil {
		t.waiters = map[waited][]*waiter{}
	}
	t.waiters[what] = append(t.waiters[what], w)
	if e, ok := t.kept[what]; ok && !accepted.IsZero() && e.at.After(accepted) { // else it is of an event that had this id before
		w.hear(e.ending)
	}
	t.count()
	return w
}

func (t *told) leave(what waited, w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest := slices.DeleteFunc(t.waiters[what], func(other *waiter) bool { return other == w }); len(rest) > 0 {
		t.waiters[what] = rest
	} else {
		delete(t.waiters, what)
	}
	t.count()
}

func (w *waiter) hear(e ending) {
	if e.status == "" {
		w.stir()
		return
	}
	select {
	case w.ended <- e:
	default:
	}
}

func (w *waiter) stir() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// covers reports whether this process is told of an event that waited at that moment,
// whatever became of it since, and asks for that to go on.
func (t *told) covers(seen time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || seen.Before(t.since) || !seen.After(t.lost) || time.Since(t.last) > announceLife-time.Second {
		return false
	}
	t.asked = time.Now()
	return true
}

// deliver tells those who wait here. keep is whether somebody may come who waits for it,
// because this process has accepted the event.
func (t *told) deliver(what waited, e ending, keep bool) {
	size := e.size() + 256
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.waiters[what] {
		w.hear(e)
	}
	if !keep || t.since.IsZero() {
		return
	}
	if t.kept == nil {
		t.kept = map[waited]keptEnding{}
	}
	_, known := t.kept[what]
	t.kept[what] = keptEnding{e, time.Now()}
	if known {
		return
	}
	t.order = append(t.order, keptAt{what, time.Now(), size})
	for t.bytes += size; len(t.order) > mostKept || t.bytes > mostKeptBytes; t.order = t.order[1:] {
		first := t.order[0]
		delete(t.kept, first.what)
		t.bytes -= first.size
		t.lost = first.at
	}
}

// dropped has those look who wait for an event of the session.
func (t *told) dropped(ref session.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, waiters := range t.waiters {
		for _, w := range waiters {
			if what.ref == ref {
				w.stir()
			}
		}
	}
	t.lost = time.Now() // of whom it is told, but who comes only now
}
