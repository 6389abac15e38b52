package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

// theEdges is about data, chats and indexes at their limits.
var theEdges = []check{
	{promise: "a value of another type can be asked for, and a reset clears it", run: otherType},
	{promise: "pages of the chat within a turn end, and have all of it", run: pagesInTurn},
	{promise: "an event that no inbox takes is too large", run: tooLargeForInbox},
	{promise: "private data beyond its limit is refused, and what is there stays", run: tooMuchData},
	{promise: "state and user of a filter hold together, and expired sessions do not count", run: filters},
	{promise: "a session and the end of its chat are those of one moment", run: chatOfOneMoment},
	{promise: "name and bytes of a file are those of one moment", run: fileOfOneMoment},
	{promise: "what Sessions says of a session is of one moment", run: statusOfOneMoment},
	{promise: "an id is remembered as promised, whatever window others have, and while its event waits", run: otherWindows},
	{promise: "many ids in a session are swept a part at a time", run: sweptInParts},
	{promise: "moves between ever new states have a thousand counters at most", run: manyPairs},
}

func otherType(s *scene) {
	bot := s.replica().bot("bot", &options{MaxAttempts: 1})
	s.create(bot.Session("1"), store.Origin{})
	s.ok(bot.Session("1").Set(s.Context(), "n", "a text"))
	const n store.Key[int] = "n"
	o := s.say(bot, "1", session.Event{Text: "a"}, func(_ context.Context, t *store.Turn) error {
		if _, found, err := n.Lookup(t); found || !errors.Is(err, session.ErrType) {
			s.Errorf("Lookup: %v, %v; want %v", found, err, session.ErrType)
		}
		return nil
	})
	equal(s, "outcome of a turn that looks", o.Status, session.Handled)
	o = s.say(bot, "1", session.Event{Text: "b"}, func(_ context.Context, t *store.Turn) error {
		n.Get(t)
		return nil
	})
	equal(s, "outcome of a turn that gets", o.Status, session.Dead)
	o = s.say(bot, "1", session.Event{Text: "c"}, func(_ context.Context, t *store.Turn) error {
		n.Get(t)
		t.Reset(session.KeepChat)
		n.Set(t, 7)
		return nil
	})
	equal(s, "outcome of a turn that gets and resets", o.Status, session.Handled)
}

func pagesInTurn(s *scene) {
	bot := s.bot()
	for i := range 5 {
		s.say(bot, "1", session.Event{Text: fmt.Sprint(i)}, echo)
	}
	s.say(bot, "1", session.Event{Text: "last"}, func(ctx context.Context, t *store.Turn) error {
		t.Reply("own")
		all, err := t.History(ctx, session.All())
		s.ok(err)
		equal(s, "messages", len(all), 12)
		s.ok(bot.Session("1").Record(ctx, session.Message{Content: "from outside"})) // not of this turn
		for _, size := range []int{1, 3, 5, 12, 13} {
			var paged []session.Message
			seq := int64(0)
			for range 20 {
				page, err := t.History(ctx, session.After(seq, size))
				s.ok(err)
				if len(page) == 0 {
					break
				}
				paged = append(paged, page...)
				seq = page[len(page)-1].Seq
			}
			equal(s, fmt.Sprint("pages of ", size), lines(paged), lines(all))
		}
		for _, n := range []int{-1, 0, 1, 2, 3, 12, 13} {
			last, err := t.History(ctx, session.Last(n))
			s.ok(err)
			want := all
			if n > 0 && n < len(all) {
				want = all[len(all)-n:]
			}
			equal(s, fmt.Sprint("the newest ", n), lines(last), lines(want))
		}
		mine, err := t.History(ctx, session.All().Since(time.Now().Add(time.Hour)))
		s.ok(err)
		equal(s, "behind every moment", lines(mine), []string{"u last", "b own"})
		earlier, err := t.History(ctx, session.All().Until(time.Now().Add(time.Hour)))
		s.ok(err)
		equal(s, "before this turn", len(earlier), 10)
		return nil
	})
}

func tooLargeForInbox(s *scene) {
	bot := s.replica().bot("bot", &options{InboxBytes: 1000})
	_, err := bot.Accept(s.Context(), "1", session.Event{ID: "1", Text: strings.Repeat("x", 2000)})
	s.is(err, session.ErrTooLarge)
	s.is(err, session.ErrInvalid)
	s.gone(bot.Session("1"))
}

func tooMuchData(s *scene) {
	bot := s.replicaWith(store.Options{MaxData: 1000}).bot("bot", &options{MaxAttempts: 1})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "a", strings.Repeat("x", 600)))
	s.is(sess.Set(s.Context(), "b", strings.Repeat("x", 600)), session.ErrTooLarge)
	s.is(second(bot.Update(s.Context(), "1", func(_ context.Context, t *store.Turn) error { t.Set("b", strings.Repeat("x", 600)); return nil })), session.ErrTooLarge)
	s.ok(sess.Set(s.Context(), "a", strings.Repeat("y", 900)))
	s.ok(second(sess.Apply(s.Context(), session.Change{Delete: []string{"a"}, Set: map[string]any{"b": strings.Repeat("z", 900)}})))
	equal(s, "keys", len(s.load(sess).Data), 1)
	small := s.replicaWith(store.Options{MaxData: 10}).bot("bot", nil) // of another process: what is there may shrink
	s.ok(small.Session("1").Set(s.Context(), "b", "small, and still over ten"))
	s.ok(second(small.Update(s.Context(), "1", func(_ context.Context, t *store.Turn) error { t.Reply("no data"); return nil })))
}

func filters(s *scene) {
	r := s.replicaWith(store.Options{Buckets: 2})
	bot := r.bot("bot", nil)
	for i := range 10 {
		s.create(bot.Session(fmt.Sprint("old ", i)), store.Origin{State: fmt.Sprint("s", i%2), User: fmt.Sprint("u", i%3)})
	}
	for i := range 5 {
		s.create(bot.Session(fmt.Sprint("new ", i)), store.Origin{TTL: time.Millisecond})
	}
	time.Sleep(5 * time.Millisecond)
	for _, c := range []struct {
		f    store.Filter
		want int
	}{
		{store.Filter{}, 10},
		{store.Filter{State: "s0"}, 5}, {store.Filter{User: "u1"}, 3}, {store.Filter{State: "s1", User: "u1"}, 2}, {store.Filter{State: "s1", User: "nobody"}, 0},
	} {
		list, err := gather(bot.Sessions(s.Context(), c.f))
		s.ok(err)
		equal(s, fmt.Sprintf("sessions of %+v", c.f), len(list), c.want)
		for _, st := range list {
			if c.f.State != "" && st.State != c.f.State || c.f.User != "" && st.User != c.f.User {
				s.Errorf("%+v lists %+v", c.f, st)
			}
		}
	}
}

// writing calls write again and again, counting from 0, until stop is called.
func writing(s *scene, write func(ctx context.Context, i int)) (stop func()) {
	var writer sync.WaitGroup
	ctx, cancel := context.WithCancel(s.Context())
	writer.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			write(ctx, i)
		}
	})
	return func() {
		cancel()
		bounded.Wait(s, "the writer ends", &writer)
	}
}

func statusOfOneMoment(s *scene) {
	bot := s.bot()
	s.create(bot.Session("1"), store.Origin{State: "after 0"})
	defer writing(s, func(ctx context.Context, i int) {
		said := session.Entry{Message: session.Message{From: session.FromUser, Content: "hi"}}
		_, _ = bot.Session("1").Apply(ctx, session.Change{Moves: []string{fmt.Sprint("after ", i+1)}, Chat: []session.Entry{said}})
	})()
	for range 200 {
		list, err := gather(bot.Sessions(s.Context(), store.Filter{}))
		s.ok(err)
		if len(list) != 1 || list[0].State != fmt.Sprint("after ", list[0].Messages) {
			s.Fatalf("%+v is not of one moment", list)
		}
	}
}

func chatOfOneMoment(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	_, _, err := sess.LoadChat(s.Context(), 1)
	s.is(err, session.ErrNotFound)
	s.create(sess, store.Origin{})
	_, chat, err := sess.LoadChat(s.Context(), 3)
	s.ok(err)
	equal(s, "messages of an empty chat", len(chat), 0)
	for i := range 5 {
		s.ok(sess.Record(s.Context(), session.Message{Content: fmt.Sprint(i + 1)}))
	}
	all := s.history(sess, session.All())
	for n, want := range map[int][]session.Message{-1: all, 0: all, 1: all[4:], 3: all[2:], 5: all, 6: all} {
		snap, chat, err := sess.LoadChat(s.Context(), n)
		s.ok(err)
		equal(s, fmt.Sprint("session with the newest ", n), snap, s.load(sess))
		equal(s, fmt.Sprint("the newest ", n), chat, want)
	}

	defer writing(s, func(ctx context.Context, _ int) { _ = sess.Record(ctx, session.Message{Content: "hi"}) })()
	for range 200 {
		snap, chat, err := sess.LoadChat(s.Context(), 2)
		s.ok(err)
		if len(chat) != 2 || chat[1].Seq != snap.Seq || chat[0].Seq != snap.Seq-1 {
			s.Fatalf("the chat %+v is not of the moment at which %d was its last message", chat, snap.Seq)
		}
	}
}

func fileOfOneMoment(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	files := []session.File{{Name: "a", Data: []byte("aaa")}, {Name: "b", Data: []byte("b")}}
	s.ok(sess.SetFile(s.Context(), files[0]))
	defer writing(s, func(ctx context.Context, i int) { _ = sess.SetFile(ctx, files[i%2]) })()
	for range 200 {
		f, err := sess.File(s.Context())
		s.ok(err)
		if f.Name == "a" != (string(f.Data) == "aaa") || f.Size != int64(len(f.Data)) {
			s.Fatalf("the file %q of %d bytes has the bytes %q", f.Name, f.Size, f.Data)
		}
	}
}

func otherWindows(s *scene) {
	r := s.replica()
	long, short := r.bot("bot", nil), s.replicaWith(store.Options{Timeout: time.Second}).bot("bot", nil) // no window is shorter than that
	s.configure(short, func(o *store.BotOptions) { o.DedupeWindow = 50 * time.Millisecond })             // the other process hears of it seconds later
	s.accept(long, "1", "kept")
	s.drain(long, echo)
	for i := range 5 {
		_, err := short.Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(i), Text: "x"})
		s.ok(err)
		s.drain(long, echo)
	}
	if left := r.client.PTTL(s.Context(), s.keys(r.client, long.Session("1").Ref())["e"]).Val(); left < 23*time.Hour {
		s.Errorf("the ids live for %v, promised was a day", left)
	}
	if r := s.accept(long, "1", "kept"); !r.Duplicate {
		s.Errorf("an id with a window of a day was forgotten for one with a short window")
	}
	_, err := short.Accept(s.Context(), "waits", session.Event{ID: "waits", Text: "x"})
	s.ok(err)
	time.Sleep(2100 * time.Millisecond) // longer than the short window: windows end on whole seconds
	again, err := short.Accept(s.Context(), "waits", session.Event{ID: "waits", Text: "x"})
	s.ok(err)
	if !again.Duplicate {
		s.Errorf("the id of an event that waits was forgotten")
	}
}

func sweptInParts(s *scene) {
	r := s.replicaWith(store.Options{Timeout: 4 * time.Second}) // no window is shorter; miniredis takes its time
	bot := r.bot("bot", &options{DedupeWindow: 50 * time.Millisecond})
	s.accept(bot, "1", "first")
	s.drain(bot, echo)
	key := s.keys(r.client, bot.Session("1").Ref())["e"]
	const many = 5000
	pairs, over := make([]any, 0, 2*many), "d\x00\x00\x00\x00\x01"+strings.Repeat("\x00", 19) // an event that was handled, to be forgotten in 1970
	for i := range many {
		pairs = append(pairs, fmt.Sprintf("%016d", i), over)
	}
	s.ok(r.client.HSet(s.Context(), key, pairs...).Err())
	time.Sleep(60 * time.Millisecond)
	last := int64(many)
	accepts := 0
	s.eventually("all that is over is forgotten", func() bool {
		accepts++
		_, err := bot.Accept(s.Context(), "1", session.Event{ID: fmt.Sprint("e", accepts), Text: "x"})
		s.ok(err)
		s.drain(bot, echo)
		last = 0
		for _, id := range r.client.HKeys(s.Context(), key).Val() {
			if len(id) == 16 && strings.HasPrefix(id, "000000000000") { // one of those, and none of the events'
				last++
			}
		}
		return last == 0
	})
	if _, mini := r.client.Info(s.Context(), "server").Result(); mini == nil && accepts < 5 {
		s.Errorf("%d ids were swept in %d calls (%d left): not a part at a time", many, accepts, last)
	}
}

func manyPairs(s *scene) {
	r := s.replicaWith(store.Options{Buckets: 1})
	bot := r.bot("bot", nil)
	s.create(bot.Session("1"), store.Origin{State: "s"})
	const moves, atOnce = 1500, 150 // the last pairs that have a counter come in the middle of a change
	for from := 0; from < moves; from += atOnce {
		var states []string
		for i := range atOnce {
			states = append(states, fmt.Sprint("order-", from+i))
		}
		s.ok(second(bot.Session("1").Apply(s.Context(), session.Change{Moves: states})))
	}
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	total, others := int64(0), int64(0)
	for _, flow := range counts.Moves {
		total += flow.Count
		if flow.From == "" && flow.To == "" {
			others = flow.Count
		}
	}
	if total != moves || others != moves-1000 || len(counts.Moves) != 1001 {
		s.Errorf("%d moves in %d pairs, %d of them others; want all %d in a thousand pairs and the others", total, len(counts.Moves), others, moves)
	}
}
