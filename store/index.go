package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// pageSize is the most that one command reads of an index, and one pipeline of
// sessions.
const pageSize = 200

// A walk goes through an index, of which every bucket has a part, a page of each
// part at a time. A session that is active meanwhile moves to the index's new end,
// so a walk that must miss none begins at the old end.
type walk struct {
	bot    *Bot
	name   string // name is what to look for among the names, as s<state> or u<user>; empty means by activity
	newest bool   // newest is whether it goes from the newest to the oldest, across all parts
	parts  []*part
	seen   map[string]bool
	failed int   // failed counts the parts that could not be read to their end
	fault  error // fault is why the first of them could not
}

// A part is what one bucket has of an index.
type part struct {
	bucket int
	size   int64         // size is how many entries the next page has
	from   string        // from is where the next page begins: a score, or a name
	ties   int64         // ties is how many entries with that score are behind us
	read   []call.Member // read holds what was read and not handed out
	ended  bool
}

// walkNewest goes through all sessions, the newest first, for somebody who wants
// about so many.
func (b *Bot) walkNewest(wanted int) *walk {
	buckets := len(b.store.layout.tags)
	w := b.newWalk("+inf", min(2*int64(min(wanted/buckets, pageSize))+8, pageSize))
	w.newest = true
	return w
}

// walkAll goes through all sessions, in no order.
func (b *Bot) walkAll() *walk { return b.newWalk("-inf", pageSize) }

// walkNames goes through the sessions of a state or a user, in no order.
func (b *Bot) walkNames(name string) *walk {
	w := b.newWalk("["+name+"\x00", pageSize)
	w.name = name
	return w
}

func (b *Bot) newWalk(from string, size int64) *walk {
	w := &walk{bot: b, seen: map[string]bool{}}
	for bucket := range b.store.layout.tags {
		w.parts = append(w.parts, &part{bucket: bucket, size: size, from: from})
	}
	return w
}

// next returns the next sessions: at most so many of the newest, or a page of
// each part. None means that the walk has ended.
func (w *walk) next(ctx context.Context, most int) (places []place) {
	if !w.newest {
		w.fill(ctx)
		for _, p := range w.parts {
			for len(p.read) > 0 {
				places = append(places, w.take(p))
			}
		}
		return places
	}
	for len(places) < most {
		w.fill(ctx) // what the emptied part has next may be the newest of all
		var first *part
		for _, p := range w.parts {
			if len(p.read) > 0 && (first == nil || p.read[0].Score > first.read[0].Score) {
				first = p
			}
		}
		if first == nil {
			break
		}
		places = append(places, w.take(first))
	}
	return places
}

func (w *walk) take(p *part) place {
	id := p.read[0].Name
	p.read = p.read[1:]
	return place{session.Ref{Bot: w.bot.name, ID: id}, p.bucket}
}

// fill reads pages until each part has something to hand out, or has ended.
func (w *walk) fill(ctx context.Context) {
	for {
		var empty []*part
		for _, p := range w.parts {
			if len(p.read) == 0 && !p.ended {
				empty = append(empty, p)
			}
		}
		if len(empty) == 0 {
			return
		}
		pages := make([]*call.Value[[]call.Member], len(empty))
		commands := make([]call.Command, len(empty))
		for i, p := range empty {
			pages[i] = w.page(p)
			commands[i] = pages[i]
		}
		_ = w.bot.store.caller.Do(ctx, commands...) // each has its own error
		for i, p := range empty {
			w.filled(p, pages[i].Val, pages[i].Err)
		}
	}
}

// page is the command that reads a part's next page.
func (w *walk) page(p *part) *call.Value[[]call.Member] {
	l, at := w.bot.store.layout, place{ref: session.Ref{Bot: w.bot.name}, bucket: p.bucket}
	switch n := p.size + p.ties; {
	case w.name != "":
		return call.Named(l.key("names", at), p.from, "("+w.name+"\x01", n)
	case w.newest:
		return call.Downwards(l.key("activity", at), p.from, n)
	default:
		return call.Upwards(l.key("activity", at), p.from, n)
	}
}

// filled takes a page of a part, and notes where the next one begins. Pages begin
// at the last score and not at a rank, because what is removed meanwhile would
// move others to ranks that were passed already.
func (w *walk) filled(p *part, page []call.Member, err error) {
	if err != nil {
		w.failed++
		if w.fault == nil {
			w.fault = call.NoRight(err)
		}
		p.ended = true
		return
	}
	p.ended = int64(len(page)) < p.size+p.ties
	if len(page) == 0 {
		return
	}
	last := page[len(page)-1]
	if w.name != "" {
		p.from = "(" + last.Name
	} else {
		p.from, p.ties = strconv.FormatFloat(last.Score, 'f', -1, 64), 0
		for _, entry := range slices.Backward(page) {
			if entry.Score != last.Score {
				break
			}
			p.ties++
		}
	}
	p.size = min(2*p.size, pageSize)
	for _, entry := range page {
		id := entry.Name
		if w.name != "" {
			_, id, _ = strings.Cut(id, "\x00")
		}
		if !w.seen[id] {
			w.seen[id] = true
			p.read = append(p.read, call.Member{Name: id, Score: entry.Score})
		}
	}
}

// err tells what the walk could not read.
func (w *walk) err() error { return partly(w.failed, len(w.parts), w.fault) }

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
