package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theBorder is what users' code, and the odd number, do where they meet the
// store.
var theBorder = slices.Concat([]check{
	{promise: "every reply of a turn is sent once and in order, whatever their number", run: manyReplies},
	{promise: "of many replies, the one that Send gives up is the dead letter", run: giveUpInTheMiddle},
	{promise: "a reply reads the same for Send at the first and at a later try, for Wait here and elsewhere, and in the history", run: sameForAll},
	{promise: "what a verb was given may be changed afterwards", run: keptWhenSaid},
	{promise: "what cannot be encoded is a dead letter at the first attempt", run: notTriedAgain},
	{promise: "a reply that Send puts off counts no failure, and turns go on meanwhile", run: putOff},
	{promise: "as many replies as may wait hold turns up, until they are sent", run: crowdedOutbox},
	{promise: "the failures of event and reply are shown apart", run: retriesApart},
	{promise: "after a reset that keeps the chat, the outcome still has its replies", run: outcomeAfterReset},
}, theHeads, theCode, theEdges)

func manyReplies(s *scene) {
	for _, n := range []int{0, 1, 99, 100, 101, 350} {
		var sent record[store.Delivery]
		bot := s.replica().bot(fmt.Sprint("bot", n), sender(longLease, &sent))
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
		}
		o := s.say(bot, "1", session.Event{Text: "count"}, func(_ context.Context, t *store.Turn) error {
			for _, text := range want {
				t.Reply(text)
			}
			return nil
		})
		equal(s, fmt.Sprint("replies sent of ", n), texts(sent.list()), want)
		equal(s, fmt.Sprint("replies of the outcome of ", n), len(o.Replies), n)
		equal(s, "unsent", s.status(bot.Session("1")).Unsent, 0)
	}
}

func giveUpInTheMiddle(s *scene) {
	for _, bad := range []int{0, 1, 99, 100, 101, 120, 149} {
		var sent record[string]
		opts := &options{Lease: longLease, Send: func(_ context.Context, d store.Delivery) error {
			if d.Message.String() == fmt.Sprint(bad) {
				return store.GiveUp(errors.New("no"))
			}
			sent.add(d.Message.String())
			return nil
		}}
		bot := s.replica().bot(fmt.Sprint("bot", bad), opts)
		s.say(bot, "1", session.Event{Text: "count"}, func(_ context.Context, t *store.Turn) error {
			for i := range 150 {
				t.Reply(fmt.Sprint(i))
			}
			return nil
		})
		var want []string
		for i := range 150 {
			if i != bad {
				want = append(want, fmt.Sprint(i))
			}
		}
		equal(s, fmt.Sprint("replies sent but for ", bad), sent.list(), want)
		letters, err := bot.Session("1").DeadLetters(s.Context())
		s.ok(err)
		if len(letters) != 1 || letters[0].Reply == nil || letters[0].Reply.String() != fmt.Sprint(bad) {
			s.Errorf("dead letters %+v, want reply %d", letters, bad)
		}
	}
}

// contents are values of every kind that a reply may have.
func contents() []any {
	type place struct {
		City string `json:"city"`
		Days int8   `json:"days"`
	}
	when := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.FixedZone("", 3600))
	return []any{"text", "caf\u00e9", true, nil, 7, int8(-7), uint64(7), 0.5, float32(0.25), []byte{0, 255}, []string{"a", "b"}, []any{1, "b", nil},
		map[string]any{"a": 1, "b": []int{1, 2}}, map[int]string{1: "x"}, place{"Rome", 3}, &place{"Oslo", 2}, when, &when, []time.Time{when}, [2]bool{true, false}}
}

func sameForAll(s *scene) {
	for _, c := range []codec.Codec{codec.Msgpack, codec.JSON} {
		var first, later record[any]
		try := map[string]int{}
		opts := &options{Lease: longLease, Backoff: time.Millisecond, Send: func(_ context.Context, d store.Delivery) error {
			try[d.Key]++
			if try[d.Key] == 1 {
				first.add(d.Message)
				return errors.New("502")
			}
			later.add(d.Message)
			return nil
		}}
		st := s.replicaWith(store.Options{Codec: c})
		name := "bot-" + c.String()
		bot, elsewhere := st.bot(name, opts), s.replica().bot(name, nil)
		s.serve(bot, func(_ context.Context, t *store.Turn) error {
			for _, content := range contents() {
				t.ReplyWith(session.Message{Type: session.Choices, Content: content})
			}
			return nil
		})
		receipt := s.accept(bot, "1", "all kinds")
		here := s.handled(receipt)
		there := s.handled(elsewhere.Receipt("1", "all kinds"))
		n := len(contents())
		s.eventually("all is sent", func() bool { return len(later.list()) >= n })
		chat := s.history(bot.Session("1"), session.After(1, n))
		for i := range n {
			want := chat[i]
			for who, got := range map[string]any{"Send, the first time": first.list()[i], "Send, later": later.list()[i], "Wait here": here[i], "Wait elsewhere": there[i]} {
				equal(s, fmt.Sprintf("%s: reply %d, a %T, codec %s", who, i, contents()[i], c), got, any(want))
			}
		}
	}
}

func keptWhenSaid(s *scene) {
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	intent := &session.Intent{Name: "first", Params: []session.Param{{Name: "n", Value: "one"}}}
	o := s.say(bot, "1", session.Event{Text: "hi", File: &session.File{Name: "f", Data: []byte("abc")}}, func(_ context.Context, t *store.Turn) error {
		list, table := []string{"one"}, map[string]any{"n": "one"}
		t.ReplyWith(session.Message{Type: session.Choices, Content: list})
		t.ReplyWith(session.Message{Type: session.DataFrame, Content: table})
		t.Set("table", table)
		t.SetIntent(intent)
		list[0], table["n"], intent.Name, intent.Params[0].Value = "two", "two", "second", "two"
		t.File().Data[0] = 'X'
		if got := t.Intent(); got == nil || got.Name != "first" {
			s.Errorf("the turn's intent is %+v, want the one that was set", got)
		}
		return nil
	})
	snap := s.load(bot.Session("1"))
	equal(s, "the intent", snap.Intent.Name, "first")
	equal(s, "its parameter", snap.Intent.Params[0].Value, any("one"))
	equal(s, "the data", snap.Data["table"], any(map[string]any{"n": "one"}))
	f, err := bot.Session("1").File(s.Context())
	s.ok(err)
	equal(s, "the file", string(f.Data), "abc")
	for i, want := range []any{[]any{"one"}, map[string]any{"n": "one"}} {
		equal(s, "sent", sent.list()[i].Message.Content, want)
		equal(s, "outcome", o.Replies[i].Content, want)
	}
	var first, second []string
	s.ok(sent.list()[0].Message.Decode(&first))
	s.ok(sent.list()[0].Message.Decode(&second))
	first[0] = "changed"
	equal(s, "a second Decode", second, []string{"one"})
}

func notTriedAgain(s *scene) {
	var odd any = func() {}
	for what, fail := range map[string]store.Handler{
		"a reply that is too large":     func(_ context.Context, t *store.Turn) error { t.Reply(strings.Repeat("x", 2<<20)); return nil },
		"a reply without an encoding":   func(_ context.Context, t *store.Turn) error { t.ReplyWith(session.Message{Content: odd}); return nil },
		"a value without an encoding":   func(_ context.Context, t *store.Turn) error { t.Set("k", odd); return nil },
		"a payload that does not fit":   func(_ context.Context, t *store.Turn) error { var n int; t.Payload(&n); return nil },
		"the error of a verb, returned": func(_ context.Context, t *store.Turn) error { t.Move(""); return fmt.Errorf("wrapped: %w", t.Err()) },
		"a change that is too large": func(_ context.Context, t *store.Turn) error {
			for i := range 20 {
				t.Set(fmt.Sprint("k", i), strings.Repeat("x", 1<<19))
			}
			return nil
		},
	} {
		bot := s.replica().bot("bot", nil)
		id := what
		o := s.say(bot, id, session.Event{Text: "hi", Payload: "text"}, fail)
		if o.Status != session.Dead || o.Reason == "" {
			s.Errorf("%s: %+v, want a dead letter", what, o)
		}
		letters, err := bot.Session(id).DeadLetters(s.Context())
		s.ok(err)
		if len(letters) != 1 || letters[0].Failures != 1 || letters[0].Event == nil || letters[0].Event.Payload != "text" {
			s.Errorf("%s: dead letters %+v, want one after one failure", what, letters)
		}
	}
}

func putOff(s *scene) {
	var mu sync.Mutex
	tries, sent := 0, []string(nil)
	opts := &options{Lease: longLease, MaxAttempts: 2, Send: func(_ context.Context, d store.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if tries++; tries <= 6 {
			return store.RetryAfter(50*time.Millisecond, errors.New("slow down"))
		}
		sent = append(sent, d.Message.String())
		return nil
	}}
	bot := s.replica().bot("bot", opts)
	s.serve(bot, echo)
	first := s.accept(bot, "1", "a")
	s.handled(first)
	s.handled(s.accept(bot, "1", "b")) // while the first reply is put off, or after it
	s.eventually("both replies are sent", func() bool { mu.Lock(); defer mu.Unlock(); return len(sent) == 2 })
	equal(s, "replies sent", sent, []string{"re a", "re b"})
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	equal(s, "dead letters", len(letters), 0)

	late := s.replica().bot("late", &options{Lease: longLease, Send: func(context.Context, store.Delivery) error {
		return store.RetryAfter(time.Hour, errors.New("flood wait"))
	}})
	s.say(late, "1", session.Event{Text: "a"}, echo)
	s.say(late, "1", session.Event{Text: "b"}, echo) // a turn while the reply waits for an hour
	st := s.status(late.Session("1"))
	if st.Reply.Failures != 0 || st.Reply.Error != "flood wait" || !st.Reply.At.After(st.Now.Add(50*time.Minute)) || st.Unsent != 2 {
		s.Errorf("status %+v, want two replies that wait for an hour, without a failure", st)
	}
}

func crowdedOutbox(s *scene) {
	blocked := true
	var sent []string
	opts := &options{Lease: longLease, InboxLimit: 3, Send: func(_ context.Context, d store.Delivery) error {
		if blocked {
			return store.RetryAfter(300*time.Millisecond, errors.New("wait"))
		}
		sent = append(sent, d.Message.String())
		return nil
	}}
	bot := s.replica().bot("bot", opts)
	for i := range 3 {
		s.say(bot, "1", session.Event{Text: fmt.Sprint(i)}, echo)
	}
	waits := s.accept(bot, "1", "3")
	s.drain(bot, func(context.Context, *store.Turn) error { s.Errorf("a turn behind a full outbox"); return nil })
	blocked = false
	s.eventually("the replies are sent and the event is handled", func() bool {
		s.drain(bot, echo)
		return len(sent) == 4
	})
	s.handled(waits)
	equal(s, "replies sent", sent, []string{"re 0", "re 1", "re 2", "re 3"})
}

func retriesApart(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Hour, Send: func(context.Context, store.Delivery) error {
		return errors.New("send failed")
	}})
	r := s.accept(bot, "1", "a")
	s.drain(bot, echo)
	s.handled(r)
	s.accept(bot, "1", "b")
	s.drain(bot, func(context.Context, *store.Turn) error { return errors.New("handler failed") })
	st := s.status(bot.Session("1"))
	if st.Event.Failures != 1 || st.Event.Error != "handler failed" || st.Reply.Failures != 1 || st.Reply.Error != "send failed" || st.Event.At.IsZero() || st.Reply.At.IsZero() {
		s.Errorf("status %+v: want one failure of each, with its own error", st)
	}
}

func outcomeAfterReset(s *scene) {
	bot := s.bot()
	r := s.accept(bot, "1", "hi")
	s.drain(bot, echo)
	s.ok(bot.Session("1").Reset(s.Context(), session.KeepChat))
	s.ok(bot.Session("1").Record(s.Context(), session.Message{Content: "later"}))
	equal(s, "replies", lines(s.outcome(r).Replies), []string{"b re hi"})
	s.ok(bot.Session("1").Reset(s.Context(), session.DropChat))
	s.say(bot, "1", session.Event{Text: "other"}, echo)
	equal(s, "replies after the chat was dropped", len(s.outcome(r).Replies), 0)
	s.ok(second(bot.Session("1").Destroy(s.Context())))
	s.say(bot, "1", session.Event{Text: "new"}, echo)
	equal(s, "replies after a destroy", len(s.outcome(r).Replies), 0)
}
