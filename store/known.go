package store

import (
	"container/list"
	"sync"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// At most so many records, and bytes of them, are known.
const (
	mostKnown      = 20_000
	mostKnownBytes = 32 << 20
)

// known has the records of sessions as this process left them, free. accept is told of
// one, and sends the session's hash only if that is another by now. A record comes
// back when a turn on it was committed by commit, or its replies were noted by the
// first lines of sent; whatever else becomes of it, it is forgotten.
type known struct {
	mu    sync.Mutex
	id    string // id is that of the stored data.
	at    map[session.Ref]*list.Element
	order list.List // order has them by when they came, the oldest first.
	bytes int
}

// take returns the record of a session, and forgets it.
func (k *known) take(id string, ref session.Ref) *stored.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.id != id {
		return nil
	}
	e := k.at[ref]
	if e == nil {
		return nil
	}
	return k.drop(e)
}

// forget drops the record of a session that was handed out: what was kept of it meanwhile,
// by a turn whose replies were noted late, is an old one.
func (k *known) forget(ref session.Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.at[ref]; e != nil {
		k.drop(e)
	}
}

func (k *known) drop(e *list.Element) *stored.Record {
	r := k.order.Remove(e).(*stored.Record)
	delete(k.at, r.Ref())
	k.bytes -= r.Size()
	return r
}

// keep notes the record of a free session. The stored data has that id.
func (k *known) keep(id string, r *stored.Record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.id != id || k.at == nil {
		k.id, k.at, k.bytes = id, map[session.Ref]*list.Element{}, 0
		k.order.Init()
	}
	if e := k.at[r.Ref()]; e != nil {
		k.drop(e)
	}
	k.at[r.Ref()] = k.order.PushBack(r)
	k.bytes += r.Size()
	for k.order.Len() > mostKnown || k.bytes > mostKnownBytes {
		k.drop(k.order.Front())
	}
}
