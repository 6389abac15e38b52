package demo

import (
	"fmt"
	"maps"
	"slices"

	"github.com/botsession/botsession/session"
)

// initialState is where the demo's sessions begin.
const initialState = "start"

// A result is what the comparison of sessions with their dialogues found. The
// zero result is what the demo promises.
type result struct {
	Mismatched int // sessions whose chat, state, data, intent or message differ from the dialogue's
	Lost       int // messages that a chat lacks, and replies that the platform never received
	Duplicated int // entries of chats and of received replies that the dialogue does not have, or has less often
	OutOfOrder int // entries that are there, but not where they belong

	Differences []difference // the first ones only
}

// A difference is one place where a session is not what its dialogue says.
type difference struct {
	Dialogue  string
	Where     string
	Want, Got string
}

// maxDifferences is how many differences are kept to be shown.
const maxDifferences = 10

func (r result) clean() bool {
	return r.Mismatched == 0 && r.Lost == 0 && r.Duplicated == 0 && r.OutOfOrder == 0
}

func (r *result) add(other result) {
	r.Mismatched += other.Mismatched
	r.Lost += other.Lost
	r.Duplicated += other.Duplicated
	r.OutOfOrder += other.OutOfOrder
	r.Differences = append(r.Differences, other.Differences...)
	if len(r.Differences) > maxDifferences {
		r.Differences = r.Differences[:maxDifferences]
	}
}

// verify compares one session with its dialogue: what it holds, its chat from
// the first message to the last, and the replies that the platform received for
// it, in the order in which the first copy of each came.
func verify(d Dialogue, snap session.Snapshot, history []session.Message, received []string) result {
	var r result
	want := expect(d)
	differ := func(where, want, got string) {
		r.Differences = append(r.Differences, difference{Dialogue: d.id, Where: where, Want: want, Got: got})
	}

	chat := make([]line, len(history))
	for i, m := range history {
		chat[i] = line{from: m.From, text: m.String()}
		if m.Type != session.Text {
			chat[i].text = fmt.Sprintf("(%s) %s", m.Type, m)
		}
	}
	if d := align(want.chat, chat); !d.equal() {
		r.Mismatched = 1
		r.count(d)
		for _, i := range d.lost {
			differ(fmt.Sprintf("chat, message %d", i+1), want.chat[i].String(), "not there")
		}
		for _, i := range d.moved {
			differ(fmt.Sprintf("chat, message %d", i+1), "not here", chat[i].String()+", out of order")
		}
		for _, i := range d.extra {
			differ(fmt.Sprintf("chat, message %d", i+1), "nothing", chat[i].String())
		}
	}

	replies := make([]line, len(received))
	for i, text := range received {
		replies[i] = line{from: session.FromBot, text: text}
	}
	if d := align(want.replies, replies); !d.equal() {
		r.count(d)
		for _, i := range d.lost {
			differ(fmt.Sprintf("reply %d", i+1), want.replies[i].text, "never received")
		}
		for _, i := range d.moved {
			differ(fmt.Sprintf("reply %d as received", i+1), "another", replies[i].text+", out of order")
		}
		for _, i := range d.extra {
			differ(fmt.Sprintf("reply %d as received", i+1), "nothing", replies[i].text)
		}
	}

	held := len(r.Differences)
	if snap.State != want.state {
		differ("state", want.state, snap.State)
	}
	if snap.Message != want.message {
		differ("last message", want.message, snap.Message)
	}
	intent := ""
	if snap.Intent != nil {
		intent = snap.Intent.Name
	}
	if intent != want.intent {
		differ("intent", want.intent, intent)
	}
	for _, name := range slices.Sorted(maps.Keys(want.data)) {
		got, found := snap.Data[name]
		switch {
		case !found:
			differ("data "+name, want.data[name], "not there")
		case got != want.data[name]:
			differ("data "+name, want.data[name], fmt.Sprint(got))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Data)) {
		if _, wanted := want.data[name]; !wanted {
			differ("data "+name, "nothing", fmt.Sprint(snap.Data[name]))
		}
	}
	if len(r.Differences) > held {
		r.Mismatched = 1
	}
	return r
}

// missing is the result for a dialogue that has no session, or one that cannot
// be read: all of it is lost but the replies that were received.
func missing(d Dialogue, received []string, err error) result {
	r := verify(d, session.Snapshot{}, nil, received)
	r.Mismatched = 1
	r.Differences = []difference{{Dialogue: d.id, Where: "session", Want: "a session", Got: err.Error()}}
	return r
}

func (r *result) count(a alignment) {
	r.Lost += len(a.lost)
	r.Duplicated += len(a.extra)
	r.OutOfOrder += len(a.moved)
}

// expected is what a session must hold when its dialogue is over.
type expected struct {
	state, intent, message string
	data                   map[string]string
	chat, replies          []line
}

func expect(d Dialogue) expected {
	e := expected{state: initialState}
	for _, x := range d.exchanges {
		if x.Intent != "" {
			e.state, e.intent = x.Intent, x.Intent
		}
		e.data, e.message = x.Slots, x.Text
		if x.Text != "" {
			e.chat = append(e.chat, line{session.FromUser, x.Text})
		}
		if x.Reply != "" {
			e.chat = append(e.chat, line{session.FromBot, x.Reply})
			e.replies = append(e.replies, line{session.FromBot, x.Reply})
		}
	}
	return e
}

// A line is one message of a chat as far as it is compared.
type line struct {
	from session.Author
	text string
}

func (l line) String() string { return fmt.Sprintf("%s: %s", l.from, l.text) }

// An alignment says how what was got differs from what was wanted.
type alignment struct {
	lost  []int // positions in want that got lacks
	moved []int // positions in got of lines that want has elsewhere
	extra []int // positions in got of lines that want does not have, or not so often
}

func (a alignment) equal() bool { return len(a.lost)+len(a.moved)+len(a.extra) == 0 }

// align compares two chats. The longest common subsequence is in order; of the
// rest, a line that both have is out of order, and what is left over is lost on
// the one side and extra on the other.
func align(want, got []line) alignment {
	begin := 0
	for begin < len(want) && begin < len(got) && want[begin] == got[begin] {
		begin++
	}
	end := 0
	for end < len(want)-begin && end < len(got)-begin && want[len(want)-1-end] == got[len(got)-1-end] {
		end++
	}
	w, g := want[begin:len(want)-end], got[begin:len(got)-end]

	// common[i][j] is the length of the longest subsequence of w[i:] and g[j:].
	common := make([][]int, len(w)+1)
	for i := range common {
		common[i] = make([]int, len(g)+1)
	}
	for i := len(w) - 1; i >= 0; i-- {
		for j := len(g) - 1; j >= 0; j-- {
			if w[i] == g[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var a alignment
	unmatched := map[line][]int{} // positions in want, by line
	var left []int                // positions in got
	for i, j := 0, 0; i < len(w) || j < len(g); {
		switch {
		case i < len(w) && j < len(g) && w[i] == g[j]:
			i, j = i+1, j+1
		case j == len(g) || i < len(w) && common[i+1][j] >= common[i][j+1]:
			unmatched[w[i]] = append(unmatched[w[i]], begin+i)
			i++
		default:
			left = append(left, begin+j)
			j++
		}
	}
	for _, j := range left {
		if places := unmatched[got[j]]; len(places) > 0 {
			unmatched[got[j]] = places[1:]
			a.moved = append(a.moved, j)
		} else {
			a.extra = append(a.extra, j)
		}
	}
	for _, places := range unmatched {
		a.lost = append(a.lost, places...)
	}
	slices.Sort(a.lost)
	return a
}
