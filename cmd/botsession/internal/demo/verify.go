package demo

import (
	"fmt"
	"maps"
	"slices"

	"github.com/botsession/botsession/session"
)

// initialState is the state in which the demo's sessions begin.
const initialState = "start"

// A result is what the comparison of sessions with their dialogues found. The
// zero result is what the demo promises.
type result struct {
	mismatched int // sessions whose chat, state, data, intent or message differ from the dialogue's
	lost       int // messages that a chat lacks, and replies that the platform never received
	duplicated int // entries of chats and of received replies that the dialogue does not have, or has less often
	outOfOrder int // entries that are there, but not where they belong

	differences []difference // the first maxDifferences
}

// A difference is one place where a session is not what its dialogue says.
type difference struct {
	dialogue  string
	where     string
	want, got string
}

// maxDifferences is how many differences are kept to be shown.
const maxDifferences = 10

func (r result) clean() bool {
	return r.mismatched == 0 && r.lost == 0 && r.duplicated == 0 && r.outOfOrder == 0
}

func (r *result) add(other result) {
	r.mismatched += other.mismatched
	r.lost += other.lost
	r.duplicated += other.duplicated
	r.outOfOrder += other.outOfOrder
	r.differences = append(r.differences, other.differences...)
	if len(r.differences) > maxDifferences {
		r.differences = r.differences[:maxDifferences]
	}
}

func (r *result) count(a alignment) {
	r.lost += len(a.lost)
	r.duplicated += len(a.extra)
	r.outOfOrder += len(a.moved)
}

// verify compares one session with its dialogue: the chat from the first message
// to the last, what the session holds, and the replies that the platform received,
// in the order in which the first copy of each came.
func verify(d Dialogue, snap session.Snapshot, history []session.Message, received []string) result {
	v := verifier{want: expect(d), dialogue: d.id}
	v.chat(history)
	v.replies(received)
	v.snapshot(snap)
	return v.found
}

// missing is the result of a dialogue whose session is not there, or cannot be
// read: all of it is lost but the replies that were received.
func missing(d Dialogue, received []string, err error) result {
	r := verify(d, session.Snapshot{}, nil, received)
	r.mismatched = 1
	r.differences = []difference{{dialogue: d.id, where: "session", want: "a session", got: err.Error()}}
	return r
}

// A verifier collects what one session has otherwise than its dialogue.
type verifier struct {
	want     expected
	dialogue string
	found    result
}

func (v *verifier) differ(where, want, got string) {
	v.found.differences = append(v.found.differences, difference{v.dialogue, where, want, got})
}

func (v *verifier) chat(history []session.Message) {
	chat := make([]line, len(history))
	for i, m := range history {
		chat[i] = line{from: m.From, text: m.String()}
		if m.Type != session.Text {
			chat[i].text = fmt.Sprintf("(%s) %s", m.Type, m)
		}
	}
	a := align(v.want.chat, chat)
	if a.equal() {
		return
	}
	v.found.mismatched = 1
	v.found.count(a)
	for _, i := range a.lost {
		v.differ(fmt.Sprintf("chat, message %d", i+1), v.want.chat[i].String(), "not there")
	}
	for _, i := range a.moved {
		v.differ(fmt.Sprintf("chat, message %d", i+1), "not here", chat[i].String()+", out of order")
	}
	for _, i := range a.extra {
		v.differ(fmt.Sprintf("chat, message %d", i+1), "nothing", chat[i].String())
	}
}

func (v *verifier) replies(received []string) {
	replies := make([]line, len(received))
	for i, text := range received {
		replies[i] = line{from: session.FromBot, text: text}
	}
	a := align(v.want.replies, replies)
	v.found.count(a)
	for _, i := range a.lost {
		v.differ(fmt.Sprintf("reply %d", i+1), v.want.replies[i].text, "never received")
	}
	for _, i := range a.moved {
		v.differ(fmt.Sprintf("reply %d as received", i+1), "another", replies[i].text+", out of order")
	}
	for _, i := range a.extra {
		v.differ(fmt.Sprintf("reply %d as received", i+1), "nothing", replies[i].text)
	}
}

func (v *verifier) snapshot(snap session.Snapshot) {
	before := len(v.found.differences)
	if snap.State != v.want.state {
		v.differ("state", v.want.state, snap.State)
	}
	if snap.Message != v.want.message {
		v.differ("last message", v.want.message, snap.Message)
	}
	intent := ""
	if snap.Intent != nil {
		intent = snap.Intent.Name
	}
	if intent != v.want.intent {
		v.differ("intent", v.want.intent, intent)
	}
	for _, name := range slices.Sorted(maps.Keys(v.want.data)) {
		got, found := snap.Data[name]
		switch {
		case !found:
			v.differ("data "+name, v.want.data[name], "not there")
		case got != v.want.data[name]:
			v.differ("data "+name, v.want.data[name], fmt.Sprint(got))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(snap.Data)) {
		if _, wanted := v.want.data[name]; !wanted {
			v.differ("data "+name, "nothing", fmt.Sprint(snap.Data[name]))
		}
	}
	if len(v.found.differences) > before {
		v.found.mismatched = 1
	}
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
