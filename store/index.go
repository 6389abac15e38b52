package store

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// pageSize is the most that is read at once of a bucket's list, and of the sessions in
// one pipeline.
const pageSize = 200

// firstPage is how many entries the first page of a part has.
const firstPage = 4

// A walk goes through a list of a bot's sessions, of which every bucket has a part, in
// one order across all parts. It reads a page of each part at a time, so it costs no
// more than its reader takes.
//
// A page begins behind an entry and not at a rank, because what is removed meanwhile
// would move others to ranks that were passed already. All of a page is read in one
// moment, of all states: so no session is always where the walk is not.
//
// An entry that moves, moves to where the scores are greater. A walk upwards comes to it
// there, perhaps for a second time. A walk downwards has passed that place: so in the
// end it goes upwards through all that were active since it began.
type walk struct {
	bot   *Bot
	order order
	user  string  // user is whose sessions to look for in users
	from  int64   // from is the first place to look at in index
	to    int64   // to is the last place to look at in index
	least float64 // least is the least score to look at
	most  float64 // most is the greatest score to look at
	since int64   // since is when the walk began, in ms of the servers; 0 before its first page

	parts  []*part
	heads  heads        // heads has those parts of which something was read and not handed out
	empty  int          // empty counts the others that have not ended
	seen   seen         // seen has what was handed out and may come again
	down   map[int]bool // down has the buckets that could not be read to their end
	single int          // single counts the sessions that could not be read in other buckets
	fault  error        // fault is why the first of them could not
}

// An order is which list a walk goes through, and how its entries come.
type order string

const (
	newest  order = "newest" // newest: of index, by the minute of the last activity, the latest first
	rest    order = "rest"   // rest: of index, those that were active since the walk began, the latest last; with it newest ends
	idlest  order = "idle"   // idlest: of index, by the minute of the last activity, the latest last
	byID    order = "users"  // byID: the sessions of one user, by id
	byWait  order = "waits"  // byWait: what waits, by since when, the longest wait first
	letters order = "dead"   // letters: those with dead letters, by the time of the last one, the latest last
	inHand  order = "held"   // inHand: those with work that is not due, by when they are looked at, the latest last
)

// list is what the script page calls the list.
func (o order) list() string {
	switch o {
	case newest, rest, idlest:
		return "index"
	}
	return string(o)
}

// compare is negative if a comes before b.
func (o order) compare(a, b call.Member) int {
	if o == newest {
		a, b = b, a
	}
	return cmp.Or(cmp.Compare(a.Score, b.Score), strings.Compare(a.Name, b.Name))
}

// A part is what one bucket has of a list.
type part struct {
	bucket int
	size   int           // size is how many entries the next page has, more or less
	at     call.Member   // at is behind what the next page begins: an entry, or what comes before the first
	read   []call.Member // read holds what was read and not handed out
	queued bool          // queued is whether the part is in heads
	ended  bool          // ended is whether all of it was read
}

// heads is a heap of parts by the first entry that was read of each.
type heads struct {
	parts []*part
	order order
}

func (h *heads) Len() int { return len(h.parts) }
func (h *heads) Less(i, j int) bool {
	return h.order.compare(h.parts[i].read[0], h.parts[j].read[0]) < 0
}
func (h *heads) Swap(i, j int) { h.parts[i], h.parts[j] = h.parts[j], h.parts[i] }
func (h *heads) Push(p any)    { h.parts = append(h.parts, p.(*part)) }
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

// walk returns a walk through a list of the bot, which begin begins.
func (b *Bot) walk(order order) *walk {
	w := &walk{bot: b, order: order, to: stored.LastPlace, most: stored.LastPlace}
	if order.list() == "index" {
		w.most = stored.LastMinute
	}
	return w
}

// states has the walk look only at the places from one to another.
func (w *walk) states(from, to int64) *walk {
	w.from, w.to = from, to
	return w
}

// begin makes one part for each bucket, which is read behind last, or from the beginning
// if that is nil.
func (w *walk) begin(last *call.Member) *walk {
	w.parts, w.heads = nil, heads{order: w.order}
	for bucket := range w.bot.store.layout.tags {
		p := &part{bucket: bucket, size: firstPage, at: call.Member{Score: w.least}} // no id is empty
		switch {
		case last != nil:
			p.at = *last
		case w.order == newest:
			p.at.Score = w.most + 1
		case w.order == letters:
			p.at.Score = float64(w.bot.store.caller.Clock.At(bucket, time.Now().Add(-deadLife)))
		case w.order == inHand: // a lease ends later than now
			p.at.Score = float64(w.bot.store.caller.Clock.At(bucket, time.Now().Add(-time.Second)))
		}
		if !w.down[bucket] {
			w.parts = append(w.parts, p)
		}
	}
	w.empty = len(w.parts)
	return w
}

// next returns the next sessions, at most so many. None means that the walk has
// ended.
func (w *walk) next(ctx context.Context, most int) (steps []step) {
	for len(steps) < most {
		w.fill(ctx) // what an emptied part has next may be the first of all
		if w.heads.Len() == 0 {
			if len(steps) > 0 || w.order != newest {
				break
			}
			w.order, w.least = rest, max(w.least, float64(stored.Minute(w.since)))
			w.begin(nil)
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
	switch {
	case w.order == byID, w.order == idlest && w.most < float64(stored.Minute(w.since)):
		return true // these do not move, or out of the list
	case w.order == newest: // what moves is passed, but rest comes to it
	case w.seen.has(id):
		return false
	}
	w.seen.add(id)
	return true
}

// fill reads pages until each part has something to hand out, or has ended. When it
// reads, it reads of those too that have little left: all in one pipeline, which the
// client sends to each server once.
func (w *walk) fill(ctx context.Context) {
	for w.empty > 0 {
		var low []*part
		var pages []call.Request
		for _, p := range w.parts {
			if !p.ended && len(p.read) <= p.size/4 {
				low, pages = append(low, p), append(pages, w.page(p))
			}
		}
		first := w.since == 0
		for i, page := range w.bot.store.readEach(ctx, pages) {
			if page.Err != nil {
				w.fail(low[i].bucket, page.Err)
				continue
			}
			// A turn may say of itself that it ended up to a second earlier than it did: see at in
			// lua/commit.lua. What then comes twice was seen.
			if now := page.Reply.Now() - 1000; first && (w.since == 0 || now < w.since) {
				w.since = now
			}
			w.take(low[i], page.Reply)
		}
		w.queue()
	}
}

// page asks for the next page of a part.
func (w *walk) page(p *part) call.Request {
	way, till := "up", w.most
	if w.order == newest {
		way, till = "down", w.least
	}
	at := place{ref: session.Ref{Bot: w.bot.name}, bucket: p.bucket}
	return w.bot.store.request(ask(lua.Page, []string{
		"bot", w.bot.name, "list", w.order.list(), "way", way, "from", strconv.FormatInt(w.from, 10), "to", strconv.FormatInt(w.to, 10),
		"user", w.user, "score", score(p.at.Score), "id", p.at.Name, "till", score(till), "most", strconv.Itoa(p.size),
	}), at)
}

// score writes a score as Redis reads it, which knows no "-Inf".
func score(f float64) string { return strings.ToLower(strconv.FormatFloat(f, 'f', -1, 64)) }

// take takes a page of a part. Of several runs it takes what comes before that one's end
// of which there is more and which ends first: behind it some may be missing.
func (w *walk) take(p *part, page reply) {
	var entries []call.Member
	for row := range page.Rows("found") {
		entry := call.Member{Name: row.Text("id")}
		entry.Score, _ = strconv.ParseFloat(row.Text("score"), 64)
		if w.order.list() == "index" {
			_, minute := stored.PlaceParts(int64(entry.Score))
			entry.Score = float64(minute)
		}
		entries = append(entries, entry)
	}
	var till call.Member
	more, end := false, 0
	for _, length := range page.List("lengths") {
		n, _ := length.(int64)
		end += int(n)
		if n < page.Int("each") {
			continue
		}
		if last := entries[end-1]; !more || w.order.compare(last, till) < 0 {
			till, more = last, true
		}
	}
	had := len(p.read)
	for _, entry := range entries {
		if w.order.compare(p.at, entry) < 0 && (!more || w.order.compare(entry, till) <= 0) {
			p.read = append(p.read, entry)
		}
	}
	slices.SortFunc(p.read[had:], w.order.compare)
	p.at, p.ended = till, !more
	p.size = min(2*p.size, max(firstPage, min(pageSize, readAhead/len(w.bot.store.layout.tags))))
	if more && len(p.read) == had {
		w.fail(p.bucket, errors.New("a list has entries with a score that no script writes"))
	}
}

// readAhead is how many entries a walk holds, more or less, however many buckets there
// are.
const readAhead = 16384

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
	return w.bot.store.partly(len(w.down), w.fault)
}

// partly says in how many buckets the index could not be read, and why in the first
// of them: what comes with it is of the others.
func (s *Store) partly(failed int, why error) error {
	why = s.caller.Blame(why)
	switch all := len(s.layout.tags); failed {
	case 0:
		return nil
	case all:
		return why
	default:
		return fmt.Errorf("partial: %d of %d buckets cannot be read: %w", failed, all, why)
	}
}
