package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theChat is the chat history.
var theChat = []check{
	{promise: "any part of the history can be read, in ascending order", run: historyParts},                           // 12
	{promise: "the history since a moment, or until it, includes that moment", run: historyUntil},                     // 12
	{promise: "paging while others append visits each message once", run: historyPaging},                              // 12
	{promise: "a message comes before the reply to it, with others waiting too", run: historyOrder},                   // 13
	{promise: "messages of every type come back as they were", run: messageTypes},                                     // added
	{promise: "a message without an author is the bot's, whoever writes it", run: defaultAuthor},                      // added
	{promise: "a message has its metadata wherever it is read", run: messageMetadata},                                 // added
	{promise: "a limit on the history keeps the newest, and the numbers go on", run: historyLimit},                    // added
	{promise: "waiting messages can be read, marked so, behind the history", run: historyWaiting},                     // 13, added
	{promise: "a turn costs as much at the end of a long chat as at the beginning of it", run: flatCost, heavy: true}, // added
}

// remember appends n numbered messages to the chat of a new session.
func remember(s *scene, sess *store.Session, n int) {
	s.Helper()
	s.create(sess, store.Origin{})
	for from := 0; from < n; from += 50 {
		var change session.Change
		for i := from; i < min(from+50, n); i++ {
			m := session.Message{From: session.FromBot, Content: strconv.Itoa(i + 1)}
			change.Chat = append(change.Chat, session.Entry{Message: m})
		}
		_, err := sess.Apply(s.Context(), change)
		s.ok(err)
	}
}

func historyParts(s *scene) {
	const n = 150
	sess := s.bot().Session("1")
	remember(s, sess, n)
	for _, q := range []struct {
		what        string
		query       session.Query
		first, last int // sequence numbers; none if last is less
	}{
		{"last 0, which is no limit", session.Last(0), 1, n},
		{"the zero query", session.Query{}, 1, n},
		{"last 1", session.Last(1), n, n},
		{"last 100", session.Last(100), n - 99, n},
		{"last of more than there are", session.Last(1000), 1, n},
		{"all", session.All(), 1, n},
		{"ten after the hundredth", session.After(100, 10), 101, 110},
		{"the first ten", session.After(0, 10), 1, 10},
		{"after the last", session.After(n, 10), 1, 0},
		{"the newest five after the hundredth", session.Last(5).After(100), n - 4, n},
		{"the first five after the hundredth", session.After(0, 5).After(100), 101, 105},
		{"after less than none", session.After(-1, 2), 1, 2},
		{"since long ago", session.All().Since(time.Unix(1, 0)), 1, n},
		{"since a time to come", session.All().Since(time.Now().Add(time.Hour)), 1, 0},
		{"the newest two since long ago", session.Last(2).Since(time.Unix(1, 0)), n - 1, n},
		{"until long ago", session.All().Until(time.Unix(1, 0)), 1, 0},
	} {
		var want []string
		for i := q.first; i <= q.last; i++ {
			want = append(want, fmt.Sprintf("%d %d", i, i))
		}
		var got []string
		for _, m := range s.history(sess, q.query) {
			got = append(got, fmt.Sprintf("%d %s", m.Seq, m))
		}
		equal(s, q.what, got, want)
	}
}

func historyUntil(s *scene) {
	sess := s.bot().Session("1")
	s.create(sess, store.Origin{})
	for i := range 10 {
		s.ok(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: strconv.Itoa(i)}))
		time.Sleep(2 * time.Millisecond) // so that not all have the same time
	}
	all := s.history(sess, session.All())
	for i, m := range all {
		if m.Time.IsZero() || i > 0 && m.Time.Before(all[i-1].Time) {
			s.Fatalf("message %d has the time %v", m.Seq, m.Time)
		}
		for _, shift := range []time.Duration{-time.Millisecond, 0, time.Millisecond} {
			until := m.Time.Add(shift)
			var want []session.Message
			for _, other := range all {
				if !other.Time.After(until) {
					want = append(want, other)
				}
			}
			equal(s, fmt.Sprintf("history until %v", until), lines(s.history(sess, session.All().Until(until))), lines(want))
		}
		for _, shift := range []time.Duration{-time.Millisecond, -time.Microsecond, 0, time.Microsecond, time.Millisecond} {
			since := m.Time.Add(shift)
			var want, second []session.Message
			for _, other := range all {
				if !other.Time.Before(since) {
					want = append(want, other)
				}
			}
			for _, other := range want {
				if !other.Time.After(all[7].Time) {
					second = append(second, other)
				}
			}
			equal(s, fmt.Sprintf("history since %v", since), lines(s.history(sess, session.All().Since(since))), lines(want))
			equal(s, fmt.Sprintf("history since %v until a moment", since), lines(s.history(sess, session.All().Since(since).Until(all[7].Time))), lines(second))
			equal(s, fmt.Sprintf("the first since %v", since), lines(s.history(sess, session.After(0, 1).Since(since))), lines(want[:min(1, len(want))]))
		}
	}
	if all[0].Time.Equal(all[9].Time) {
		s.Errorf("ten messages over 20 ms all have the time %v", all[0].Time)
	}
}

func historyPaging(s *scene) {
	sess, other := s.bot().Session("1"), s.bot().Session("1")
	remember(s, sess, 20)
	appended := make(chan error, 1)
	go func() {
		for i := 20; i < 100; i++ {
			if err := other.Record(s.Context(), session.Message{From: session.FromBot, Content: strconv.Itoa(i + 1)}); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	var seen []int64
	var done bool
	for after := int64(0); ; {
		select {
		case err := <-appended:
			s.ok(err)
			done = true
		default:
		}
		page := s.history(sess, session.After(after, 7))
		for _, m := range page {
			if m.String() != strconv.FormatInt(m.Seq, 10) {
				s.Fatalf("message %d is %q", m.Seq, m)
			}
			seen = append(seen, m.Seq)
			after = m.Seq
		}
		if done && len(page) == 0 {
			break
		}
	}
	for i, seq := range seen {
		if seq != int64(i+1) {
			s.Fatalf("message %d was visited as number %d", seq, i+1)
		}
	}
	equal(s, "messages visited", len(seen), 100)
}

func historyOrder(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.accept(bot, "1", "u1")
	s.accept(bot, "1", "u2")
	var during [][]string
	s.drain(bot, func(ctx context.Context, t *store.Turn) error {
		chat, err := t.History(ctx, session.All())
		s.ok(err)
		during = append(during, lines(chat))
		t.Reply("b" + t.Event().Text[1:])
		return nil
	})
	equal(s, "chat", s.chat(sess), []string{"u u1", "b b1", "u u2", "b b2"})
	equal(s, "chat as the turns saw it", during, [][]string{{"u u1"}, {"u u1", "b b1", "u u2"}})
	times := s.history(sess, session.All())
	if !slices.IsSortedFunc(times, func(a, b session.Message) int { return a.Time.Compare(b.Time) }) {
		s.Errorf("the times of the chat do not ascend: %+v", times)
	}
}

func messageTypes(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	contents := map[session.MessageType]any{
		session.Text: "plain", session.Markdown: "**bold**", session.HTML: "<b>", session.FileType: "a.pdf",
		session.Image: []byte{0xff, 0xd8, 0}, session.Plotly: `{"data":[]}`, session.Audio: []byte{},
		session.Choices: []any{"yes", "no"}, session.Location: map[string]any{"latitude": 52.5, "longitude": 13.4},
		"question": "of the bot's own", session.MessageType(strings.Repeat("x", session.MaxLabel)): int64(1),
		session.DataFrame: []any{map[string]any{"a": "1"}}, session.RAGAnswer: map[string]any{"answer": "42", "sources": []any{"x"}},
	}
	var types []session.MessageType
	for kind := range contents {
		types = append(types, kind)
	}
	s.say(bot, "1", session.Event{ID: "e"}, func(_ context.Context, t *store.Turn) error {
		for _, kind := range types {
			t.ReplyWith(session.Message{Type: kind, Content: contents[kind]})
		}
		return nil
	})
	chat := s.history(sess, session.All())
	equal(s, "messages", len(chat), len(contents))
	for i, m := range chat {
		equal(s, "type", m.Type, types[i])
		equal(s, "author", m.From, session.FromBot)
		equal(s, "content of "+string(m.Type), m.Content, contents[m.Type])
	}
}

func defaultAuthor(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.say(bot, "1", session.Event{ID: "e"}, func(_ context.Context, t *store.Turn) error {
		t.Record(session.Message{Content: "in a turn"})
		return nil
	})
	s.ok(sess.Record(s.Context(), session.Message{Content: "live"}))
	s.ok(second(sess.Apply(s.Context(), session.Change{Chat: []session.Entry{{Message: session.Message{Content: "in a change"}}}})))
	s.ok(sess.Record(s.Context(), session.Message{From: session.FromUser, Content: "said"}))
	equal(s, "chat", s.chat(sess), []string{"b in a turn", "b live", "b in a change", "u said"})
	s.is(sess.Record(s.Context(), session.Message{From: "somebody", Content: "hi"}), session.ErrInvalid)
}

func messageMetadata(s *scene) {
	var sent record[session.Message]
	bot := s.replica().bot("bot", &options{MaxAttempts: 1, Send: func(_ context.Context, d store.Delivery) error {
		sent.add(d.Message)
		return nil
	}})
	sess := bot.Session("1")
	r := s.accept(bot, "1", "hi")
	metadata := func() map[string]any {
		return map[string]any{"model": "m-1", "usage": map[string]any{"tokens": int64(12)}, "nil": nil}
	}
	s.drain(bot, func(ctx context.Context, t *store.Turn) error {
		given := metadata()
		t.ReplyWith(session.Message{Content: "hello", Metadata: given})
		t.Record(session.Message{Type: "question", Content: []any{"a"}, Metadata: given})
		given["model"] = "changed afterwards"
		given["usage"].(map[string]any)["tokens"] = 0
		chat, err := t.History(ctx, session.Last(2))
		s.ok(err)
		equal(s, "metadata in the turn", chat[0].Metadata, metadata())
		chat[0].Metadata["model"] = "spoilt by a reader"
		return nil
	})
	s.ok(sess.ReplyWith(s.Context(), session.Message{Content: "later", Metadata: metadata()}))
	s.drain(bot, echo)
	for what, messages := range map[string][]session.Message{
		"waited for": s.handled(r), "sent": sent.list(), "in the chat": s.history(sess, session.Last(3)), "waited for again": s.handled(bot.Receipt("1", "hi")),
	} {
		if len(messages) < 2 {
			s.Errorf("%d messages %s, want two or three", len(messages), what)
		}
		for _, m := range messages {
			equal(s, "metadata "+what+" of "+m.String(), m.Metadata, metadata())
		}
	}
	s.is(sess.ReplyWith(s.Context(), session.Message{Content: "hi", Metadata: map[string]any{"f": func() {}}}), session.ErrInvalid)
	s.is(sess.ReplyWith(s.Context(), session.Message{Content: "hi", Type: "a\x00b"}), session.ErrInvalid)
	plain := s.history(sess, session.After(0, 1))[0]
	equal(s, "metadata of a message without", plain.Metadata, nil)
}

func historyLimit(s *scene) {
	bot := s.replica().bot("bot", &options{HistoryLimit: 5})
	for i := range 5 {
		s.say(bot, "1", session.Event{Text: strconv.Itoa(i)}, echo)
	}
	sess := bot.Session("1")
	equal(s, "chat", s.chat(sess), []string{"b re 2", "u 3", "b re 3", "u 4", "b re 4"})
	equal(s, "number of the last message", s.history(sess, session.Last(1))[0].Seq, 10)
	equal(s, "after a message that is gone", lines(s.history(sess, session.After(2, 2))), []string{"b re 2", "u 3"})
}

func historyWaiting(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.say(bot, "1", session.Event{Text: "first"}, echo)
	s.accept(bot, "1", "second")
	s.accept(bot, "1", "third")
	equal(s, "chat without what waits", s.chat(sess), []string{"u first", "b re first"})
	all := s.history(sess, session.Last(1).WithWaiting())
	equal(s, "last message and what waits", lines(all), []string{"b re first", "u second", "u third"})
	for i, m := range all {
		equal(s, "marked as waiting: "+m.String(), m.Waiting, i > 0)
	}
	s.drain(bot, echo)
	equal(s, "what waits after all is handled", len(s.history(sess, session.All().WithWaiting())), 6)
}

// flatCost compares what one turn asks of the server, in scripts and in bytes,
// at the beginning of a chat and at the end of a long one.
func flatCost(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	cost := func(id string) traffic {
		return r.measure(func() {
			s.accept(bot, id, rand.Text())
			equal(s, "turns", s.drain(bot, echo), 1)
		})
	}
	remember(s, bot.Session("long"), 3000)
	remember(s, bot.Session("brief"), 3)
	cost("brief") // loads the scripts, on each server
	cost("long")
	brief, long := cost("brief"), cost("long")
	equal(s, "scripts of a turn after a long chat", long.scripts, brief.scripts)
	if long.bytes > brief.bytes+100 { // a few digits more
		s.Errorf("a turn takes %d bytes after 3,000 messages, %d after 3", long.bytes, brief.bytes)
	}
}
