package store

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// auditPage is how many acts are read at once of a bucket.
const auditPage = 50

// Audit is a loop over what was done by hand to the bot and its sessions (see [As]),
// the latest first. Of each bucket, so of all its bots together, the server keeps the
// last thousand acts. For its errors see Lists in the package comment.
func (b *Bot) Audit(ctx context.Context) iter.Seq2[session.Act, error] {
	return func(yield func(session.Act, error) bool) {
		if err := b.store.usable(); err != nil {
			yield(session.Act{}, fmt.Errorf("audit: %w", err))
			return
		}
		failed, why := 0, error(nil)
		var logs audited
		next := make([]*auditLog, len(b.store.layout.tags))
		for bucket := range next {
			next[bucket] = &auditLog{bucket: bucket}
		}
		for {
			n, err := b.readLogs(ctx, next)
			if failed += n; why == nil {
				why = err
			}
			for _, l := range next {
				if len(l.acts) > 0 {
					heap.Push(&logs, l)
				}
			}
			if len(logs) == 0 {
				break
			}
			l := logs[0]
			act := l.acts[0]
			l.acts = l.acts[1:]
			if next = next[:0]; len(l.acts) > 0 {
				heap.Fix(&logs, 0)
			} else {
				heap.Pop(&logs)
				next = append(next, l)
			}
			if act.err == nil && act.act.Ref.Bot != b.name {
				continue
			}
			if act.err != nil {
				act.err = fmt.Errorf("audit of %s: %w", b.name, act.err)
			}
			if !yield(act.act, act.err) {
				return
			}
		}
		if err := b.store.partly(failed, why); err != nil {
			yield(session.Act{}, fmt.Errorf("audit of %s: %w", b.name, call.NoRight(err)))
		}
	}
}

// An auditLog is what was read of a bucket's list log.
type auditLog struct {
	bucket int
	read   int       // read is how many elements were read
	last   time.Time // last is when the last of them was done: the list grows at its front
	acts   []readAct // acts are those that were not handed out yet
	ended  bool
}

type readAct struct {
	act session.Act
	err error
}

// readLogs reads a page of each log that has not ended. It returns how many could not be
// read, and why the first could not.
func (b *Bot) readLogs(ctx context.Context, logs []*auditLog) (failed int, why error) {
	for len(logs) > 0 {
		var more []*auditLog
		var pages []*call.Value[[]string]
		var commands []call.Command
		for _, l := range logs {
			if l.ended {
				continue
			}
			more = append(more, l)
			pages = append(pages, call.LRange(b.store.layout.key("log", place{bucket: l.bucket}), int64(l.read), int64(l.read+auditPage-1)))
			commands = append(commands, pages[len(pages)-1])
		}
		if len(more) == 0 {
			return failed, why
		}
		_ = b.store.read(ctx, commands...) // each has its own error
		logs = logs[:0:0]
		for i, l := range more {
			switch {
			case call.WrongType(pages[i].Err):
				l.ended = true
				l.acts = []readAct{{err: &session.CorruptError{Field: b.store.layout.key("log", place{bucket: l.bucket}), Reason: pages[i].Err}}}
				continue
			case pages[i].Err != nil:
				l.ended = true
				if failed++; why == nil {
					why = pages[i].Err
				}
				continue
			}
			for _, element := range pages[i].Val {
				act, err := stored.DecodeAct([]byte(element))
				if err != nil {
					err = &session.CorruptError{Field: b.store.layout.key("log", place{bucket: l.bucket}), Reason: err}
				} else if !l.last.IsZero() && !act.Time.Before(l.last) {
					continue // it has moved on, and was handed out
				} else {
					l.last = act.Time
				}
				l.acts = append(l.acts, readAct{act, err})
			}
			l.read += len(pages[i].Val)
			l.ended = len(pages[i].Val) < auditPage
			if len(l.acts) == 0 {
				logs = append(logs, l)
			}
		}
	}
	return failed, why
}

// audited is a heap of logs by their next act, the latest first.
type audited []*auditLog

func (a audited) Len() int { return len(a) }
func (a audited) Less(i, j int) bool {
	return cmp.Or(a[j].acts[0].act.Time.Compare(a[i].acts[0].act.Time), cmp.Compare(a[i].bucket, a[j].bucket)) < 0
}
func (a audited) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *audited) Push(l any)   { *a = append(*a, l.(*auditLog)) }
func (a *audited) Pop() any {
	last := len(*a) - 1
	l := (*a)[last]
	*a = (*a)[:last]
	return l
}
