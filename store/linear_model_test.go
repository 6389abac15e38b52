package store_test

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/botsession/botsession/session"
)

// This is what one session is, if only one thing happens at a time. The store is
// linearizable if each history of concurrent calls could have been one of these.

// An act is what a client asks for. What it does not use is zero.
type act struct {
	verb     string
	key      int    // of the data
	text     string // the value set, the text recorded, or the event's: "e7 move s2"
	from, to string // states
	on       bool   // the flag is raised, the chat is kept, what waits is shown
	event    int    // its number in the session's history
}

// A result is what the client was told. The acts of which it was told that they
// were certainly not done are not in the history.
type result struct {
	what    string // done, or one of those below
	yes     bool   // created, existed
	version int64
	events  int64  // dropped by a destroy
	said    string // the turn's reply; what an Update recorded last; the chat; the state found; an event's outcome
	chat    chat   // of said, where it is the chat
	snap    mind   // of a load: without what a snapshot does not show
}

const (
	done       = "done"
	notFound   = "not found"
	wrongState = "wrong state"
	duplicate  = "duplicate"
	unknown    = "unknown outcome" // done between the call and its return, or never
)

// A mind is a session as the model knows it. Two are the same if they are equal.
type mind struct {
	exists       bool
	life, newest int64 // zero: not seen yet; the greatest that was seen
	version, seq int64
	state        string
	n            int // which only turns and Updates write, and always add one to
	data         [3]string
	up           [2]bool
	chat         chat
	inbox        string // the texts that wait, each with a line's end

	seen, handled, dropped, dead, letters uint64 // a bit for each event
}

// A chat is a digest of its texts: the checker compares and copies a great many.
type chat uint64

func (c chat) and(text string) chat { // FNV-1a
	for i := range len(text) {
		c = (c ^ chat(text[i])) * 1099511628211
	}
	return (c ^ '\n') * 1099511628211
}

// all adds texts, each with a line's end.
func (c chat) all(texts string) chat {
	for text := range strings.Lines(texts) {
		c = c.and(strings.TrimSuffix(text, "\n"))
	}
	return c
}

var (
	keyNames  = [...]string{"a", "b", "c"}
	flagNames = [...]string{session.FlagIntent, "vip"} // a move lowers the first, as does a turn's end
)

var hashSeed = maphash.MakeSeed()

var sequential = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{mind{}} },
	Step: func(state, input, output any) []any {
		s, a, r := state.(mind), input.(act), output.(result)
		if r.what != unknown {
			if after, ok := s.after(a, r, false); ok {
				return []any{after}
			}
			return nil
		}
		r.what = done
		if after, ok := s.after(a, r, true); ok && after != s {
			return []any{s, after}
		}
		return []any{s}
	},
	Hash:              func(state any) uint64 { return maphash.Comparable(hashSeed, state.(mind)) },
	DescribeOperation: func(in, out any) string { return describeAct(in.(act), out.(result)) },
}).ToModel()

// after returns what an act makes of the session, and whether it could have had
// this result; blind, whether it could have been done at all.
func (s mind) after(a act, r result, blind bool) (mind, bool) {
	bit := uint64(1) << a.event
	switch r.what {
	case notFound:
		return s, !s.exists
	case wrongState:
		return s, s.exists && s.state == r.said && s.state != a.from
	case duplicate:
		return s, s.seen&bit != 0
	}
	switch a.verb {
	case "create":
		if s.exists {
			return s, blind || !r.yes
		}
		return s.born(), blind || r.yes
	case "accept":
		made := !s.exists
		if made {
			s = s.born()
		}
		ok := s.seen&bit == 0 && (blind || r.yes == made)
		s.seen |= bit
		s.inbox += a.text + "\n"
		return s, ok
	case "outcome":
		return s, map[string]bool{"handled": s.handled&bit != 0, "dropped": s.dropped&bit != 0, "dead": s.dead&bit != 0, "none": s.seen&bit == 0}[r.said]
	case "discard": // also when the session is gone
		ok := s.letters&bit != 0
		s.letters &^= bit
		return s, ok
	}
	if !s.exists {
		return s, false
	}
	switch a.verb {
	case "load":
		life := r.snap.life
		if s.life == 0 && life > s.newest {
			s.life, s.newest = life, life
		}
		see := mind{life: s.life, version: s.version, seq: s.seq, state: s.state, n: s.n, data: s.data, up: s.up}
		return s, see == r.snap
	case "history":
		see := s.chat
		if a.on {
			see = see.all(s.inbox)
		}
		return s, see == r.chat
	case "destroy":
		ok := blind || int(r.events) == strings.Count(s.inbox, "\n")
		s.dropped |= s.seen &^ s.handled &^ s.dead
		s.exists, s.inbox = false, ""
		return s, ok
	}
	if a.verb == "retry" || a.verb == "unlock" {
		return s, true
	}
	s.version++
	ok := true
	switch a.verb {
	case "skip":
		if !strings.HasPrefix(s.inbox, a.text+"\n") || s.handled&bit != 0 {
			return s, false
		}
		s.inbox = s.inbox[len(a.text)+1:]
		s.dead |= bit
		s.letters |= bit
		s = s.say(a.text)
	case "set":
		s.data[a.key] = a.text
	case "delete":
		ok = blind || r.yes == (s.data[a.key] != "")
		s.data[a.key] = ""
	case "flag":
		s.up[a.key%2] = a.on
	case "record":
		s = s.say(a.text)
	case "move":
		ok = s.state == a.from
		s = s.move(a.to)
	case "apply":
		s.data[a.key] = a.text
		s = s.move(a.to).say(a.text)
		ok = blind || r.version == s.version
	case "reset":
		s = s.reset(a.on)
	case "update":
		text := s.line(a.text)
		s.n++
		if a.to != "" {
			s = s.move(a.to)
		}
		s = s.say(text)
		ok = r.said == text
	case "turn":
		ok = strings.HasPrefix(s.inbox, a.text+"\n") && s.handled&bit == 0
		if !ok {
			return s, false
		}
		id, plan, arg := planOf(a.text)
		text := s.line("re " + id)
		s.inbox = s.inbox[len(a.text)+1:]
		s.handled |= bit
		switch plan {
		case "move":
			s = s.move(arg)
		case "set":
			s.data[0] = id
		case "reset":
			s = s.reset(arg == "keep")
		}
		s.n++
		s.up[0] = false
		s = s.say(a.text).say(text)
		ok = r.said == "" || r.said == text
	default:
		panic("the model knows no " + a.verb)
	}
	return s, ok
}

// planOf reads an event's text: its id, what the turn does, and with what.
func planOf(text string) (id, plan, arg string) {
	id, rest, _ := strings.Cut(text, " ")
	plan, arg, _ = strings.Cut(rest, " ")
	return id, plan, arg
}

// line is what a turn or an Update records: what it has read.
func (s mind) line(who string) string { return lineOf(who, s.n, s.state) }

func lineOf(who string, n int, state string) string {
	return who + " n=" + strconv.Itoa(n) + " in " + state
}

func (s mind) born() mind {
	return mind{exists: true, newest: s.newest, version: 1, state: "s0", inbox: s.inbox, seen: s.seen, handled: s.handled, dropped: s.dropped, dead: s.dead, letters: s.letters}
}

func (s mind) reset(keep bool) mind {
	if !keep {
		s.chat = 0
	}
	s.state, s.n, s.data, s.up, s.life = "s0", 0, [3]string{}, [2]bool{}, 0
	return s
}

func (s mind) move(to string) mind {
	s.state, s.up[0] = to, false
	return s
}

func (s mind) say(text string) mind {
	s.chat, s.seq = s.chat.and(text), s.seq+1
	return s
}

func describeAct(a act, r result) string {
	text := fmt.Sprintf("%-8s", a.verb)
	for _, part := range []string{a.text, a.from, a.to} {
		if part != "" {
			text += fmt.Sprintf(" %q", part)
		}
	}
	switch a.verb {
	case "set", "delete", "apply":
		text += " key " + keyNames[a.key]
	case "flag":
		text += fmt.Sprint(" ", flagNames[a.key%2], " ", a.on)
	case "reset", "history":
		text += fmt.Sprint(" ", a.on)
	case "accept", "outcome", "turn", "skip", "retry", "discard":
		text += fmt.Sprint(" event ", a.event)
	}
	text += " -> " + r.what
	switch a.verb {
	case "create", "delete", "accept":
		text += fmt.Sprint(" ", r.yes)
	case "destroy":
		text += fmt.Sprint(" ", r.events)
	case "apply":
		text += fmt.Sprint(" version ", r.version)
	case "load":
		s := r.snap
		text += fmt.Sprintf(" life %d version %d seq %d %s n=%d %q %v", s.life, s.version, s.seq, s.state, s.n, s.data, s.up)
	}
	if r.said != "" {
		text += fmt.Sprintf(" %q", r.said)
	}
	return text
}

// transcript prints a history, one act a line, in the order of the calls.
func transcript(history []porcupine.Operation) string {
	var text strings.Builder
	for _, o := range history {
		fmt.Fprintf(&text, "%9.3f to %9.3f ms  client %d  %s\n", float64(o.Call)/1e6, float64(o.Return)/1e6, o.ClientId, describeAct(o.Input.(act), o.Output.(result)))
	}
	return text.String()
}

// checkLimit is how long one history may take. That it takes longer is a failure.
const checkLimit = time.Minute

func verdict(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(sequential, history, checkLimit)
}
