package store

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// pageSize is the most that one command reads of an index, and one pipeline of
// sessions.
const pageSize = 200

// A walk goes through a list of a bot's sessions, of which every bucket has a part, in
// one order across all parts. It reads a page of each part at a time, so it costs no
// more than its reader takes.
//
// Pages begin behind the last entry and not at a rank, because what is removed
// meanwhile would move others to ranks that were passed already. What is written
// anew meanwhile goes to where the scores are greatest. A walk that comes from there
// has passed it; so in the end it looks once more, at all that was written since it
// began.
type walk struct {
	bot   *Bot
	list  string       // list is the key's name: index, users, waits or dead
	user  string       // user is whose sessions to look for in users
	from  int64        // from is the first place to look at in index
	to    int64        // to is the last place to look at in index
	order order        // order is how the entries come
	since int64        // since is when a walk through index began, in ms of the servers
	last  *call.Member // last is the entry behind which the walk begins; nil for at the beginning

	parts  []*part // parts is nil until the first of them is known
	heads  heads   // heads has those parts of which something was read and not handed out
	empty  int     // empty counts the others that have not ended
	seed   maphash.Seed
	seen   map[uint64]struct{} // seen holds the hashes of the ids that were handed out; nil where an entry cannot move
	down   map[int]bool        // down has the buckets that could not be read to their end
	single int                 // single counts the sessions that could not be read in other buckets
	fault  error               // fault is why the first of them could not
}

// An order is how the entries of a walk come.
type order string

const (
	newest order = "newest" // newest: by the minute of the last activity, the latest first
	rest   order = "rest"   // rest: by id, those that were active since the walk began, with which newest ends
	byID   order = "ids"    // byID: by id
	byTime order = "time"   // byTime: by score, the least first
)

// before reports whether a comes before b.
func (o order) before(a, b call.Member) bool {
	if o == newest {
		a, b = b, a
	}
	return a.Score < b.Score || a.Score == b.Score && a.Name < b.Name
}

// A part is what one bucket has of a list; of index, what it has there of one state.
type part struct {
	bucket int
	state  int64         // state is the first place of the state
	size   int64         // size is how many entries the next page has
	from   float64       // from is the score from which on the next page is read
	passed int64         // passed is how many entries from that score on come before the last one that was passed
	last   *call.Member  // last is the last entry that was passed; nil at the beginning
	read   []call.Member // read holds what was read and not handed out
	queued bool          // queued is whether the part is in heads
	ended  bool          // ended is whether all of it was read
}

// heads is a heap of parts by the first entry that was read of each.
type heads struct {
	parts []*part
	order order
}

func (h *heads) Len() int           { return len(h.parts) }
func (h *heads) Less(i, j int) bool { return h.order.before(h.parts[i].read[0], h.parts[j].read[0]) }
func (h *heads) Swap(i, j int)      { h.parts[i], h.parts[j] = h.parts[j], h.parts[i] }
func (h *heads) Push(p any)         { h.parts = append(h.parts, p.(*part)) }
func (h *heads) Pop() any {
	last := len(h.parts) - 1
	p := h.parts[last]
	h.parts = h.parts[:last]
	return p
}

// A step is a session that a walk came to, and its score. In index that is the minute
// of its last activity, counted as in places.
type step struct {
	place
	score float64
}

// firstPage is how many entries the first page of a part has.
const firstPage = 4

// walkTimes returns a walk through waits or dead.
func (b *Bot) walkTimes(list string) *walk {
	w := &walk{bot: b, list: list, order: byTime}
	return w.moving().begin(math.Inf(-1))
}

// bells is the command that reads a bucket's bells: two for each bot, and one for each
// session that was handed out.
func (b *Bot) bells(bucket int) *call.Value[[]call.Member] {
	return call.Ranked(b.store.layout.key("bells", place{bucket: bucket}), 0, -1)
}

// handedOut returns those of a bucket's bells that are of the bot's sessions, with their
// ids and the ends of their leases.
func (b *Bot) handedOut(bells []call.Member) (handed []call.Member) {
	for _, bell := range bells {
		if kind, bot, id := splitBell(bell.Name); kind == bellHanded && bot == b.name {
			handed = append(handed, call.Member{Name: id, Score: bell.Score})
		}
	}
	return handed
}

// walkUser returns a walk through the sessions of a user, which begins behind last.
func (b *Bot) walkUser(user string, last *call.Member) *walk {
	w := &walk{bot: b, list: "users", user: user, order: byID, last: last}
	return w.begin(0)
}

// walkStates returns a walk through the sessions from one place in the index to
// another. It goes on where an earlier one was that had this order, began at since, and
// came to last; or begins, if last is nil.
func (b *Bot) walkStates(from, to int64, order order, since int64, last *call.Member) *walk {
	w := &walk{bot: b, list: "index", from: from, to: to, order: order, since: since, last: last}
	return w.moving()
}

// moving tells the walk that entries move.
func (w *walk) moving() *walk {
	w.seen, w.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	return w
}

// begin makes one part for each bucket, which is read from a score on.
func (w *walk) begin(from float64) *walk {
	w.heads.order = w.order
	for bucket := range w.bot.store.layout.tags {
		w.parts = append(w.parts, &part{bucket: bucket, size: firstPage, from: from, last: w.last})
	}
	w.queue()
	return w
}

// score writes a score as Redis reads it, which knows no "-Inf".
func score(f float64) string { return strings.ToLower(strconv.FormatFloat(f, 'f', -1, 64)) }

// next returns the next sessions, at most so many. None means that the walk has
// ended.
func (w *walk) next(ctx context.Context, most int) (steps []step) {
	if w.parts == nil {
		w.recent(ctx)
	}
	for len(steps) < most {
		w.fill(ctx) // what an emptied part has next may be the first of all
		if w.heads.Len() == 0 {
			if len(steps) > 0 || w.order != newest {
				break
			}
			w.order, w.last = rest, nil
			w.recent(ctx)
			continue
		}
		p := w.heads.parts[0]
		entry := p.read[0]
		if p.read = p.read[1:]; len(p.read) > 0 {
			heap.Fix(&w.heads, 0)
		} else {
			heap.Pop(&w.heads)
			p.queued = false
			if !p.ended {
				w.empty++
			}
		}
		if !w.down[p.bucket] && w.unseen(entry.Name) {
			steps = append(steps, step{place{session.Ref{Bot: w.bot.name, ID: entry.Name}, p.bucket}, entry.Score})
		}
	}
	return steps
}

// unseen reports whether an id was not handed out yet, and notes that it is now.
func (w *walk) unseen(id string) bool {
	if w.seen == nil {
		return true
	}
	hash := maphash.String(w.seed, id)
	_, seen := w.seen[hash]
	w.seen[hash] = struct{}{}
	return !seen
}

// recent makes the parts of a walk through the index, one for each state in each
// bucket, with the first entries of each. At the end of the walk it reads all that were
// active since it began. A session that was not seen until then has moved in the
// meantime, perhaps from state to state: so it is in the list of its bucket, which is
// read in one moment.
func (w *walk) recent(ctx context.Context) {
	w.parts, w.heads = []*part{}, heads{order: w.order}
	since, till, most := int64(0), int64(stored.LastMinute), int64(firstPage)
	switch {
	case w.order == rest:
		since, most = stored.Minute(w.since), -1
	case w.last != nil:
		till = int64(w.last.Score)
	}
	var places []place
	for bucket := range w.bot.store.layout.tags {
		if !w.down[bucket] {
			places = append(places, place{ref: session.Ref{Bot: w.bot.name}, bucket: bucket})
		}
	}
	digits := func(n int64) string { return strconv.FormatInt(n, 10) }
	recent := ask(lua.Recent, []string{"from", digits(w.from), "to", digits(w.to), "since", digits(since), "till", digits(till), "most", digits(most)})
	began := int64(math.MaxInt64)
	for i, r := range w.bot.store.readEach(ctx, recent, places) {
		bucket := places[i].bucket
		if r.Err != nil {
			w.fail(bucket, r.Err)
			continue
		}
		began = min(began, r.Reply.Now())
		states := byState(r.Reply)
		if w.order == rest {
			w.parts = append(w.parts, w.whole(bucket, states))
			continue
		}
		for _, of := range states {
			p := &part{bucket: bucket, state: of.first, size: firstPage, from: float64(till), last: w.last}
			w.parts = append(w.parts, p)
			w.take(p, of.entries, most)
		}
	}
	if w.order == newest && w.last == nil {
		w.since = began
	}
	w.queue()
}

// entriesOf are entries of the index of one state, by their minutes.
type entriesOf struct {
	first   int64 // first is the first place of the state
	entries []call.Member
}

// byState takes apart what the script recent lists.
func byState(recent reply) (all []entriesOf) {
	for row := range recent.Rows("found") {
		at, _ := strconv.ParseFloat(row.Text("place"), 64)
		first, minute := stored.PlaceParts(int64(at))
		if len(all) == 0 || all[len(all)-1].first != first {
			all = append(all, entriesOf{first: first})
		}
		of := &all[len(all)-1]
		of.entries = append(of.entries, call.Member{Name: row.Text("id"), Score: float64(minute)})
	}
	return all
}

// whole returns a part of which all is read: what is behind the last one, by id.
func (w *walk) whole(bucket int, states []entriesOf) *part {
	p := &part{bucket: bucket, ended: true}
	for _, of := range states {
		for _, entry := range of.entries {
			if w.last == nil || entry.Name > w.last.Name {
				p.read = append(p.read, call.Member{Name: entry.Name})
			}
		}
	}
	slices.SortFunc(p.read, func(a, b call.Member) int { return cmp.Compare(a.Name, b.Name) })
	return p
}

// queue puts the parts of which something was read into heads, and counts the others
// that have not ended.
func (w *walk) queue() {
	w.empty = 0
	for _, p := range w.parts {
		switch {
		case p.queued:
		case len(p.read) > 0:
			p.queued = true
			heap.Push(&w.heads, p)
		case !p.ended:
			w.empty++
		}
	}
}

// fill reads pages until each part has something to hand out, or has ended. When it
// reads, it reads of those too that have little left: all in one pipeline, which the
// client sends to each server once.
func (w *walk) fill(ctx context.Context) {
	for w.empty > 0 {
		var low []*part
		for _, p := range w.parts {
			if !p.ended && int64(len(p.read)) <= p.size/4 {
				low = append(low, p)
			}
		}
		pages := make([]*call.Value[[]call.Member], len(low))
		commands := make([]call.Command, len(low))
		for i, p := range low {
			pages[i] = w.page(p)
			commands[i] = pages[i]
		}
		_ = w.bot.store.read(ctx, commands...) // each has its own error
		for i, p := range low {
			w.filled(p, pages[i].Val, pages[i].Err)
		}
		w.queue()
	}
}

// page is the command that reads a part's next page. It begins with the last entry that
// was passed, if there is one.
func (w *walk) page(p *part) *call.Value[[]call.Member] {
	key, n := w.bot.store.layout.key(w.list, place{ref: session.Ref{Bot: w.bot.name}, bucket: p.bucket}), p.size+1
	switch w.order {
	case byID:
		from := "[" + w.user + "\x00"
		if p.last != nil {
			from += p.last.Name
		}
		return call.Named(key, from, "("+w.user+"\x01", n)
	case newest:
		return call.Downwards(key, score(float64(p.state)+p.from), score(float64(p.state)), p.passed, n)
	default:
		return call.Upwards(key, score(p.from), p.passed, n)
	}
}

// filled takes a page of a part.
func (w *walk) filled(p *part, page []call.Member, err error) {
	if err != nil {
		w.fail(p.bucket, err)
	}
	if w.down[p.bucket] {
		return
	}
	for i, entry := range page {
		switch w.order {
		case byID:
			page[i].Name = entry.Name[len(w.user)+1:] // the id alone
		case newest:
			_, minute := stored.PlaceParts(int64(entry.Score))
			page[i].Score = float64(minute)
		}
	}
	if p.passed > 0 && (len(page) == 0 || w.order.before(*p.last, page[0])) {
		p.passed /= 2 // some of those are gone, and what followed may have come in their places
		return
	}
	w.take(p, page, p.size+1)
	p.size = min(2*p.size, pageSize)
}

// take takes what was read of a part, of at most so many entries, and notes where the
// next page begins.
func (w *walk) take(p *part, page []call.Member, most int64) {
	p.ended = int64(len(page)) < most
	if len(page) == 0 {
		return
	}
	passed, end := p.last, page[len(page)-1]
	same := len(page) - 1 - slices.IndexFunc(page, func(entry call.Member) bool { return entry.Score == end.Score })
	if same == len(page)-1 && end.Score == p.from {
		p.passed += int64(same)
	} else {
		p.from, p.passed = end.Score, int64(same)
	}
	if w.order == byID { // whose pages begin at a name
		p.passed = 0
	}
	if passed == nil || w.order.before(*passed, end) {
		p.last = &end
	}
	for _, entry := range page {
		if passed == nil || w.order.before(*passed, entry) {
			p.read = append(p.read, entry)
		}
	}
}

// fail ends a bucket that cannot be read.
func (w *walk) fail(bucket int, err error) {
	if w.down[bucket] {
		return
	}
	if w.down == nil {
		w.down = map[int]bool{}
	}
	w.down[bucket] = true
	w.fault = cmp.Or(w.fault, call.NoRight(err))
	for _, p := range w.parts {
		p.ended = p.ended || p.bucket == bucket
	}
}

// skip leaves out one session that cannot be read.
func (w *walk) skip(ref session.Ref, err error) {
	w.single++
	w.fault = cmp.Or(w.fault, fmt.Errorf("%s: %w", ref, err))
}

// err says what the walk could not read.
func (w *walk) err() error {
	if len(w.down) == 0 && w.single > 0 {
		return fmt.Errorf("partial: %d sessions cannot be read: %w", w.single, w.fault)
	}
	return partly(len(w.down), len(w.bot.store.layout.tags), w.fault)
}

// partly says how much of the index could not be read, and why the first part
// could not: what comes with it is of the other buckets.
func partly(failed, all int, why error) error {
	switch failed {
	case 0:
		return nil
	case all:
		return why
	}
	return fmt.Errorf("partial: %d of %d buckets cannot be read: %w", failed, all, why)
}
