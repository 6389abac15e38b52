package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theOutbox is how replies leave.
var theOutbox = []check{
	{promise: "no reply is sent before its commit, and all are sent in order, each with a key of its own", run: sentInOrder}, // 24
	{promise: "a replica that dies between commit and send: another sends all", run: diesBeforeSend},                         // 24
	{promise: "a replica that dies between send and note: another sends again, under the same keys", run: diesBeforeNote},    // 24
	{promise: "a replica that dies in the middle of sending: another goes on in order", run: diesWhileSending},               // 24
	{promise: "a reply that fails is tried again before those behind it", run: sendRetried},                                  // 24
	{promise: "a reply that cannot be sent becomes a dead letter, and the session goes on", run: unsendable},                 // 24
	{promise: "a live reply is sent by a replica that serves", run: liveReply},                                               // added
	{promise: "a delivery names the event that it answers, and counts its attempts", run: answersAndAttempts},                // added
	{promise: "what is only recorded is not sent", run: recordedOnly},                                                        // added
}

// three replies to an event.
func three(_ context.Context, t *store.Turn) error {
	for i := range 3 {
		t.Reply(fmt.Sprintf("%s.%d", t.Event().Text, i))
	}
	return nil
}

// texts returns what was delivered, as text.
func texts(sent []store.Delivery) []string {
	var out []string
	for _, d := range sent {
		out = append(out, d.Message.String())
	}
	return out
}

func sentInOrder(s *scene) {
	var viewer *store.Bot
	var sent record[store.Delivery]
	opts := &options{Lease: longLease, Send: func(ctx context.Context, d store.Delivery) error {
		m, err := viewer.Session(d.Ref.ID).History(ctx, session.After(d.Message.Seq-1, 1))
		if err != nil || len(m) != 1 || m[0].String() != d.Message.String() {
			s.Errorf("%q is sent and the chat shows %v, %v", d.Message, m, err)
		}
		sent.add(d)
		return nil
	}}
	bots := []*store.Bot{s.replica().bot("bot", opts), s.replica().bot("bot", opts), s.replica().bot("bot", opts)}
	viewer = s.bot()
	s.serve(bots[0], three)
	s.serve(bots[1], three)
	var want []string
	for i := range 10 {
		e := session.Event{ID: fmt.Sprint(i), Text: fmt.Sprint(i), Platform: "telegram", User: "ann"}
		_, err := bots[i%3].Accept(s.Context(), "1", e)
		s.ok(err)
		want = append(want, e.Text+".0", e.Text+".1", e.Text+".2")
	}
	s.eventually("all replies are sent", func() bool { return len(sent.list()) >= len(want) })
	all := sent.list()
	equal(s, "replies sent", texts(all), want)
	keys := map[string]bool{}
	for i, d := range all {
		if d.Key == "" || keys[d.Key] {
			s.Errorf("the key %q of reply %d is empty or used before", d.Key, i)
		}
		keys[d.Key] = true
		if d.Ref != bots[0].Session("1").Ref() || d.Platform != "telegram" || d.User != "ann" || d.Message.From != session.FromBot {
			s.Errorf("delivery %+v: want the session's names and a message of the bot", d)
		}
	}
	s.eventually("all are noted", func() bool {
		status := s.status(viewer.Session("1"))
		return status.Unsent == 0 && status.Lease.Work == session.WorkNone
	})
}

func answersAndAttempts(s *scene) {
	var sent record[string]
	var refuse atomic.Bool
	opts := &options{Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 10, Send: func(_ context.Context, d store.Delivery) error {
		sent.add(fmt.Sprintf("%s answers %q, attempt %d", d.Message, d.EventID, d.Attempt))
		if refuse.CompareAndSwap(true, false) {
			return errors.New("not now")
		}
		return nil
	}}
	bots := []*store.Bot{s.replica().bot("bot", opts), s.replica().bot("bot", opts)}
	handler := func(_ context.Context, t *store.Turn) error {
		t.Reply("first")
		t.Reply("second")
		return nil
	}
	var want []string
	for _, id := range []string{"1", "12:3:4", "\x00\xff", strings.Repeat("x", session.MaxID)} {
		refuse.Store(true)
		s.accept(bots[0], "1", id)
		s.drain(bots[0], handler)
		want = append(want, fmt.Sprintf("first answers %q, attempt 1", id), fmt.Sprintf("first answers %q, attempt 2", id), fmt.Sprintf("second answers %q, attempt 1", id))
		s.eventually("the replies are sent", func() bool { // by a replica that did not make them
			s.drain(bots[1], handler)
			return len(sent.list()) == len(want)
		})
	}
	s.ok(bots[0].Session("1").Reply(s.Context(), "live"))
	s.drain(bots[1], handler)
	s.ok(s.update(bots[0], "1", func(_ context.Context, t *store.Turn) error { t.Reply("update"); return nil }))
	s.drain(bots[1], handler)
	want = append(want, `live answers "", attempt 1`, `update answers "", attempt 1`)
	equal(s, "deliveries", sent.list(), want)
}

// sender returns options that record what is sent.
func sender(lease time.Duration, sent *record[store.Delivery]) *options {
	return &options{Lease: lease, Send: func(_ context.Context, d store.Delivery) error {
		sent.add(d)
		return nil
	}}
}

// heir checks that what a replica left when it died is sent in order, that
// what it had sent itself has the same keys, and that the session goes on.
func heir(s *scene, dead []store.Delivery) {
	s.Helper()
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	s.serve(bot, three)
	want := []string{"a.0", "a.1", "a.2"}
	s.eventually("the replies that were left are sent", func() bool { return slices.Contains(texts(sent.list()), "a.2") })
	s.handled(s.accept(bot, "1", "b"))
	want = append(want, "b.0", "b.1", "b.2")
	s.eventually("the next replies are sent", func() bool { return slices.Contains(texts(sent.list()), "b.2") })
	equal(s, "replies sent by the heir", texts(sent.list()), want)
	keys := map[string]string{}
	for _, d := range sent.list() {
		keys[d.Message.String()] = d.Key
	}
	for _, d := range dead {
		equal(s, "key under which the dead replica sent "+d.Message.String(), d.Key, keys[d.Message.String()])
	}
	equal(s, "messages", len(s.chat(bot.Session("1"))), 8)
	s.eventually("nothing is left", func() bool { return s.status(bot.Session("1")).Unsent == 0 })
}

// diesAt serves one event by a replica that dies at a script, which arrives or not,
// and returns what it sends.
func diesAt(s *scene, script *lua.Script, arrives bool) *record[store.Delivery] {
	dying, sent := s.replica(), &record[store.Delivery]{}
	bot := dying.bot("bot", sender(shortLease, sent))
	s.serve(bot, three)
	died := make(chan struct{})
	dying.fail(script, func(_ context.Context, q request) error {
		if arrives {
			if err := q.deliver(); err != nil {
				return err
			}
		}
		dying.fail(script, nil)
		dying.kill()
		close(died)
		return io.EOF
	})
	s.accept(bot, "1", "a")
	s.happens("the replica dies at "+script.Name, died)
	return sent
}

func diesBeforeSend(s *scene) {
	sent := diesAt(s, lua.Commit, true)
	heir(s, nil)
	equal(s, "replies sent by the dead", len(sent.list()), 0)
}

func diesBeforeNote(s *scene) {
	sent := diesAt(s, lua.Sent, false)
	equal(s, "replies sent by the dead", texts(sent.list()), []string{"a.0", "a.1", "a.2"})
	heir(s, sent.list())
}

func diesWhileSending(s *scene) {
	dying := s.replica()
	var sent record[store.Delivery]
	died := make(chan struct{})
	bot := dying.bot("bot", &options{Lease: shortLease, Send: func(_ context.Context, d store.Delivery) error {
		select {
		case <-died:
			return errors.New("the dead do not send")
		default:
		}
		sent.add(d)
		if len(sent.list()) == 2 {
			dying.kill()
			close(died)
		}
		return nil
	}})
	s.serve(bot, three)
	s.accept(bot, "1", "a")
	s.happens("the replica dies after the second reply", died)
	equal(s, "replies sent by the dead", texts(sent.list()), []string{"a.0", "a.1"})
	heir(s, sent.list())
}

func sendRetried(s *scene) {
	var sent record[store.Delivery]
	var failures atomic.Int32
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: 20 * time.Millisecond, Send: func(_ context.Context, d store.Delivery) error {
		if d.Message.String() == "a.1" && failures.Add(1) <= 2 {
			return errors.New("the platform is down")
		}
		sent.add(d)
		return nil
	}})
	s.serve(bot, three)
	s.handled(s.accept(bot, "1", "a"))
	s.handled(s.accept(bot, "1", "b"))
	s.eventually("all replies are sent", func() bool { return len(sent.list()) >= 6 })
	equal(s, "replies sent", texts(sent.list()), []string{"a.0", "a.1", "a.2", "b.0", "b.1", "b.2"})
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	equal(s, "dead letters", len(letters), 0)
}

func unsendable(s *scene) {
	var sent record[store.Delivery]
	var told record[session.DeadLetter]
	var attempts atomic.Int32
	bot := s.replica().bot("bot", &options{
		Lease: longLease, Backoff: time.Millisecond, MaxAttempts: 3,
		Send: func(_ context.Context, d store.Delivery) error {
			switch d.Message.String() {
			case "a.1":
				attempts.Add(1)
				return errors.New("blocked by the user")
			case "a.2":
				return store.GiveUp(errors.New("too long"))
			}
			sent.add(d)
			return nil
		},
		Dead: func(_ context.Context, d session.DeadLetter) { told.add(d) },
	})
	s.serve(bot, three)
	s.handled(s.accept(bot, "1", "a"))
	s.handled(s.accept(bot, "1", "b"))
	s.eventually("the replies of the next turn are sent", func() bool { return len(sent.list()) >= 4 })
	equal(s, "replies sent", texts(sent.list()), []string{"a.0", "b.0", "b.1", "b.2"})
	equal(s, "attempts", attempts.Load(), 3)
	stored, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	s.eventually("Dead is told of both", func() bool { return len(told.list()) >= 2 }) // beside the session, so in any order
	inOrder := slices.SortedFunc(slices.Values(told.list()), func(a, b session.DeadLetter) int { return cmp.Compare(a.Reply.Seq, b.Reply.Seq) })
	for what, list := range map[string][]session.DeadLetter{"stored": stored, "told": inOrder} {
		if len(list) != 2 {
			s.Fatalf("dead letters %s: %+v, want two", what, list)
		}
		for i, want := range []string{"blocked by the user", "too long"} {
			d := list[i]
			if d.Reply == nil || d.Event != nil || d.Reply.String() != fmt.Sprintf("a.%d", i+1) || !strings.Contains(d.Error, want) || d.Ref.ID != "1" {
				s.Errorf("dead letter %s: %+v of reply %v; want a.%d, %q", what, d, d.Reply, i+1, want)
			}
		}
	}
	equal(s, "messages", len(s.chat(bot.Session("1"))), 8)
}

func liveReply(s *scene) {
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	serving, other := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	s.serve(serving, three)
	s.handled(s.accept(serving, "1", "a"))
	sess := other.Session("1")
	s.ok(sess.Reply(s.Context(), "news"))
	s.ok(s.update(other, "1", func(_ context.Context, t *store.Turn) error { t.Reply("more news"); return nil }))
	want := []string{"a.0", "a.1", "a.2", "news", "more news"}
	s.eventually("the live replies are sent", func() bool { return len(sent.list()) >= len(want) })
	equal(s, "replies sent", texts(sent.list()), want)
	equal(s, "chat", s.chat(sess), []string{"u a", "b a.0", "b a.1", "b a.2", "b news", "b more news"})
	s.eventually("nothing is left", func() bool { return s.status(sess).Unsent == 0 })
}

func recordedOnly(s *scene) {
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.Record(session.Message{Content: "a note"})
		t.Reply("hello")
		return nil
	})
	s.ok(bot.Session("1").Record(s.Context(), session.Message{From: session.FromBot, Content: "another"}))
	s.drain(bot, echo)
	equal(s, "replies sent", texts(sent.list()), []string{"hello"})
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u hi", "b a note", "b hello", "b another"})
}
