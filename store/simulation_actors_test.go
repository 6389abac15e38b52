package store_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// talk has a user say things, one after the other. Each is delivered until it
// is accepted, often to several replicas at once and again later. Sometimes the
// platform gives up: then what was not accepted by then never is.
func (s *simulation) talk(u *customer) {
	dice := s.dice("talk", u.id)
	times, pause := 1+dice.IntN(4), 500*time.Millisecond
	if s.brisk {
		times, pause = 8+dice.IntN(8), 300*time.Millisecond
	}
	usual := 1 + dice.IntN(4) // the replica to which a brisk user's events come
	for n := range times {
		s.sleep(dur(dice.Int64N, pause))
		id, began := fmt.Sprintf("%s/%d", u.id, n), time.Now()
		for try := 0; ; try++ {
			pick, copies := dice.IntN(100), 1+dice.IntN(5)/3
			if s.brisk && dice.IntN(4) > 0 {
				pick, copies = usual, 1
			}
			accepted, first := s.post(u, id, pick, copies)
			if try == 0 && accepted && first != 1 && !s.shaken(span{began, time.Now()}) {
				s.find("%s: %d deliveries of %s were the first one", u.id, first, id)
			}
			if !accepted && dice.IntN(2) == 0 {
				ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
				_, err := s.eye.Receipt(u.id, id).Wait(ctx)
				cancel()
				s.note("%s gives up on %s: %v", u.id, id, errors.Is(err, session.ErrNotFound))
				if errors.Is(err, session.ErrNotFound) {
					s.mu.Lock()
					s.stats.givenUp++
					s.mu.Unlock()
					break
				}
				accepted = true
			}
			if accepted {
				u.events, u.when[id] = append(u.events, id), span{began, time.Now()}
				break
			}
			s.sleep(dur(dice.Int64N, 300*time.Millisecond))
		}
		if len(u.events) > 0 && dice.IntN(4) == 0 {
			again, pick, wait := u.events[dice.IntN(len(u.events))], dice.IntN(100), dur(dice.Int64N, time.Second)
			s.late.Go(func() {
				s.sleep(wait)
				s.post(u, again, pick, 1)
			})
		}
	}
}

// post delivers an event to n replicas at once. It reports whether one of them
// accepted it and how many said that it was no duplicate; where one failed, 1.
func (s *simulation) post(u *customer, id string, pick, n int) (accepted bool, first int) {
	receipts := make([]*store.Receipt, n)
	var posts sync.WaitGroup
	for i := range n {
		r := s.any(pick + i)
		bot := r.bot
		if pick%5 == 0 {
			bot = r.front
		}
		posts.Go(func() {
			var err error
			receipts[i], err = bot.Accept(s.ctx, u.id, session.Event{ID: id, Text: id, Platform: "simulation", User: u.id})
			if errors.Is(err, session.ErrTooLarge) {
				s.mu.Lock()
				s.stats.refused++
				s.mu.Unlock()
			}
			s.note("%s accepts %s: %t", r.name, id, err == nil)
		})
	}
	posts.Wait()
	for _, r := range receipts {
		accepted = accepted || r != nil
		if r != nil && !r.Duplicate {
			first++
		}
	}
	if slices.Contains(receipts, nil) {
		first = 1 // perhaps the one that failed
	}
	return accepted, first
}

// takeLetter redelivers or discards the first dead letter of an event.
func (u *customer) takeLetter(ctx context.Context, sess *store.Session, discard bool) error {
	letters, err := sess.DeadLetters(ctx)
	for _, l := range letters {
		if l.Event == nil {
			continue
		}
		if u.letters == nil {
			u.letters = map[string]bool{}
		}
		if u.letters[l.Event.ID] = u.letters[l.Event.ID] || discard; discard {
			return sess.Discard(ctx, l.Time)
		}
		_, err = sess.Redeliver(ctx, l.Time)
		return err
	}
	return err
}

// operate changes a user's session from outside of its turns.
func (s *simulation) operate(u *customer) {
	dice := s.dice("operate", u.id)
	for n := range dice.IntN(6) {
		s.sleep(dur(dice.Int64N, 700*time.Millisecond))
		bot := s.any(dice.IntN(100)).bot
		sess := bot.Session(u.id)
		var err error
		switch kind := dice.IntN(13); kind {
		case 8, 9:
			head := store.Head{Event: fmt.Sprintf("%s/%d", u.id, dice.IntN(4))}
			if err = sess.Retry(s.ctx, head, store.Retrial{Take: n%2 == 0, Reset: n%3 == 0}); kind == 9 {
				err = sess.Skip(s.ctx, head)
			}
		case 11, 12:
			err = u.takeLetter(s.ctx, sess, kind == 12)
		case 10:
			var st session.Status
			if st, err = sess.Status(s.ctx); err == nil {
				err = sess.Unlock(s.ctx, st.Lease.Token)
			}
		case 0, 1:
			err = sess.Set(s.ctx, fmt.Sprint("key", kind), n)
		case 2:
			if err = sess.Move(s.ctx, session.Transition{From: "start", To: "moved"}); errors.Is(err, session.ErrWrongState) {
				err = sess.Move(s.ctx, session.Transition{From: "moved", To: "start"})
			}
		case 3:
			err = sess.Reply(s.ctx, fmt.Sprint("operator ", n))
		case 4:
			u.resets = true
			err = sess.Reset(s.ctx, session.KeepChat)
		default:
			began := time.Now()
			ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
			_, err = bot.Update(ctx, u.id, func(_ context.Context, t *store.Turn) error {
				v, _ := simUpdates.Get(t)
				simUpdates.Set(t, v+1)
				return nil
			})
			cancel()
			switch {
			case err == nil:
				u.updates = append(u.updates, span{began, time.Now()})
				u.perhaps++
			case errors.Is(err, session.ErrUnknownOutcome):
				u.perhaps++
			}
		}
		s.note("operator of %s: %v", u.id, err)
	}
}

const (
	simUpdates = store.Key[int]("updates")
	simTurns   = store.Key[int]("turns")
	simTrail   = store.Key[uint32]("trail")
)

// trail is what a turn on an event leaves of the turns before it and of itself: no two
// sessions have the same unless they had the same turns.
func trail(before uint32, event string) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, before, event)
	return h.Sum32()
}

var errSimulated = errors.New("simulated")

// nilError panics when a nil one is asked for its text.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// handler takes its time, fails often, and replies once or twice.
func (s *simulation) handler(r *replica) store.Handler {
	return func(ctx context.Context, t *store.Turn) error {
		id := t.Event().ID
		s.mu.Lock()
		s.runs[id]++
		run := s.runs[id]
		s.stats.runs++
		s.mu.Unlock()
		dice := s.dice("handle", id, run)
		s.note("%s handles %s, attempt %d", r.name, id, t.Attempt())
		defer s.note("%s has handled %s", r.name, id)
		if st, err := s.eye.Session(t.Ref().ID).Status(s.ctx); err == nil && s.undoes().from.IsZero() && st.Lease.Work == session.WorkEvent && st.Event.At.After(st.Now) {
			s.find("%s handles %s before its back-off is over: %+v", r.name, id, st)
		}
		var takes time.Duration
		faults, kinds := 30, dice.IntN(8)
		if s.brisk {
			faults, kinds = 200, dice.IntN(80)/20
		}
		switch kinds {
		case 0, 1, 2:
		case 3, 4, 5:
			takes = dur(dice.Int64N, simLease/2)
		default:
			takes = dur(dice.Int64N, 3*simLease)
		}
		patient := dice.IntN(2) == 0
		if takes > 0 {
			timer := time.NewTimer(time.Until(s.own(time.Now().Add(takes))))
			defer timer.Stop()
			if patient {
				<-timer.C
			} else {
				select {
				case <-timer.C:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		if s.dice("provider down", id).IntN(40) == 0 { // until the event is a dead letter
			return store.Later(errSimulated)
		}
		switch dice.IntN(faults) {
		case 10:
			return store.Later(errSimulated)
		case 25: // deaf to its context, for longer than MaxTurn
			s.sleep(4*time.Second + dur(dice.Int64N, time.Second))
		case 26:
			runtime.Goexit()
		case 27:
			var e *nilError
			return e
		case 0, 1:
			return errSimulated
		case 2:
			return store.RetryAfter(dur(dice.Int64N, simLease), errSimulated)
		case 3:
			return store.GiveUp(errSimulated)
		case 4:
			panic(errSimulated)
		case 7: // a call from within the turn that would wait for it, or begin it again
			if _, err := r.bot.Session(t.Ref().ID).Destroy(ctx); !errors.Is(err, session.ErrInTurn) {
				s.find("%s: a handler destroys its own session: %v", id, err)
			}
		case 8:
			err := r.bot.Session(t.Ref().ID).Set(ctx, "live", run)
			s.note("%s sets beside its turn: %t", id, err == nil)
		case 9: // not seen to be from within: the commit finds another state, and is tried again
			if t.State() == "start" {
				err := r.bot.Session(t.Ref().ID).Move(s.ctx, session.Transition{From: "start", To: "moved"})
				s.note("%s moves beside its turn: %t", id, err == nil)
				t.Move("moved")
			}
		case 5, 6:
			if t.State() == "start" {
				t.Move("moved")
			} else {
				t.Move("start")
			}
		}
		n, _ := simTurns.Get(t)
		simTurns.Set(t, n+1)
		before, _ := simTrail.Get(t)
		simTrail.Set(t, trail(before, id))
		t.Reply("re " + id)
		more := dice.IntN(3) / 2
		if dice.IntN(40) == 0 { // around what is sent before it is noted
			more = []int{98, 99, 100, 349}[dice.IntN(4)]
		}
		for i := range more {
			t.Reply(fmt.Sprintf("more on %s, %d", id, i))
		}
		return nil
	}
}

// send is the platform.
func (s *simulation) send(_ context.Context, d store.Delivery) error {
	s.mu.Lock()
	s.tries[d.Key+d.Ref.ID]++
	try, i := s.tries[d.Key+d.Ref.ID], len(s.sends)
	s.sends = append(s.sends, sending{user: d.Ref.ID, key: d.Key, text: d.Message.String(), seq: d.Message.Seq})
	s.stats.sends++
	s.mu.Unlock()
	s.note("send %s to %s", d.Message, d.Ref.ID)
	dice := s.dice("send", d.Ref.ID, d.Key, try)
	takes, faults := simLease/4, 20
	if s.brisk {
		takes, faults = simLease/40, 200
	}
	s.sleep(time.Millisecond + dur(dice.Int64N, takes))
	switch dice.IntN(faults) {
	case 0, 1:
		return errSimulated
	case 2:
		panic(errSimulated)
	case 3:
		s.sleep(dur(dice.Int64N, 3*simLease))
	case 4:
		return store.RetryAfter(dur(dice.Int64N, 2*simLease), errSimulated)
	case 6:
		return store.Later(errSimulated)
	case 5:
		if try == 1 && dice.IntN(4) == 0 {
			runtime.Goexit()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends[i].ok = true
	return nil
}
