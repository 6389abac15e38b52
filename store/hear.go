package store

import (
	"context"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
)

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
	sub, err := s.caller.Subscribe(ctx, all, own)
	if err != nil {
		if ctx.Err() == nil {
			s.complainOfTelling(err)
		}
		pause := time.Second
		if call.FromServer(err) && !call.Passing(err) {
			pause = time.Minute
		}
		if _, ends := t.goesOn(); ends {
			return false
		}
		return call.Sleep(ctx, pause)
	}
	defer sub.Close()
	timer := time.NewTimer(t.every)
	defer timer.Stop()
	handle := func(m call.Heard) {
		if m.Begins && m.Channel == own { // the other one does with it
			t.again()
			if t.serves() {
				_ = s.say(ctx, all, "?")
			}
			timer.Reset(0)
		}
		for record := range records(m.Text) {
			if m.Channel == own {
				s.hearEnding(record)
			} else if s.hearOfAll(record) {
				timer.Reset(t.soonest())
			}
		}
	}
	handle(sub.First())
	for {
		select {
		case <-ctx.Done():
			return false
		case <-of.replaced:
			return true
		case m, ok := <-sub.C:
			if !ok {
				return call.Sleep(ctx, time.Second) // the client is closed
			}
			handle(sub.Read(m))
		case <-announce:
			timer.Reset(t.soonest())
		case <-timer.C:
			waits, ends := t.goesOn()
			if ends {
				return false
			}
			timer.Reset(t.every)
			if began := time.Now(); waits && s.say(ctx, all, "w"+s.tag) == nil {
				t.announced(began)
			}
		}
	}
}

// say publishes one record now.
func (s *Store) say(ctx context.Context, channel, record string) error {
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := s.caller.Do(limited, call.Publish(channel, string(appendText(nil, record))))
	if ctx.Err() == nil {
		s.complainOfTelling(err)
	}
	return err
}

// hearEnding hears how an event ended.
func (s *Store) hearEnding(record string) {
	if what, e, ok := readEnding(record); ok {
		s.told.deliver(what, e, true)
	}
}

// hearOfAll hears what is told to all, and reports whether it is asked who waits.
func (s *Store) hearOfAll(record string) (asked bool) {
	switch kind, rest := record[:min(1, len(record))], record[min(1, len(record)):]; kind {
	case "?":
		return rest == ""
	case "w":
		if len(rest) == ids.TagSize && rest != s.tag {
			s.told.remember(rest)
		}
	case "o":
		bot, id, _ := strings.Cut(rest, "/")
		s.told.dropped(session.Ref{Bot: bot, ID: id})
	}
	return false
}

// goesOn reports whether somebody has waited lately, so that it is said again, and else
// whether the loop ends.
func (t *told) goesOn() (waits, ends bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.asked) < announceMore {
		return true, false
	}
	return false, t.endsHearing()
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
	t.since, t.kept, t.order, t.bytes = time.Time{}, nil, nil, 0
	t.count()
	for _, waiters := range t.waiters {
		for _, w := range waiters {
			w.stir()
		}
	}
}
