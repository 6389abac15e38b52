package store

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
)

// Whoever waits for an event that this process accepted is told how it ended, by the
// replica that ended it. An event carries the tag of the process that accepted it
// (ids.TagOf), and nothing is stored of who waits: a process in which somebody waits
// says so every two seconds, on a channel that all replicas hear, and they remember it
// for five. A message on a channel is records, one behind the other, each with its
// length before it (a uvarint, as are all numbers and lengths). A record is a letter
// and what follows:
//
//	on the channel of all
//	w  tag                                        in that process somebody waits
//	?                                             a replica has come: say again who waits
//	o  session                                    events that waited for the session were dropped
//
//	on the channel of one tag
//	d  digest, session, reason, number, reply...  the event was handled, with these replies
//	x  digest, session, reason                    it became a dead letter
//	?  digest, session                            it ended: look how
//
// All of this may be lost, so whoever waits also looks now and then (Receipt.wait). But
// it is true: it is published when the script that made it so has returned.
const (
	announceEvery = 2 * time.Second
	announceLife  = 5 * time.Second        // for how long an announcement is remembered
	announceGap   = 100 * time.Millisecond // at least, between two
	announceTrip  = 200 * time.Millisecond // how long one may be on its way
	announceMore  = 10 * time.Second       // for so long after the last wait a process goes on

	mostTags      = 4096
	tellEvery     = 5 * time.Millisecond
	mostToldBytes = 8 << 10   // of the replies and the reason of one event
	mostBatch     = 256 << 10 // bytes of one message
	mostKept      = 1000      // endings for which somebody may come yet
	mostKeptBytes = 1 << 20
)

// An ending is how an event ended. An empty status means that it is to be looked at.
type ending struct {
	status  session.OutcomeStatus
	why     string
	replies []entry
}

// outcome returns it, with messages that nobody else has.
func (e *ending) outcome() (Outcome, error) {
	o := Outcome{Status: e.status, Reason: e.why}
	for _, reply := range e.replies {
		m, err := reply.read()
		if err != nil {
			return o, err
		}
		o.Replies = append(o.Replies, m)
	}
	return o, nil
}

// size is how many bytes the reason and the replies have.
func (e *ending) size() int {
	size := len(e.why)
	for _, reply := range e.replies {
		size += len(reply.encoded)
	}
	return size
}

// waited is an event that somebody waits for.
type waited struct {
	ref    session.Ref
	digest ids.Digest
}

// A waiter is one call of Receipt.Wait.
type waiter struct {
	ended chan ending   // how the event ended; one place
	look  chan struct{} // to be looked at now; one place
}

// told has who waits, here and elsewhere.
type told struct {
	patience time.Duration // after so long, and up to five eighths more, whoever is to be told looks
	interest atomic.Int64  // zero if nobody waits anywhere; else whoever ends an event looks who

	mu      sync.Mutex
	waiters map[waited][]*waiter
	tags    map[string]time.Time // those of processes in which somebody waits, until when
	swept   time.Time            // when those that are over were last dropped

	since    time.Time // from when on what this process accepts is told of; zero if it does not say that somebody waits
	last     time.Time // when it last said so
	asked    time.Time // when it was last asked to
	lost     time.Time // what was told until then may be lost
	kept     map[waited]ending
	order    []keptAt // of kept, the oldest first
	bytes    int
	serving  bool
	stop     context.CancelFunc // of the loop; nil while there is none
	stopped  chan struct{}      // closed when the loop has ended
	announce chan struct{}      // one place

	out      map[string][]byte // what is to be published, by channels
	sending  bool
	complain sync.Once
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

// enter makes the caller one who waits; leave ends that.
func (t *told) enter(what waited) *waiter {
	w := &waiter{ended: make(chan ending, 1), look: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiters == nil {
		t.waiters = map[waited][]*waiter{}
	}
	t.waiters[what] = append(t.waiters[what], w)
	if e, ok := t.kept[what]; ok {
		w.hear(e)
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
	if _, known := t.kept[what]; known || !keep || t.since.IsZero() {
		return
	}
	if t.kept == nil {
		t.kept = map[waited]ending{}
	}
	t.kept[what] = e
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

// remember notes that somebody waits in the process with that tag.
func (t *told) remember(tag string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	if _, known := t.tags[tag]; known || len(t.tags) < mostTags {
		if t.tags == nil {
			t.tags = map[string]time.Time{}
		}
		t.tags[tag] = time.Now().Add(announceLife)
	}
	t.count()
}

// sweep forgets at times those of whom was not heard again.
func (t *told) sweep() {
	now := time.Now()
	if now.Sub(t.swept) < announceLife {
		return
	}
	t.swept = now
	for tag, until := range t.tags {
		if now.After(until) {
			delete(t.tags, tag)
		}
	}
	t.count()
}

// waits reports whether somebody waits in the process with that tag.
func (t *told) waits(tag string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	return time.Now().Before(t.tags[tag])
}

// tell tells those who wait for an event of a session how it ended. taken is whether
// the receipt of the call that accepted it knows already.
func (s *Store) tell(ref session.Ref, e *event, end ending, taken bool) {
	t := &s.told
	if t.interest.Load() == 0 {
		return
	}
	what, from := waited{ref, e.digest}, e.extras.From
	t.deliver(what, end, from == s.tag && !taken)
	if from != "" && from != s.tag && t.waits(from) {
		s.publish(s.layout.toldChannel(s.identity().id, from), what.record(end))
	}
}

// tellDropped tells those who wait for events of a session that it was destroyed with.
// It does not know who accepted them, so all are told who wait for anything.
func (s *Store) tellDropped(ref session.Ref) {
	s.told.dropped(ref)
	s.publish(s.layout.waitsChannel(s.identity().id), []byte("o"+ref.String()))
}

// record returns what is published of an ending.
func (what waited) record(e ending) []byte {
	size := e.size()
	if size > mostToldBytes {
		e = ending{}
	}
	letter := byte('?')
	switch e.status {
	case session.Handled:
		letter = 'd'
	case session.Dead:
		letter = 'x'
	}
	b := append(make([]byte, 0, size+128), letter)
	b = appendText(append(b, what.digest...), what.ref.String())
	if letter == '?' {
		return b
	}
	b = appendText(b, e.why)
	for _, reply := range e.replies {
		b = binary.AppendUvarint(b, uint64(reply.message.Seq))
		b = binary.AppendUvarint(b, uint64(reply.message.Time.UnixMilli()))
		b = appendText(b, string(reply.encoded))
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// cutNumber and cutText take what stands first off a record; ok is false if it is not
// there.
func cutNumber(b string) (n uint64, rest string, ok bool) {
	n, size := binary.Uvarint([]byte(b[:min(len(b), binary.MaxVarintLen64)]))
	if size <= 0 {
		return 0, "", false
	}
	return n, b[size:], true
}

func cutText(b string) (text, rest string, ok bool) {
	n, b, ok := cutNumber(b)
	if !ok || n > uint64(len(b)) {
		return "", "", false
	}
	return b[:n], b[n:], true
}

// readEnding reads what record wrote.
func readEnding(b string) (what waited, e ending, ok bool) {
	if len(b) < 1+ids.DigestSize {
		return what, e, false
	}
	letter, b := b[0], b[1:]
	what.digest, b = ids.Digest(b[:ids.DigestSize]), b[ids.DigestSize:]
	name, b, ok := cutText(b)
	what.ref.Bot, what.ref.ID, _ = strings.Cut(name, "/")
	if !ok || what.ref.Validate() != nil {
		return what, e, false
	}
	switch letter {
	case '?':
		return what, e, b == ""
	case 'd':
		e.status = session.Handled
	case 'x':
		e.status = session.Dead
	default:
		return what, e, false
	}
	e.why, b, ok = cutText(b)
	for ok && b != "" {
		var seq, ms uint64
		var message string
		if seq, b, ok = cutNumber(b); !ok {
			break
		}
		if ms, b, ok = cutNumber(b); !ok {
			break
		}
		if message, b, ok = cutText(b); ok {
			m := session.Message{Seq: int64(seq), Time: time.UnixMilli(int64(ms)).UTC()}
			reply := entry{message: m, encoded: []byte(message)}
			_, err := reply.read()
			ok = err == nil
			e.replies = append(e.replies, reply)
		}
	}
	return what, e, ok
}

// publish publishes a record soon, with others that go to the same channel.
func (s *Store) publish(channel string, record []byte) {
	t := &s.told
	t.mu.Lock()
	defer t.mu.Unlock()
	batch := t.out[channel]
	if len(batch)+len(record) > mostBatch { // the server does not take them: they are found by looking
		return
	}
	if t.out == nil {
		t.out = map[string][]byte{}
	}
	t.out[channel] = appendText(batch, string(record))
	if !t.sending {
		t.sending = true
		go s.publishAll()
	}
}

// publishAll publishes what there is, every five ms until there is nothing more.
func (s *Store) publishAll() {
	t := &s.told
	for {
		t.mu.Lock()
		out := t.out
		t.out = nil
		if len(out) == 0 {
			t.sending = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		var batches []call.Command
		for _, channel := range slices.Sorted(maps.Keys(out)) {
			batches = append(batches, call.Publish(channel, string(out[channel])))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.caller.Do(ctx, batches...)
		cancel()
		s.complainOfTelling(err)
		time.Sleep(tellEvery)
	}
}

// complainOfTelling logs once that waits are not told of, or cannot be: then they look.
func (s *Store) complainOfTelling(err error) {
	if err != nil && s.usable() == nil && !call.Passing(err) {
		s.told.complain.Do(func() {
			s.log.Warn("who waits for events is not told of their ends, and looks for them", "error", call.NoRight(err))
		})
	}
}

// beTold has this process say that somebody waits in it.
func (s *Store) beTold() {
	t := &s.told
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = time.Now()
	s.startHearing()
	if t.since.IsZero() {
		select {
		case t.announce <- struct{}{}:
		default:
		}
	}
}

// startHearing begins the loop, unless it runs. The caller has the lock.
func (s *Store) startHearing() {
	t := &s.told
	if t.stop != nil || s.usable() != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	t.stop, t.stopped, t.announce = cancel, stopped, make(chan struct{}, 1)
	announce := t.announce
	go func() {
		defer close(stopped)
		for s.hear(ctx, s.identity(), announce) {
		}
	}()
}

// serveTold has this process hear who waits, until quitTold.
func (s *Store) serveTold() {
	t := &s.told
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serving = true
	s.startHearing()
}

func (s *Store) quitTold() {
	t := &s.told
	t.mu.Lock()
	t.serving = false
	stopped := t.stopped
	ends := t.endsHearing()
	t.mu.Unlock()
	if ends {
		<-stopped
	}
}

// endsHearing ends the loop if there is no need of it, and reports whether it ends.
// The caller has the lock.
func (t *told) endsHearing() bool {
	if t.stop == nil || time.Since(t.asked) < announceMore {
		return false
	}
	t.since, t.kept, t.order, t.bytes = time.Time{}, nil, nil, 0
	t.count()
	if t.serving {
		return false
	}
	t.stop()
	t.stop = nil
	return true
}

// closeTold ends the loop of a store that is closed.
func (s *Store) closeTold() {
	t := &s.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop()
		t.stop = nil
	}
}

// hear hears what is told, and says that somebody waits here, until the stored data is
// another's, or the subscription cannot be made. It reports whether it is to be called
// again.
func (s *Store) hear(ctx context.Context, of *identity, announce <-chan struct{}) (again bool) {
	t := &s.told
	all, own := s.layout.waitsChannel(of.id), s.layout.toldChannel(of.id, s.tag)
	sub := s.client.Subscribe(ctx, all, own)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	first, err := sub.ReceiveTimeout(ctx, announceLife)
	if err != nil {
		s.complainOfTelling(err)
		pause := time.Second
		if call.FromServer(err) && !call.Passing(err) {
			pause = time.Minute
		}
		return call.Sleep(ctx, pause)
	}
	messages := sub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(announceMore))
	timer := time.NewTimer(announceEvery)
	defer timer.Stop()
	said := func(record string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err := s.caller.Do(ctx, call.Publish(all, string(appendText(nil, record))))
		s.complainOfTelling(err)
		return err
	}
	handle := func(message any) {
		switch m := message.(type) {
		case *redis.Subscription:
			if m.Kind != "subscribe" || m.Channel != own {
				return
			}
			t.again()
			if t.serves() {
				_ = said("?")
			}
			timer.Reset(0)
		case *redis.Message:
			for b, ok := m.Payload, true; ok && b != ""; {
				var record string
				if record, b, ok = cutText(b); !ok {
					return
				}
				switch {
				case m.Channel == own:
					if what, e, ok := readEnding(record); ok {
						t.deliver(what, e, true)
					}
				case record == "?":
					timer.Reset(t.soonest())
				case strings.HasPrefix(record, "w") && len(record) == 1+ids.TagSize && record[1:] != s.tag:
					t.remember(record[1:])
				case strings.HasPrefix(record, "o"):
					bot, id, _ := strings.Cut(record[1:], "/")
					t.dropped(session.Ref{Bot: bot, ID: id})
				}
			}
		}
	}
	handle(first)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-of.replaced:
			return true
		case m, ok := <-messages:
			if !ok {
				return call.Sleep(ctx, time.Second) // the client is closed
			}
			handle(m)
		case <-announce:
			timer.Reset(t.soonest())
		case <-timer.C:
			t.mu.Lock()
			ends := t.endsHearing()
			waits := time.Since(t.asked) < announceMore
			t.mu.Unlock()
			if ends {
				return false
			}
			timer.Reset(announceEvery)
			if began := time.Now(); waits && said("w"+s.tag) == nil {
				t.announced(began)
			}
		}
	}
}

func (t *told) serves() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.serving
}

// soonest is when this process may say again that somebody waits in it.
func (t *told) soonest() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, announceGap-time.Since(t.last))
}

// announced notes that this process has said at that moment that somebody waits in it.
func (t *told) announced(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || at.Sub(t.last) > announceLife-time.Second {
		t.since = time.Now().Add(announceTrip)
	}
	t.last = at
	t.count()
}

// again notes that what is told comes again from now on, and has all look who relied
// on it.
func (t *told) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return
	}
	t.since = time.Time{}
	t.count()
	for _, waiters := range t.waiters {
		for _, w := range waiters {
			w.stir()
		}
	}
}
