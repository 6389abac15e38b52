package storetest

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/botsession/botsession/store"
)

// A Recorder is a [store.Carrier] that keeps what it is told, for tests. The zero
// Recorder is ready for use.
type Recorder struct {
	mu    sync.Mutex
	spans uint64
	ended []Recorded
}

// A Recorded is a stage that has ended.
type Recorded struct {
	store.Stage
	store.Result
	Span [25]byte // Span is the stage's own trace context: what events and replies take along from it.
}

type spanKey struct{}

// Begin begins a span of the trace that ctx is in, or else of that which the stage
// goes on with, or else of a new one.
func (r *Recorder) Begin(ctx context.Context, s store.Stage) context.Context {
	span := r.Trace(ctx)
	if span == [25]byte{} {
		span = s.Trace
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans++
	if span == [25]byte{} {
		binary.BigEndian.PutUint64(span[:], r.spans)
	}
	binary.BigEndian.PutUint64(span[16:], r.spans)
	return context.WithValue(ctx, spanKey{}, span)
}

// End keeps the stage.
func (r *Recorder) End(ctx context.Context, s store.Stage, result store.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, Recorded{s, result, r.Trace(ctx)})
}

// Trace returns the span that ctx is in, or zeros.
func (r *Recorder) Trace(ctx context.Context) [25]byte {
	span, _ := ctx.Value(spanKey{}).([25]byte)
	return span
}

// Ended returns the stages of some kinds that have ended so far, in that order.
func (r *Recorder) Ended(kinds ...store.StageKind) []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.ended), func(s Recorded) bool { return !slices.Contains(kinds, s.Kind) })
}
