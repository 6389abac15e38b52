package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// What the iterators over sessions promise: added.
var theLists = []check{
	{promise: "sessions come with the latest activity first, those of a user in the order of their ids", run: listOrder},
	{promise: "a cursor goes on in another replica, and misses none that stays, though sessions are created, move and go", run: cursorGoesOn},
	{promise: "a cursor that is none, or is another filter's, is refused", run: badCursors},
	{promise: "what waits is listed with why, and what does not is not", run: waitingSessions},
	{promise: "the longest wait is listed first, and what ends a wait corrects the list", run: longestWait},
	{promise: "dead letters of all sessions are listed, oldest first, of those too that are gone", run: lettersOfAll},
	{promise: "a session that cannot be read comes as an error that names it, and the loop goes on", run: listOfCorrupt},
}

// all returns the items of a list that must be read without an error.
func all[T any](s *scene, list iter.Seq2[T, error]) (items []T) {
	s.Helper()
	for item, err := range list {
		s.ok(err)
		items = append(items, item)
	}
	return items
}

// gather returns the items of a list, and its errors joined.
func gather[T any](list iter.Seq2[T, error]) (items []T, err error) {
	for item, e := range list {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		items = append(items, item)
	}
	return items, err
}

func ids(list []session.Status) (ids []string) {
	for _, st := range list {
		ids = append(ids, st.Ref.ID)
	}
	return ids
}

func listOrder(s *scene) {
	bot := s.bot()
	for i := range 100 {
		s.create(bot.Session(fmt.Sprintf("%02d", i)), store.Origin{State: fmt.Sprint("s", i%2), User: fmt.Sprint("u", i%3)})
	}
	minute := func(st session.Status) time.Time { return st.Active.Truncate(time.Minute) }
	for i, f := range []store.Filter{{}, {State: "s1"}, {User: "u1"}, {State: "s0", User: "u2"}} {
		list := all(s, bot.Sessions(s.Context(), f))
		equal(s, fmt.Sprintf("sessions of %+v", f), len(list), []int{100, 50, 33, 17}[i])
		switch {
		case f.User != "":
			if !slices.IsSorted(ids(list)) {
				s.Errorf("%+v: not in the order of their ids: %v", f, ids(list))
			}
		case !slices.IsSortedFunc(list, func(a, b session.Status) int { return minute(b).Compare(minute(a)) }):
			s.Errorf("%+v: the newest are not first: %v", f, ids(list))
		}
		for _, st := range list {
			if f.State != "" && st.State != f.State || f.User != "" && st.User != f.User {
				s.Errorf("%+v lists %+v", f, st)
			}
		}
	}
}

func cursorGoesOn(s *scene) {
	for name := range listed {
		bot := s.replicaWith(store.Options{Lease: longLease}).bot(strings.ReplaceAll(name, " ", "-"), nil)
		f, made := s.many(bot, name, 60)
		times := map[string]int{}
		part := func(cursor string, most int) []session.Status {
			page := s.part(s.replica().bot(bot.Name(), nil), f.After(cursor), most)
			for _, st := range page {
				times[st.Ref.ID]++
			}
			return page
		}
		page := part("", 20)
		cursor := page[19].Cursor
		behind := all(s, bot.Sessions(s.Context(), f.After(cursor)))[0].Ref.ID
		gone := []string{page[3].Ref.ID, page[19].Ref.ID, behind} // with the one where the cursor stands
		for _, id := range gone {
			s.ok(second(bot.Session(id).Destroy(s.Context())))
		}
		equal(s, "times that one was listed which is gone now", times[behind], 0)
		s.create(bot.Session("new"), store.Origin{State: "s", User: "u"})
		s.ok(bot.Session(page[0].Ref.ID).Set(s.Context(), "k", "v"))
		page = part(cursor, 10)
		s.ok(bot.Session(page[0].Ref.ID).Move(s.Context(), session.Transition{From: "s", To: "other"}))
		part(page[9].Cursor, -1)
		for _, id := range made {
			n := times[id]
			if name != "user" { // one that was active since the first part was read may come again
				n = min(n, 1)
			}
			want := 1
			if id == behind {
				want = 0
			}
			equal(s, fmt.Sprintf("by %s: times that %s is listed", name, id), n, want)
		}
	}
}

func badCursors(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	s.create(bot.Session("1"), store.Origin{State: "s", User: "u"})
	time.Sleep(1100 * time.Millisecond) // what was active in the second before a list began comes at its end, too
	cursor := all(s, bot.Sessions(s.Context(), store.Filter{}))[0].Cursor
	ofState := all(s, bot.Sessions(s.Context(), store.Filter{State: "s"}))[0].Cursor
	equal(s, "behind the last of a state", len(all(s, bot.Sessions(s.Context(), store.Filter{State: "s"}.After(ofState)))), 0)
	for what, list := range map[string]iter.Seq2[session.Status, error]{
		"no cursor":       bot.Sessions(s.Context(), store.Filter{}.After("1")),
		"an odd one":      bot.Sessions(s.Context(), store.Filter{}.After("é\x00 \n")),
		"half of one":     bot.Sessions(s.Context(), store.Filter{}.After(cursor[:len(cursor)/2])),
		"a long one":      bot.Sessions(s.Context(), store.Filter{}.After(strings.Repeat(cursor, 100))),
		"a state's":       bot.Sessions(s.Context(), store.Filter{}.After(ofState)),
		"another state's": bot.Sessions(s.Context(), store.Filter{State: "t"}.After(ofState)),
		"of no state":     bot.Sessions(s.Context(), store.Filter{State: "s"}.After(cursor)),
		"another bot's":   r.bot("other", nil).Sessions(s.Context(), store.Filter{}.After(cursor)),
	} {
		n := 0
		for st, err := range list {
			n++
			if !errors.Is(err, session.ErrInvalid) || st.Ref.ID != "" {
				s.Errorf("%s: %+v, %v; want %v", what, st, err, session.ErrInvalid)
			}
		}
		equal(s, what+": items", n, 1)
	}
}

func listOfCorrupt(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	for i := range 9 {
		s.accept(bot, fmt.Sprint(i), "hi")
	}
	hash := s.keys(r.client, bot.Session("4").Ref())["s"]
	head := r.client.HGet(s.Context(), hash, "rec").Val()
	for what, damage := range map[string]func() (back func()){
		"another type": func() func() { return s.swap(r.client, hash) },
		"no record": func() func() {
			s.ok(r.client.HSet(s.Context(), hash, "rec", "").Err())
			return func() { s.ok(r.client.HSet(s.Context(), hash, "rec", head).Err()) }
		},
	} {
		back := damage()
		for list, loop := range map[string]iter.Seq2[session.Status, error]{
			"Sessions":            bot.Sessions(s.Context(), store.Filter{}),
			"Sessions of a state": bot.Sessions(s.Context(), store.Filter{State: "start"}),
			"Waiting":             bot.Waiting(s.Context()),
		} {
			var read, corrupt []string
			for st, err := range loop {
				var of *session.CorruptError
				if errors.As(err, &of) {
					corrupt = append(corrupt, of.Ref.ID)
					equal(s, "what comes with an error", st, session.Status{})
					continue
				}
				s.ok(err)
				read = append(read, st.Ref.ID)
			}
			slices.Sort(read)
			equal(s, what+", "+list+": sessions that can be read", read, []string{"0", "1", "2", "3", "5", "6", "7", "8"})
			equal(s, what+", "+list+": sessions that cannot", corrupt, []string{"4"})
		}
		back()
	}
}

func waitingSessions(s *scene) {
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	s.create(bot.Session("idle"), store.Origin{})
	s.create(bot.Session("replies"), store.Origin{})
	s.create(bot.Session("held"), store.Origin{})
	s.accept(bot, "fails", "1")
	s.drain(bot, func(context.Context, *store.Turn) error { return store.RetryAfter(time.Hour, errors.New("not today")) })
	s.accept(bot, "waits", "1")
	s.accept(bot, "waits", "2")
	s.ok(bot.Session("replies").Reply(s.Context(), "unsent"))
	found := map[string]session.Status{}
	for _, st := range all(s, bot.Waiting(s.Context())) {
		found[st.Ref.ID] = st
	}
	equal(s, "sessions that wait", len(found), 3)
	equal(s, "events that wait", found["waits"].Waiting, 2)
	equal(s, "replies that wait", found["replies"].Unsent, 1)
	if of := found["fails"]; of.Event.Failures != 1 || of.Event.Error != "not today" || !of.Event.At.After(of.Now) {
		s.Errorf("%+v does not say why it waits", of)
	}
	s.ok(second(bot.Update(s.Context(), "held", func(ctx context.Context, _ *store.Turn) error {
		held := func() (found bool) {
			for _, st := range all(s, bot.Waiting(ctx)) {
				found = found || st.Ref.ID == "held" && st.Lease.Work == session.WorkUpdate && st.Lease.Holder != ""
			}
			return found
		}
		equal(s, "a session in an Update's hand is listed", held(), false)
		s.accept(bot, "held", "1")
		equal(s, "a session in an Update's hand, with an event behind it, is listed", held(), true)
		return nil
	})))
}

// The longest wait comes first, whatever happens to the first of what waits; and what
// has ended is not listed any more.
func longestWait(s *scene) {
	r := s.replica()
	var sent record[store.Delivery]
	bot := r.bot("bot", sender(longLease, &sent))
	listed := func() (ids []string) {
		for _, st := range all(s, bot.Waiting(s.Context())) {
			ids = append(ids, st.Ref.ID)
		}
		return ids
	}
	since := func(id string) time.Time { return s.status(bot.Session(id)).Since }
	for _, id := range []string{"0", "1", "2"} {
		s.accept(bot, id, "first")
		later()
	}
	equal(s, "with one event each", listed(), []string{"0", "1", "2"})
	began, failed := since("0"), since("1")
	s.accept(bot, "0", "second")
	later()
	s.accept(bot, "1", "second")
	equal(s, "with a second event behind it, since when", since("0"), began)
	equal(s, "with two events each", listed(), []string{"0", "1", "2"})
	s.drain(bot, func(_ context.Context, t *store.Turn) error {
		if t.Event().Text == "first" && t.Ref().ID == "0" {
			return store.GiveUp(errors.New("never"))
		}
		return store.RetryAfter(time.Hour, errors.New("not today"))
	})
	equal(s, "after a failure, since when", since("1"), failed)
	if at := since("0"); !at.After(began) {
		s.Errorf("with its second event first it waits since %v, want later than %v", at, began)
	}
	equal(s, "with the second event of 0 first", listed(), []string{"1", "2", "0"})
	s.ok(second(bot.Session("2").Destroy(s.Context())))
	equal(s, "after a destroy", listed(), []string{"1", "0"})
	s.ok(bot.Session("0").Reply(s.Context(), "unsent"))
	s.accept(bot, "3", "handled")
	s.drain(bot, func(_ context.Context, t *store.Turn) error { t.Reply("done"); return nil })
	equal(s, "after a turn, and replies that are sent", listed(), []string{"1", "0"})
	equal(s, "with nothing left, since when", since("3"), time.Time{})
}

func lettersOfAll(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{MaxAttempts: 1})
	var want []string
	for _, text := range []string{"b 1", "b 2", "a 1", "c 1", "d 1"} {
		s.accept(bot, text[:1], text)
		s.drain(bot, func(context.Context, *store.Turn) error { return errors.New("no " + text) })
		want = append(want, text+": no "+text)
		time.Sleep(5 * time.Millisecond) // by the server's clock, for the order
	}
	s.ok(second(bot.Session("a").Destroy(s.Context())))
	texts := func() (texts, corrupt []string) {
		for letter, err := range bot.DeadLetters(s.Context()) {
			var of *session.CorruptError
			if errors.As(err, &of) {
				corrupt = append(corrupt, of.Ref.ID)
				continue
			}
			s.ok(err)
			equal(s, "the session of "+letter.Event.ID, letter.Ref, session.Ref{Bot: "bot", ID: letter.Event.ID[:1]})
			texts = append(texts, letter.Event.Text+": "+letter.Error)
		}
		return texts, corrupt
	}
	got, corrupt := texts()
	equal(s, "dead letters", got, want)
	equal(s, "sessions whose letters cannot be read", corrupt, nil)
	for range bot.DeadLetters(s.Context()) {
		break // a reader who stops at once
	}
	key := s.keys(r.client, bot.Session("c").Ref())["x"]
	back := s.swap(r.client, key)
	got, corrupt = texts()
	back()
	equal(s, "dead letters but for c's", got, slices.Delete(slices.Clone(want), 3, 4))
	equal(s, "sessions whose letters cannot be read", corrupt, []string{"c"})
}
