package demo

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/session"
)

// truth is a session that is exactly what its dialogue says.
func truth() (Dialogue, session.Snapshot, []session.Message, []string) {
	d := Dialogue{id: "d1", exchanges: []exchange{
		{Text: "hi", Reply: "hello"},
		{Text: "a pizza", Intent: "order", Slots: map[string]string{"dish": "pizza"}, Reply: "which size?"},
		{Text: "large", Intent: "order", Slots: map[string]string{"dish": "pizza", "size": "large"}, Reply: "ok"},
		{Text: "bye", Slots: map[string]string{"size": "large"}, Reply: "ok"},
	}}
	snap := session.Snapshot{
		State: "order", Message: "bye", Intent: &session.Intent{Name: "order"},
		Data: map[string]any{"size": "large"},
	}
	var chat []session.Message
	for _, x := range d.exchanges {
		chat = append(chat,
			session.Message{From: session.FromUser, Type: session.Text, Content: x.Text},
			session.Message{From: session.FromBot, Type: session.Text, Content: x.Reply})
	}
	return d, snap, chat, []string{"hello", "which size?", "ok", "ok"}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	type given struct {
		snap     *session.Snapshot
		chat     []session.Message
		received []string
	}
	tests := []struct {
		name   string
		doctor func(g *given)
		want   result // without the differences
	}{
		{"the truth is clean", func(*given) {}, result{}},
		{"a message missing in the middle", func(g *given) { g.chat = slices.Delete(g.chat, 2, 3) },
			result{mismatched: 1, lost: 1}},
		{"the last reply missing", func(g *given) { g.chat = g.chat[:7] },
			result{mismatched: 1, lost: 1}},
		{"an empty chat", func(g *given) { g.chat = nil },
			result{mismatched: 1, lost: 8}},
		{"a turn handled twice", func(g *given) { g.chat = slices.Insert(g.chat, 4, g.chat[2], g.chat[3]) },
			result{mismatched: 1, duplicated: 2}},
		{"a stranger's message", func(g *given) {
			g.chat = append(g.chat, session.Message{From: session.FromBot, Type: session.Text, Content: "who are you?"})
		}, result{mismatched: 1, duplicated: 1}},
		{"two messages that changed places", func(g *given) { g.chat[3], g.chat[4] = g.chat[4], g.chat[3] },
			result{mismatched: 1, outOfOrder: 1}},
		{"the first message at the end", func(g *given) { g.chat = append(g.chat[1:], g.chat[0]) },
			result{mismatched: 1, outOfOrder: 1}},
		{"another text", func(g *given) { g.chat[5].Content = "no" },
			result{mismatched: 1, lost: 1, duplicated: 1}},
		{"the right text from the wrong side", func(g *given) { g.chat[0].From = session.FromBot },
			result{mismatched: 1, lost: 1, duplicated: 1}},
		{"the right text of the wrong type", func(g *given) { g.chat[1].Type = session.Markdown },
			result{mismatched: 1, lost: 1, duplicated: 1}},
		{"another state", func(g *given) { g.snap.State = "start" }, result{mismatched: 1}},
		{"another last message", func(g *given) { g.snap.Message = "large" }, result{mismatched: 1}},
		{"no intent", func(g *given) { g.snap.Intent = nil }, result{mismatched: 1}},
		{"data missing", func(g *given) { g.snap.Data = nil }, result{mismatched: 1}},
		{"data of another value", func(g *given) { g.snap.Data["size"] = "small" }, result{mismatched: 1}},
		{"data of another type", func(g *given) { g.snap.Data["size"] = int64(1) }, result{mismatched: 1}},
		{"data that should be deleted", func(g *given) { g.snap.Data["dish"] = "pizza" }, result{mismatched: 1}},
		{"everything wrong is one session", func(g *given) {
			g.snap.State, g.snap.Data, g.chat = "start", nil, g.chat[:7]
		}, result{mismatched: 1, lost: 1}},
		{"a reply never received", func(g *given) { g.received = g.received[1:] }, result{lost: 1}},
		{"a reply received under two keys", func(g *given) { g.received = append(g.received, "ok") }, result{duplicated: 1}},
		{"replies received in another order", func(g *given) {
			g.received[0], g.received[1] = g.received[1], g.received[0]
		}, result{outOfOrder: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, snap, chat, received := truth()
			g := given{&snap, chat, received}
			test.doctor(&g)
			got := verify(d, *g.snap, g.chat, g.received)
			if clean := test.want.clean(); got.clean() != clean || (len(got.differences) == 0) != clean {
				t.Errorf("clean is %v with %d differences, want %v", got.clean(), len(got.differences), clean)
			}
			got.differences = nil
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVerifySaysWhere(t *testing.T) {
	t.Parallel()
	d, snap, chat, received := truth()
	snap.State = "start"
	chat[3], chat[4] = chat[4], chat[3]
	got := verify(d, snap, chat[:7], received).differences
	want := []difference{
		{"d1", "chat, message 8", "bot: ok", "not there"},
		{"d1", "chat, message 5", "not here", "bot: which size?, out of order"},
		{"d1", "state", "order", "start"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{}, difference{})); diff != "" {
		t.Error(diff)
	}
}

func TestASessionThatIsNotThere(t *testing.T) {
	t.Parallel()
	d, _, _, received := truth()
	got := missing(d, received[:3], errors.New("not found"))
	want := result{mismatched: 1, lost: 9, differences: []difference{{"d1", "session", "a session", "not found"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{}, difference{})); diff != "" {
		t.Error(diff)
	}
}

func TestResultsAddUp(t *testing.T) {
	t.Parallel()
	var sum result
	for range maxDifferences + 5 {
		d, snap, _, received := truth()
		sum.add(verify(d, snap, nil, received))
	}
	if sum.mismatched != 15 || sum.lost != 15*8 || len(sum.differences) != maxDifferences {
		t.Errorf("%d mismatched, %d lost, %d differences kept", sum.mismatched, sum.lost, len(sum.differences))
	}
}
