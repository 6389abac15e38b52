package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// pageSize is the most that one command reads of an index, and one pipeline of
// sessions.
const pageSize = 200

// A walk goes through an index of a bot, of which every bucket has a part, in one
// order across all parts: by activity the newest first, by name in the order of the
// ids, else by score the least first. It reads a page of each part at a time, so it
// costs no more than its reader takes.
//
// Pages begin behind the last entry and not at a rank, because what is removed
// meanwhile would move others to ranks that were passed already. What is written
// anew meanwhile goes to an index's end of greater scores. A walk that comes from
// there has passed it; so in the end it goes once more, the other way, through what
// was written since it began.
type walk struct {
	bot    *Bot
	index  string // index is the key's name: activity, names, due or dead
	name   string // name is what to look for among the names, as s<state> or u<user>
	newest bool   // newest is whether it goes from the greatest score to the least
	since  int64  // since is when a walk by activity began, ms of the server; zero for others
	parts  []*part
	seed   maphash.Seed
	seen   map[uint64]struct{} // seen holds the hashes of the ids that were handed out; nil where an entry cannot move
	failed int                 // failed counts the parts that could not be read to their end
	single int                 // single counts the sessions that could not be read in other parts
	fault  error               // fault is why the first of them could not
}

// A part is what one bucket has of an index.
type part struct {
	bucket int
	size   int64         // size is how many entries the next page has
	from   string        // from is where the next page begins: a score, or a name
	last   *call.Member  // last is the last entry that was passed; nil at the beginning
	ties   int64         // ties is how many entries with its score the last page had
	read   []call.Member // read holds what was read and not handed out
	ended  bool
	failed bool
}

// A step is a session that a walk came to, and its entry in the index.
type step struct {
	place
	score float64
}

// newWalk returns a walk that begins behind last, or at the beginning if that is nil.
func (b *Bot) newWalk(index, name string, newest bool, last *call.Member) *walk {
	w := &walk{bot: b, index: index, name: name, newest: newest}
	if name == "" {
		w.seen, w.seed = map[uint64]struct{}{}, maphash.MakeSeed()
	}
	from := "-inf"
	switch {
	case name != "" && last != nil:
		from = "(" + name + "\x00" + last.Name
	case name != "":
		from = "[" + name + "\x00"
	case last != nil:
		from = score(last.Score)
	case newest:
		from = "+inf"
	}
	for bucket := range b.store.layout.tags {
		w.parts = append(w.parts, &part{bucket: bucket, size: 4, from: from, last: last})
	}
	return w
}

func score(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// next returns the next sessions, at most so many. None means that the walk has
// ended.
func (w *walk) next(ctx context.Context, most int) (steps []step) {
	for len(steps) < most {
		w.fill(ctx) // what an emptied part has next may be the first of all
		var first *part
		for _, p := range w.parts {
			if len(p.read) > 0 && (first == nil || w.before(p.read[0], first.read[0])) {
				first = p
			}
		}
		switch {
		case first != nil:
			steps = append(steps, step{place{session.Ref{Bot: w.bot.name, ID: first.read[0].Name}, first.bucket}, first.read[0].Score})
			first.read = first.read[1:]
		case len(steps) == 0 && w.newest:
			w.turn()
		default:
			return steps
		}
	}
	return steps
}

// turn makes a walk from the newest on one through what became active since it began.
func (w *walk) turn() {
	w.newest = false
	for i, p := range w.parts {
		w.parts[i] = &part{bucket: p.bucket, size: 4, from: strconv.FormatInt(w.since, 10), ended: p.failed, failed: p.failed}
	}
}

// before reports whether a comes before b.
func (w *walk) before(a, b call.Member) bool {
	if w.newest {
		a, b = b, a
	}
	return a.Score < b.Score || a.Score == b.Score && a.Name < b.Name
}

// fill reads pages until each part has something to hand out, or has ended. When it
// reads, it reads of those too that have little left: all in one pipeline, which the
// client sends to each server once.
func (w *walk) fill(ctx context.Context) {
	for {
		empty := func(p *part) bool { return len(p.read) == 0 && !p.ended }
		if !slices.ContainsFunc(w.parts, empty) {
			return
		}
		var low []*part
		for _, p := range w.parts {
			if !p.ended && int64(len(p.read)) <= p.size/8 {
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
	}
}

// page is the command that reads a part's next page.
func (w *walk) page(p *part) *call.Value[[]call.Member] {
	key := w.bot.store.layout.key(w.index, place{ref: session.Ref{Bot: w.bot.name}, bucket: p.bucket})
	switch n := p.size + p.ties; {
	case w.name != "":
		return call.Named(key, p.from, "("+w.name+"\x01", n)
	case w.newest:
		return call.Downwards(key, p.from, n)
	default:
		return call.Upwards(key, p.from, n)
	}
}

// filled takes a page of a part, and notes where the next one begins.
func (w *walk) filled(p *part, page []call.Member, err error) {
	if err != nil {
		w.fail(p.bucket, err)
		return
	}
	p.ended = int64(len(page)) < p.size+p.ties
	p.size = min(2*p.size, pageSize)
	if len(page) == 0 {
		return
	}
	if w.name != "" {
		for i := range page {
			page[i].Name = page[i].Name[len(w.name)+1:] // the id alone
		}
	}
	passed := p.last
	last := page[len(page)-1]
	if w.name != "" {
		p.from = "(" + w.name + "\x00" + last.Name
	} else {
		p.from, p.ties = score(last.Score), 0
		for _, entry := range slices.Backward(page) {
			if entry.Score != last.Score {
				break
			}
			p.ties++
		}
	}
	if passed == nil || w.before(*passed, last) {
		p.last = &last
	}
	for _, entry := range page {
		if passed != nil && !w.before(*passed, entry) {
			continue // one of the last page, with the score at which this one begins
		}
		if w.seen != nil {
			hash := maphash.String(w.seed, entry.Name)
			if _, seen := w.seen[hash]; seen {
				continue
			}
			w.seen[hash] = struct{}{}
		}
		p.read = append(p.read, entry)
	}
}

// fail ends a part that cannot be read.
func (w *walk) fail(bucket int, err error) {
	p := w.parts[bucket]
	if p.failed {
		return
	}
	p.read, p.ended, p.failed = nil, true, true
	w.failed++
	w.fault = cmp.Or(w.fault, call.NoRight(err))
}

// skip leaves out one session that cannot be read.
func (w *walk) skip(ref session.Ref, err error) {
	w.single++
	w.fault = cmp.Or(w.fault, fmt.Errorf("%s: %w", ref, err))
}

// err says what the walk could not read.
func (w *walk) err() error {
	if w.failed == 0 && w.single > 0 {
		return fmt.Errorf("partial: %d sessions cannot be read: %w", w.single, w.fault)
	}
	return partly(w.failed, len(w.parts), w.fault)
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
