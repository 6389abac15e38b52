package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

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

// publish publishes a record soon, with others that go to the same channel.
func (s *Store) publish(channel string, record []byte) {
	t := &s.told
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.outBytes += len(record); t.outBytes > mostOut { // the server does not take them: they are found by looking
		t.outBytes -= len(record)
		return
	}
	if t.out == nil {
		t.out = map[string][]byte{}
	}
	t.out[channel] = appendText(t.out[channel], string(record))
	if !t.sending {
		t.sending = true
		go s.publishAll()
	}
}

// publishAll publishes what there is, and goes on until nothing more has come.
func (s *Store) publishAll() {
	t := &s.told
	for {
		t.mu.Lock()
		out := t.out
		t.out, t.outBytes = nil, 0
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
