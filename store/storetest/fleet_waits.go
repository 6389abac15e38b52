package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theWaits is how a process hears of turns that another one runs.
var theWaits = []check{
	{promise: "a wait for a turn elsewhere is told its replies, as the chat has them", run: toldReplies},
	{promise: "a wait for a turn elsewhere is told why its event is a dead letter", run: toldReason},
	{promise: "a wait for a turn elsewhere returns replies that are too large to be told", run: largeReplies},
	{promise: "a wait for a turn elsewhere ends when its session is destroyed", run: waitDropped},
	{promise: "all who wait for an event, wherever they are, get its one outcome", run: allWait},
}

// A waitScene is a process that accepts events, and another that handles them.
type waitScene struct {
	*scene
	r    *replica
	bot  *store.Bot
	gate *gate // of events with the text "held"
	n    atomic.Int64
}

func newWaitScene(s *scene) *waitScene {
	s.Helper()
	w := &waitScene{scene: s, r: s.replica(), gate: s.gate()}
	opts := &options{Lease: longLease, MaxAttempts: 1}
	w.bot = w.r.bot("bot", opts)
	s.serve(s.replica().bot("bot", opts), func(ctx context.Context, t *store.Turn) error {
		switch text := t.Event().Text; text {
		case "held":
			w.gate.pass()
		case "bad":
			return errors.New("the boiler is out")
		case "large":
			for i := range 5 {
				t.Reply(strings.Repeat(fmt.Sprint(i), 3000))
			}
			return nil
		}
		t.ReplyWith(session.Message{Content: map[string]any{"size": "large", "n": int64(3)}, Type: session.Choices, Metadata: map[string]any{"k": "v"}})
		return echo(ctx, t)
	})
	s.replicas(w.bot, 1)
	return w
}

// next accepts an event with an id of its own.
func (w *waitScene) next(text string) *store.Receipt {
	w.Helper()
	r, err := w.bot.Accept(w.Context(), "1", session.Event{ID: fmt.Sprint(w.n.Add(1)), Text: text})
	w.ok(err)
	return r
}

// told waits for events until one was told of: until a wait returned that had not
// looked.
func (w *waitScene) told(text string, returned func(store.Outcome)) {
	w.Helper()
	w.eventually("a wait returns without a look", func() bool {
		before := len(w.r.scripts(lua.Outcome))
		returned(w.outcome(w.next(text)))
		return len(w.r.scripts(lua.Outcome)) == before
	})
}

// inChat checks that an outcome's replies are the last messages of the chat.
func (w *waitScene) inChat(o store.Outcome, n int) {
	w.Helper()
	chat := w.history(w.bot.Session("1"), session.All())
	if equal(w.scene, "status", o.Status, session.Handled); !reflect.DeepEqual(o.Replies, chat[len(chat)-n:]) {
		w.Errorf("the replies are %.300q, and the chat ends with %.300q", fmt.Sprintf("%+v", o.Replies), fmt.Sprintf("%+v", chat[len(chat)-n:]))
	}
}

func toldReplies(s *scene) {
	w := newWaitScene(s)
	w.told("hi", func(o store.Outcome) { w.inChat(o, 2) })
}

func toldReason(s *scene) {
	w := newWaitScene(s)
	w.told("bad", func(o store.Outcome) {
		equal(s, "status", o.Status, session.Dead)
		equal(s, "reason", o.Reason, "the boiler is out")
		equal(s, "replies", len(o.Replies), 0)
	})
}

func largeReplies(s *scene) {
	w := newWaitScene(s)
	w.told("hi", func(store.Outcome) {})
	w.inChat(w.outcome(w.next("large")), 5)
}

func waitDropped(s *scene) {
	w := newWaitScene(s)
	w.told("hi", func(store.Outcome) {})
	held, behind := w.next("held"), w.next("behind")
	s.happens("the turn runs", w.gate.arrived)
	ended := make(chan store.Outcome, 2)
	for _, r := range []*store.Receipt{held, behind} {
		go func() {
			o, err := r.Wait(s.limited())
			if err != nil {
				s.Errorf("wait: %v", err)
			}
			ended <- o
		}()
	}
	s.ok(second(s.bot().Session("1").Destroy(s.Context())))
	for range 2 {
		o := receive(s, "a wait ends", ended)
		equal(s, "status", o.Status, session.Dropped)
		s.is(o.Err(), session.ErrDropped)
	}
	w.gate.open()
}

func allWait(s *scene) {
	w := newWaitScene(s)
	w.told("hi", func(store.Outcome) {})
	r := w.next("held")
	s.happens("the turn runs", w.gate.arrived)
	receipts := []*store.Receipt{r, r, w.bot.Receipt("1", r.EventID)}
	for range 2 {
		again, err := s.bot().Accept(s.Context(), "1", session.Event{ID: r.EventID, Text: "held"})
		s.ok(err)
		equal(s, "it is a duplicate", again.Duplicate, true)
		receipts = append(receipts, again, s.bot().Receipt("1", r.EventID))
	}
	ended := make(chan store.Outcome, len(receipts))
	for _, r := range receipts {
		go func() {
			o, err := r.Wait(s.limited())
			if err != nil {
				s.Errorf("wait: %v", err)
			}
			ended <- o
		}()
	}
	w.gate.open()
	for range receipts {
		w.inChat(receive(s, "a wait ends", ended), 2)
	}
}
