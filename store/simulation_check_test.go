package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// settle waits until nothing is left to do.
func (s *simulation) settle() {
	for limit := time.Now().Add(simQuiet); ; time.Sleep(300 * time.Millisecond) {
		busy := ""
		for _, u := range s.users {
			st, err := s.eye.Session(u.id).Status(s.ctx)
			if err != nil {
				s.find("%s: %v", u.id, err)
				return
			}
			if st.Waiting+st.Unsent > 0 || st.Lease.Work != "" && st.Lease.Held(st.Now) {
				busy = fmt.Sprintf("%+v", st)
			}
		}
		if busy == "" {
			return
		}
		if time.Now().After(limit) {
			s.find("not quiet after %v: %s", simQuiet, busy)
			return
		}
	}
}

// check compares every user's session with what happened.
func (s *simulation) check() {
	if err := s.eyes.Whole(s.ctx); err != nil {
		s.find("%v", err)
	}
	for _, u := range s.users {
		s.checkUser(u)
	}
}

func (s *simulation) checkUser(u *customer) {
	sess := s.eye.Session(u.id)
	chat, err := sess.History(s.ctx, session.All())
	if err != nil {
		s.find("%s: %v", u.id, err)
		return
	}
	letters, err := sess.DeadLetters(s.ctx)
	if err != nil {
		s.find("%s: %v", u.id, err)
	}
	dead := map[string]int{} // events by id, replies by text
	for _, letter := range letters {
		if letter.Event != nil {
			dead[letter.Event.ID]++
		} else {
			dead[letter.Reply.String()]++
		}
	}

	// The chat: each event once, in order, and right behind it its replies, if it
	// was handled. An operator may speak between two turns.
	var said, replies []string
	handled, last, left := map[string]int{}, "", uint32(0)
	for i, m := range chat {
		if m.Seq != int64(i+1) {
			s.find("%s: message %d has the number %d", u.id, i+1, m.Seq)
		}
		if m.From == session.FromUser {
			said, last = append(said, m.String()), m.String()
			continue
		}
		replies = append(replies, m.String())
		if id, is := strings.CutPrefix(m.String(), "re "); is && id != last {
			if _, taken := u.letters[id]; taken { // redelivered, it is handled behind others
				last = id
			}
		}
		switch text := m.String(); {
		case text == "re "+last:
			handled[last]++
			left = trail(left, last)
		case !strings.HasPrefix(text, "more on "+last+", ") && !strings.HasPrefix(text, "operator "):
			s.find("%s: the reply %q comes after %q", u.id, text, last)
		}
	}
	certain := s.certain(u)
	forgotten := func(id string) bool { return !slices.Contains(certain, id) }
	if s.undoes().from.IsZero() && !slices.Equal(said, u.events) || !slices.Equal(slices.DeleteFunc(slices.Clone(said), forgotten), certain) {
		s.find("%s: the chat has the events %v, accepted were %v, for certain %v", u.id, said, u.events, certain)
	}
	for _, id := range u.events {
		if n := handled[id] + dead[id]; n > 1 || n < 1 && !forgotten(id) && !u.letters[id] {
			s.find("%s: event %s was handled %d times, and is %d dead letters", u.id, id, handled[id], dead[id])
		} else if n == 0 {
			s.stats.forgotten++
			continue
		}
		outcome, err := s.eye.Receipt(u.id, id).Wait(s.ctx)
		want := session.Handled
		_, taken := u.letters[id]
		if dead[id] > 0 || taken {
			want = session.Dead
		}
		if err != nil || outcome.Status != want && !(taken && !s.undoes().from.IsZero()) {
			s.find("%s: the outcome of event %s is %v (%v), want %s", u.id, id, outcome, err, want)
		}
	}
	s.stats.dead += len(letters)
	s.checkData(u, len(handled), left)
	s.checkSent(u, replies, dead)
}

// checkData compares what turns and Updates left.
func (s *simulation) checkData(u *customer, handled int, left uint32) {
	if u.resets {
		return
	}
	n, _, err := simTurns.Load(s.ctx, s.eye.Session(u.id))
	if err != nil || n != handled {
		s.find("%s: %d turns left their mark (%v), want %d", u.id, n, err, handled)
	}
	n, _, err = simUpdates.Load(s.ctx, s.eye.Session(u.id))
	if found, _, err := simTrail.Load(s.ctx, s.eye.Session(u.id)); err != nil || found != left {
		s.find("%s: a turn found another state than the turns before it had left (%v)", u.id, err)
	}
	least := len(slices.DeleteFunc(slices.Clone(u.updates), s.shaken))
	if err != nil || n < least || n > u.perhaps {
		s.find("%s: %d Updates left their mark (%v), want %d to %d", u.id, n, err, least, u.perhaps)
	}
}

// checkSent compares what the platform got with the chat.
func (s *simulation) checkSent(u *customer, replies []string, dead map[string]int) {
	sent, keys, most := map[string]bool{}, map[string]string{}, map[string]int64{}
	undone := !s.undoes().from.IsZero() // then turns may be made again, and what they say is said again
	for _, d := range s.sends {
		if d.user != u.id {
			continue
		}
		// In order within a life: a live Reset drops what is unsent, but who has it in
		// hand sends it until his next renewal, perhaps behind the next life's first.
		life, _, _ := strings.Cut(d.key, ":")
		if key, again := keys[d.text]; again && key != d.key && !undone {
			s.find("%s: %q was sent under two keys, %s and %s", u.id, d.text, key, d.key)
		} else if !again && d.seq <= most[life] && !undone {
			s.find("%s: %q, number %d, was first sent after number %d", u.id, d.text, d.seq, most[life])
		}
		keys[d.text], most[life] = d.key, max(most[life], d.seq)
		sent[d.text] = sent[d.text] || d.ok
		if !slices.Contains(replies, d.text) && !undone {
			s.find("%s: %q was sent and is not in the chat", u.id, d.text)
		}
	}
	for _, text := range replies {
		if !sent[text] && dead[text] == 0 && !u.resets {
			s.find("%s: %q was not sent", u.id, text)
		}
	}
}

// checkEmpty destroys the sessions, and looks at what is left: at first what
// layout.go says outlives a session, in the end nothing of any session.
func (s *simulation) checkEmpty() {
	for _, u := range s.users {
		if st, err := s.eye.Session(u.id).Status(s.ctx); err != nil || st.Lease.Held(st.Now) {
			s.find("%s: after all replicas have ended: %+v, %v", u.id, st, err)
		}
		if _, err := s.eye.Session(u.id).Destroy(s.ctx); err != nil {
			s.find("%s: %v", u.id, err)
		}
	}
	if err := s.eyes.Whole(s.ctx); err != nil {
		s.find("after the destroys: %v", err)
	}
	s.left("after the destroys", "events", "calls", "letters", "dead", "moves", "replicas", "bells", "log")
	time.Sleep(9 * 24 * time.Hour) // the ids are forgotten, and so are the calls
	s.left("after nine days", "letters", "dead", "moves", "bells", "log")
	time.Sleep(22 * 24 * time.Hour) // the letters' life
	s.left("after a month", "dead", "moves", "bells", "log")
}

// left reports keys of other names than these.
func (s *simulation) left(when string, names ...string) {
	s.tick()
	for _, key := range s.server.Keys() {
		if key != "bs:meta" && !slices.Contains(append(names, "settings"), store.KeyName(key)) {
			s.find("%s the key %q is left", when, key)
		}
	}
}

// A simTally counts what happened, to show that the seeds reach what they should.
type simTally struct {
	mu                                                   sync.Mutex
	seeds, events, runs, sends, crashes, shutdowns, dead int
	givenUp, refused, lines, undone, forgotten, withheld int
}

func (t *simTally) add(s *simulation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seeds++
	for _, u := range s.users {
		t.events += len(u.events)
	}
	t.runs, t.sends, t.crashes, t.shutdowns = t.runs+s.stats.runs, t.sends+s.stats.sends, t.crashes+s.stats.crashes, t.shutdowns+s.stats.shutdowns
	t.dead, t.givenUp, t.refused, t.lines = t.dead+s.stats.dead, t.givenUp+s.stats.givenUp, t.refused+s.stats.refused, t.lines+len(s.log)
	t.undone, t.forgotten, t.withheld = t.undone+s.stats.undone, t.forgotten+s.stats.forgotten, t.withheld+int(s.withheld.Load())
}

func (t *simTally) log(to *testing.T) {
	to.Logf("%d seeds: %d events (%d given up, %d times too large for whom they came to), %d runs of the handler, %d hand-outs without a hash, %d sends, %d dead letters, %d crashes, %d shutdowns, %d fail-overs and %d events that they lost; %d lines of log",
		t.seeds, t.events, t.givenUp, t.refused, t.runs, t.withheld, t.sends, t.dead, t.crashes, t.shutdowns, t.undone, t.forgotten, t.lines)
}
