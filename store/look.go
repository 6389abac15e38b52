package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// What no replica is told of is found by looking. Once a second a process asks each
// bucket of its share, in one plain command for all bots, which bells ring (see
// lua/prelude/bells.lua). Then
//
//	a session that was handed out, its lease over, of a bot that it serves
//	    is leased
//	the same, of another bot
//	    is moved to that bot's list due
//	a bell of a bot that it serves
//	    its list is read, and the bell set to what is first in it, or taken away
//	a bell of a bot that nobody serves
//	    is set likewise, but does not ring for the next ten seconds
//
// What is of a bot that others serve is left to them. A bot's list is read by that
// bot's own loops (dues and expiries), so that one that has no room keeps nobody
// else's sessions waiting. A process that begins to serve a bot reads the list of each
// bucket of its share once, whether its bell rings or not. Once a second, the whole
// fleet together, one list is read though its bell does not ring: so a bell that was
// lost is mended in the end.

// The kinds of bells: see lua/prelude/bells.lua.
const (
	bellDue    = "d"
	bellExpiry = "x"
	bellHanded = "h"
)

// splitBell takes a bell's name apart. The id is that of a session that was handed out;
// kind is empty for a name that no bell has.
func splitBell(name string) (kind, bot, id string) {
	if name == "" {
		return "", "", ""
	}
	kind, bot = name[:1], name[1:]
	if kind == bellHanded {
		bot, id, _ = strings.Cut(bot, "/")
		if (session.Ref{Bot: bot, ID: id}).Validate() == nil {
			return kind, bot, id
		}
		return "", "", ""
	}
	if kind != bellDue && kind != bellExpiry || session.ValidBot(bot) != nil {
		return "", "", ""
	}
	return kind, bot, ""
}

// A duty is what a process does once for all the bots that it serves: it says that it
// is there, looks for what is due, and hears of what others cannot take.
type duty struct {
	mu      sync.Mutex
	runners map[string]*runner // runners are those that take sessions, by their bots
	quitted map[string]bool    // quitted has the bots that were served and are not any more
	end     func()             // end ends the loops, and waits for them; nil while there are none
}

// all returns the runners that take sessions, in the order of their bots' names.
func (d *duty) all() (runners []*runner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.runners {
		runners = append(runners, r)
	}
	slices.SortFunc(runners, func(a, b *runner) int { return strings.Compare(a.bot.name, b.bot.name) })
	return runners
}

// of returns the runner that takes sessions of a bot, or nil.
func (d *duty) of(bot string) *runner {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runners[bot]
}

// left returns the names of the bots that were served and are not any more.
func (d *duty) left() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.quitted))
}

// join makes a runner one of those that take sessions. The first begins the loops.
func (s *Store) join(r *runner) {
	d := &s.duty
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.runners == nil {
		d.runners, d.quitted = map[string]*runner{}, map[string]bool{}
	}
	d.runners[r.bot.name] = r
	delete(d.quitted, r.bot.name)
	if d.end != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for _, loop := range []func(context.Context){s.beats, s.looks, s.wakes} {
		loops.Go(func() { loop(ctx) })
	}
	s.serveTold()
	d.end = func() { cancel(); s.quitTold(); loops.Wait() }
}

// quit takes a runner out again, tells the others, and, after the last one, ends the
// loops.
func (s *Store) quit(ctx context.Context, r *runner) {
	d := &s.duty
	d.mu.Lock()
	delete(d.runners, r.bot.name)
	d.quitted[r.bot.name] = true
	end := func() {}
	if len(d.runners) == 0 {
		end, d.end = d.end, nil
	}
	d.mu.Unlock()
	end()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.beat(last)
}

// looks looks once a second, until ctx ends. It makes sure of what wake-ups make fast.
func (s *Store) looks(ctx context.Context) {
	looked := 0
	for call.Sleep(ctx, 900*time.Millisecond+s.caller.Jitter(200*time.Millisecond, "look")) {
		runners := s.duty.all()
		var buckets []int
		for _, r := range runners {
			buckets = append(buckets, r.bot.share()...)
		}
		slices.Sort(buckets)
		buckets = slices.Compact(buckets)
		var unrung []bell
		if looked += len(buckets); looked >= len(s.layout.tags) && len(buckets) > 0 {
			looked -= len(s.layout.tags)
			dice := s.caller.Dice("look at what does not ring")
			bot := runners[dice.IntN(len(runners))].bot.name
			at := place{session.Ref{Bot: bot}, buckets[dice.IntN(len(buckets))]}
			unrung = []bell{{[]string{bellDue, bellExpiry}[dice.IntN(2)], at}}
		}
		s.complain(ctx, "look for due sessions failed", s.look(ctx, buckets, unrung...))
	}
}

// look asks buckets which bells ring, and sees to it that somebody does something;
// with more bells as if they rang.
func (s *Store) look(ctx context.Context, buckets []int, more ...bell) error {
	rung, err := s.rung(ctx, buckets)
	var requests []call.Request
	found := map[*mailbox][]place{} // all that one loop gets comes at once, so that it looks once
	for _, bell := range append(rung, more...) {
		r := s.duty.of(bell.at.ref.Bot)
		switch {
		case r != nil && bell.kind == bellExpiry:
			found[&r.expired] = append(found[&r.expired], bell.at)
		case r != nil:
			found[&r.due] = append(found[&r.due], bell.at)
		case bell.kind == bellHanded:
			requests = s.move(requests, bell.at)
		case !s.fleet.serves(bell.at.ref.Bot):
			requests = append(requests, s.request(askLook(bell.at.ref.Bot, bell.kind, 0, putOff), bell.at))
		}
	}
	for box, places := range found {
		box.add(places...)
	}
	if len(requests) > 0 {
		for _, r := range s.caller.Each(ctx, requests) {
			err = cmp.Or(err, r.Err, refusal(r.Reply, session.Ref{}))
		}
	}
	return err
}

// putOff is by how much a bell of a bot that nobody serves is put off.
const putOff = 10 * time.Second

// askLook asks for so many of the sessions in a list of a bot, and for its bell to be
// silent for that long at least.
func askLook(bot, kind string, most int, silent time.Duration) request {
	return ask(lua.Look, []string{"bot", bot, "kind", kind, "most", strconv.Itoa(most), "silent", strconv.FormatInt(silent.Milliseconds(), 10)})
}

// A bell is one that rings: for a list of a bot in a bucket, or for a session that was
// handed out.
type bell struct {
	kind string
	at   place
}

// rung returns the bells that ring in some buckets: those of the servers that reply,
// and why others do not. It has no limit: there are two for each bot, and those of
// sessions whose replicas have died.
func (s *Store) rung(ctx context.Context, buckets []int) (rung []bell, err error) {
	if err := s.usable(); err != nil || len(buckets) == 0 {
		return nil, err
	}
	names := make([]*call.Value[[]string], len(buckets))
	commands := make([]call.Command, len(buckets))
	for i, bucket := range buckets {
		now := strconv.FormatInt(s.caller.Clock.At(bucket, time.Now()), 10)
		names[i] = call.ZRangeByScore(s.layout.key("bells", place{bucket: bucket}), "-inf", now)
		commands[i] = names[i]
	}
	err = s.caller.Do(ctx, commands...)
	for i, bucket := range buckets {
		for _, name := range names[i].Val {
			if kind, bot, id := splitBell(name); kind != "" { // another is found by Check
				rung = append(rung, bell{kind, place{session.Ref{Bot: bot, ID: id}, bucket}})
			}
		}
	}
	return rung, err
}

// atOnce is how many sessions are moved by one call.
const atOnce = 100

// move adds a session to be moved to the requests: to one for the same bot and bucket,
// if that has room.
func (s *Store) move(requests []call.Request, at place) []call.Request {
	key := s.layout.key("due", at)
	for i := range requests {
		if m := &requests[i]; m.Script == lua.Move && slices.Contains(m.Keys, key) && len(m.Args) <= atOnce {
			m.Args = append(m.Args, at.ref.ID)
			return requests
		}
	}
	return append(requests, s.request(ask(lua.Move, []string{"bot", at.ref.Bot}, []string{at.ref.ID}), at))
}

// A mailbox has what a loop of a runner does next, each thing once: sessions, and, as
// places without an id, buckets whose list is to be read.
type mailbox struct {
	mu    sync.Mutex
	next  []place
	has   map[place]bool
	ready chan struct{} // ready has one place, which is taken while there is something
}

func newMailbox() mailbox { return mailbox{has: map[place]bool{}, ready: make(chan struct{}, 1)} }

// mailboxSize is how much a mailbox takes: what is left out is found by a later look.
const mailboxSize = 10_000

func (m *mailbox) add(places ...place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range places {
		if !m.has[at] && len(m.next) < mailboxSize {
			m.has[at] = true
			m.next = append(m.next, at)
		}
	}
	if len(m.next) > 0 {
		select {
		case m.ready <- struct{}{}:
		default:
		}
	}
}

// take waits until there is something, and takes all of it; nothing when ctx ends.
func (m *mailbox) take(ctx context.Context) []place {
	select {
	case <-ctx.Done():
		return nil
	case <-m.ready:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.next
	m.next, m.has = nil, map[place]bool{}
	return next
}

// batch is how many sessions of a bucket one look at a list takes up.
const batch = 32

// passed reads those sessions of a bot that are due, or have expired, in some buckets.
// full are the buckets that may have more of them, unread those that could not be read.
func (b *Bot) passed(ctx context.Context, kind string, buckets []place) (found, full, unread []place, err error) {
	if err := b.store.usable(); err != nil || len(buckets) == 0 {
		return nil, nil, buckets, err
	}
	// In no order, so that one in trouble does not always come before the same others.
	b.store.caller.Dice("buckets").Shuffle(len(buckets), func(i, j int) { buckets[i], buckets[j] = buckets[j], buckets[i] })
	for i, r := range b.store.each(ctx, askLook(b.name, kind, batch, 0), buckets) {
		if e := cmp.Or(r.Err, refusal(r.Reply, session.Ref{Bot: b.name})); e != nil {
			err, unread = cmp.Or(err, e), append(unread, buckets[i])
			continue
		}
		ids := r.Reply.Texts("ids")
		for _, id := range ids {
			found = append(found, place{ref: session.Ref{Bot: b.name, ID: id}, bucket: buckets[i].bucket})
		}
		if len(ids) == batch {
			full = append(full, buckets[i])
		}
	}
	return found, full, unread, err
}

// lists are the places of the bot's lists in some buckets.
func (b *Bot) lists(buckets []int) []place {
	places := make([]place, len(buckets))
	for i, bucket := range buckets {
		places[i] = place{session.Ref{Bot: b.name}, bucket}
	}
	return places
}

// take has a session handled that is due.
func (r *runner) take(at place) {
	if s := r.tryEnter(); s != nil {
		r.spawnClaim(at, s)
		return
	}
	r.due.add(at)
}

// dues takes sessions that are due, until ctx ends: first all that this replica's
// share of the buckets has, and then what rings.
func (r *runner) dues(ctx context.Context) {
	for places := r.bot.lists(r.bot.share()); ctx.Err() == nil; places = r.due.take(ctx) {
		unread, err := r.look(ctx, places)
		r.complain(ctx, "look for due sessions failed", err)
		if len(unread) > 0 {
			r.due.add(unread...)
			call.Sleep(ctx, time.Second)
		}
	}
}

// look takes sessions, and those of the lists that are due. It returns the lists that
// could not be read.
func (r *runner) look(ctx context.Context, places []place) (unread []place, err error) {
	for len(places) > 0 {
		claim := func(sessions []place) bool {
			for _, at := range sessions {
				s := r.enter(ctx)
				if s == nil {
					return false
				}
				r.spawnClaim(at, s)
			}
			return true
		}
		var lists, sessions []place
		for _, at := range places {
			if at.ref.ID == "" {
				lists = append(lists, at)
			} else {
				sessions = append(sessions, at)
			}
		}
		if !claim(sessions) {
			return nil, nil
		}
		found, full, left, e := r.bot.passed(ctx, bellDue, lists)
		err, unread = cmp.Or(err, e), append(unread, left...)
		if !claim(found) || len(full) > 0 && !call.Sleep(ctx, 50*time.Millisecond) { // let those claims leave the list
			return nil, nil
		}
		places = full
	}
	return unread, err
}

// expiries buries what has expired where a bell rings for it, until ctx ends: every ten
// seconds, so that a bucket in which sessions expire all the time is not read each
// second.
func (r *runner) expiries(ctx context.Context) {
	for places := r.expired.take(ctx); ctx.Err() == nil; places = r.expired.take(ctx) {
		unread, err := r.reap(ctx, places)
		r.complain(ctx, "look for expired sessions failed", err)
		r.expired.add(unread...)
		call.Sleep(ctx, 9*time.Second+r.bot.store.caller.Jitter(2*time.Second, "reap "+r.bot.name))
	}
}

// reap buries what has expired in some buckets. It returns those that are still to be
// looked at.
func (r *runner) reap(ctx context.Context, buckets []place) (unread []place, err error) {
	b := r.bot
	for len(buckets) > 0 {
		found, full, left, e := b.passed(ctx, bellExpiry, buckets)
		err, unread = cmp.Or(err, e), append(unread, left...)
		for _, at := range found {
			if ctx.Err() != nil {
				return nil, err
			}
			if _, e := b.store.bury(ctx, at, "expired"); e != nil {
				b.store.about(at.ref).WarnContext(ctx, "expired session not buried", "error", e)
				if !b.postpone(ctx, "expiry", at, time.Hour, e) {
					return append(unread, full...), cmp.Or(err, e)
				}
			}
		}
		buckets = full
	}
	return unread, err
}

// postpone puts off a session that cannot be read, so that it does not stand in
// the way of others in its list. It reports whether err was of that kind.
func (b *Bot) postpone(ctx context.Context, list string, at place, d time.Duration, err error) bool {
	if !unreadable(err) || b.store.usable() != nil {
		return false
	}
	when := float64(b.store.caller.Clock.At(at.bucket, time.Now().Add(d)))
	later := []call.Command{call.ZAddXX(b.store.layout.key(list, at), at.ref.ID, when)}
	if list == "due" {
		later = append(later, call.ZAddXX(b.store.layout.key("bells", at), bellHanded+at.ref.String(), when))
	}
	if err := b.store.caller.Do(ctx, later...); err != nil {
		b.store.about(at.ref).WarnContext(ctx, "unreadable session not postponed", "error", err)
		return false
	}
	return true
}
