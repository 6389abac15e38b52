package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

func missingAndNil(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	stored := map[string]any{"nil": nil, "empty": "", "false": false, "text": "x"}
	for key, v := range stored {
		s.ok(sess.Set(s.Context(), key, v))
	}
	count := store.Key[int]("zero")
	s.ok(count.Store(s.Context(), sess, 0))
	if v, found, err := sess.Get(s.Context(), "missing"); v != nil || found || err != nil {
		s.Errorf("a missing key: %v, found %v, error %v", v, found, err)
	}
	snap := s.load(sess)
	for key, want := range stored {
		v, found, err := sess.Get(s.Context(), key)
		if v != want || !found || err != nil {
			s.Errorf("key %q: %#v, found %v, error %v; want %#v", key, v, found, err, want)
		}
		if v, found := snap.Data[key]; v != want || !found {
			s.Errorf("key %q in a snapshot: %#v, found %v; want %#v", key, v, found, want)
		}
	}
	if v, found, err := count.Load(s.Context(), sess); v != 0 || !found || err != nil {
		s.Errorf("a stored zero: %v, found %v, error %v", v, found, err)
	}
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		for key, want := range stored {
			if v, found := t.Get(key); v != want || !found {
				s.Errorf("key %q in a turn: %#v, found %v; want %#v", key, v, found, want)
			}
		}
		if v, found := t.Get("missing"); v != nil || found {
			s.Errorf("a missing key in a turn: %v, found %v", v, found)
		}
		return nil
	})
}

func deleteMissing(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "k", nil))
	for i, want := range []bool{true, false} {
		existed, err := sess.Delete(s.Context(), "k")
		s.ok(err)
		if existed != want {
			s.Errorf("delete number %d says existed %v, want %v", i+1, existed, want)
		}
	}
	if _, found, err := sess.Get(s.Context(), "k"); found || err != nil {
		s.Errorf("after the delete: found %v, error %v", found, err)
	}
	o := s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.Delete("missing")
		return t.Err()
	})
	equal(s, "outcome of a turn that deletes a missing key", o.Status, session.Handled)
}

func turnReadsItself(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "old", "1"))
	before := s.load(sess)
	s.say(bot, "1", session.Event{Text: "hi"}, func(ctx context.Context, t *store.Turn) error {
		t.Set("new", "2")
		t.Delete("old")
		t.SetFlag("vip", true)
		t.Move("there")
		t.Reply("done")
		v, found := t.Get("new")
		_, deleted := t.Get("old")
		if v != "2" || !found || deleted || !t.Flag("vip") || t.State() != "there" {
			s.Errorf("in the turn: new %v, old found %v, vip %v, state %q", v, deleted, t.Flag("vip"), t.State())
		}
		chat, err := t.History(ctx, session.All())
		s.ok(err)
		equal(s, "chat in the turn", lines(chat), []string{"u hi", "b done"})
		equal(s, "snapshot of the turn", t.Snapshot().Data, before.Data)

		outside := s.load(sess)
		equal(s, "data outside of the turn", outside.Data, before.Data)
		equal(s, "state outside of the turn", outside.State, before.State)
		equal(s, "version outside of the turn", outside.Version, before.Version)
		equal(s, "chat outside of the turn", s.chat(sess), nil)
		return nil
	})
	snap := s.load(sess)
	equal(s, "data", snap.Data, map[string]any{"new": "2"})
	equal(s, "flag", snap.Flags["vip"], true)
	equal(s, "state", snap.State, "there")
	equal(s, "chat", s.chat(sess), []string{"u hi", "b done"})
}

// fill gives a session something of everything.
func fill(s *scene, bot *store.Bot, id string) *store.Session {
	s.Helper()
	sess := bot.Session(id)
	o := s.say(bot, id, session.Event{Text: "hello", Platform: "telegram", User: "ann"}, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(&session.Intent{Name: "greet"})
		t.Move("elsewhere")
		t.Set("k", "v")
		t.SetFlag("vip", true)
		t.Reply("hi")
		return nil
	})
	equal(s, "outcome of the turn that fills the session", o.Status, session.Handled)
	s.ok(sess.SetFile(s.Context(), session.File{Name: "a.txt", Data: []byte("a")}))
	return sess
}

func resetLive(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{Initial: "s0"})
	for _, keep := range []session.Reset{session.KeepChat, session.DropChat} {
		sess := fill(s, bot, string(keep))
		before := s.load(sess)
		s.ok(sess.Reset(s.Context(), keep))
		afresh(s, sess, before)
		if key, there := s.keys(r.client, sess.Ref())["f"]; there {
			s.Errorf("the key %q still holds the file's bytes", key)
		}
		want := []string{"u hello", "b hi"}
		if keep == session.DropChat {
			want = nil
		}
		equal(s, "chat after a reset", s.chat(sess), want)
		s.ok(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "next"}))
		equal(s, "sequence number after a reset", s.history(sess, session.Last(1))[0].Seq, before.Seq+1)
		again := s.load(sess)
		s.is(sess.Reset(s.Context(), ""), session.ErrInvalid)
		s.is(second(sess.Apply(s.Context(), session.Change{Reset: "all"})), session.ErrInvalid)
		equal(s, "session after a reset that does not say what it keeps", s.load(sess), again)
	}
}

// afresh checks what a reset leaves.
func afresh(s *scene, sess *store.Session, before session.Snapshot) {
	s.Helper()
	snap := s.load(sess)
	equal(s, "state", snap.State, "s0")
	empty(s, snap)
	equal(s, "platform", snap.Platform, "telegram")
	equal(s, "user", snap.User, "ann")
	if snap.Life <= before.Life || snap.Version <= before.Version {
		s.Errorf("life %d and version %d after a reset, %d and %d before", snap.Life, snap.Version, before.Life, before.Version)
	}
	if file, err := sess.File(s.Context()); file != nil || err != nil {
		s.Errorf("file %v, error %v after a reset; want none", file, err)
	}
}

func resetInTurn(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0", MaxAttempts: 1})
	for _, keep := range []session.Reset{session.KeepChat, session.DropChat} {
		id := string(keep)
		sess := fill(s, bot, id)
		before := s.load(sess)
		restart := func(fail error) store.Handler {
			return func(_ context.Context, t *store.Turn) error {
				t.Reset(keep)
				if _, found := t.Get("k"); found || t.State() != "s0" || t.Flag("vip") || t.Intent() != nil || t.File() != nil {
					s.Errorf("after Reset the turn still sees something of the old life")
				}
				t.Reply("from the beginning")
				return fail
			}
		}
		s.say(bot, id, session.Event{Text: "/restart"}, restart(errors.New("no")))
		snap := s.load(sess)
		equal(s, "life after a failed turn", snap.Life, before.Life)
		equal(s, "data after a failed turn", snap.Data, before.Data)
		s.say(bot, id, session.Event{Text: "/restart"}, restart(nil))
		snap = s.load(sess)
		equal(s, "state", snap.State, "s0")
		equal(s, "data", len(snap.Data), 0)
		equal(s, "flags", len(snap.Flags), 0)
		if snap.Intent != nil || snap.File != nil || snap.Message != "" || snap.Life <= before.Life {
			s.Errorf("after the reset: %+v", snap)
		}
		equal(s, "user", snap.User, "ann")
		want := []string{"u hello", "b hi", "u /restart", "u /restart", "b from the beginning"}
		if keep == session.DropChat {
			want = want[3:]
		}
		equal(s, "chat", s.chat(sess), want)
	}
}

func destroyThenCreate(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	sess := fill(s, bot, "1")
	before := s.load(sess)
	dropped, err := sess.Destroy(s.Context())
	s.ok(err)
	equal(s, "dropped", dropped.Events+dropped.Replies, 0)
	s.gone(sess)
	_, err = sess.Destroy(s.Context())
	s.is(err, session.ErrNotFound)
	all, err := gather(bot.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), 0)
	s.create(sess, store.Origin{User: "bob"})
	snap := s.load(sess)
	empty(s, snap)
	equal(s, "state", snap.State, "s0")
	equal(s, "user", snap.User, "bob")
	equal(s, "chat", s.chat(sess), nil)
	if snap.Life <= before.Life {
		s.Errorf("life %d after the destroy, %d before", snap.Life, before.Life)
	}
	if file, err := sess.File(s.Context()); file != nil || err != nil {
		s.Errorf("file %v, error %v; want none", file, err)
	}
}

func destroyInTurn(s *scene) {
	var sent record[string]
	bot := s.replica().bot("bot", &options{Initial: "s0", Send: func(_ context.Context, d store.Delivery) error {
		sent.add(d.Message.String())
		return nil
	}})
	sess := bot.Session("1")
	leave := s.accept(bot, "1", "bye")
	var first []bool
	handler := func(_ context.Context, t *store.Turn) error {
		first = append(first, t.First())
		if t.Event().Text == "bye" {
			t.Set("k", "v")
			t.Reply("farewell")
			t.Destroy()
		}
		return nil
	}
	s.drain(bot, handler)
	s.handled(leave)
	s.gone(sess)
	equal(s, "replies sent", sent.list(), []string{"farewell"})

	s.accept(bot, "1", "hello")
	s.accept(bot, "1", "bye") // a duplicate: its turn is over
	back := s.accept(bot, "1", "hello again")
	s.drain(bot, handler)
	s.handled(back)
	equal(s, "first turns of a life", first, []bool{true, true, false})
	equal(s, "chat of the new life", s.chat(sess), []string{"u hello", "u hello again"})

	waits := bot.Session("2") // both wait before anything is handled
	s.ok(second(bot.Accept(s.Context(), "2", session.Event{ID: "a", Text: "bye"})))
	r, err := bot.Accept(s.Context(), "2", session.Event{ID: "b", Text: "hello"})
	s.ok(err)
	s.drain(bot, handler)
	s.handled(r)
	equal(s, "data of the life that the waiting event started", len(s.load(waits).Data), 0)
	equal(s, "its chat", s.chat(waits), []string{"u hello"})
}

func nothingElseCreates(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := bot.Session("1")
	ctx := s.limited()
	_, applied := sess.Apply(ctx, session.Change{Set: map[string]any{"k": "v"}})
	_, deleted := sess.Delete(ctx, "k")
	_, destroyed := sess.Destroy(ctx)
	_, _, got := sess.Get(ctx, "k")
	_, chat := sess.History(ctx, session.All())
	_, status := sess.Status(ctx)
	_, file := sess.File(ctx)
	for what, err := range map[string]error{
		"Apply": applied, "Delete": deleted, "Destroy": destroyed, "Get": got, "History": chat, "Status": status, "File": file,
		"Set": sess.Set(ctx, "k", "v"), "SetIntent": sess.SetIntent(ctx, nil), "SetFile": sess.SetFile(ctx, session.File{Name: "a"}),
		"SetFlag": sess.SetFlag(ctx, "f", true), "Move": sess.Move(ctx, session.Transition{From: "a", To: "b"}),
		"Reply": sess.Reply(ctx, "hi"), "Record": sess.Record(ctx, session.Message{From: session.FromBot, Content: "hi"}),
		"Touch": sess.Touch(ctx), "SetTTL": sess.SetTTL(ctx, 0), "Reset": sess.Reset(ctx, session.DropChat),
		"Update": second(bot.Update(ctx, "1", func(context.Context, *store.Turn) error { s.Error("Update ran without a session"); return nil })),
	} {
		if !errors.Is(err, session.ErrNotFound) {
			s.Errorf("%s on a session that is not there: %v, want %v", what, err, session.ErrNotFound)
		}
	}
	for kind, key := range s.keys(r.client, sess.Ref()) {
		if kind != "p" { // answers to calls, of seconds
			s.Errorf("key %q was made", key)
		}
	}
}

func createWithData(s *scene) {
	r := s.replicaWith(store.Options{MaxValue: 5000, MaxData: 8000})
	bot := r.bot("bot", nil)
	data := map[string]any{"nil": nil, "": 1}
	_, err := bot.Session("1").Create(s.Context(), store.Origin{Data: data})
	s.is(err, session.ErrInvalid)
	delete(data, "")
	data["large"] = strings.Repeat("x", 5001)
	_, err = bot.Session("1").Create(s.Context(), store.Origin{Data: data})
	s.is(err, session.ErrTooLarge)
	data["large"], data["too"] = strings.Repeat("x", 4500), strings.Repeat("x", 4500)
	_, err = bot.Session("1").Create(s.Context(), store.Origin{Data: data})
	s.is(err, session.ErrTooLarge)
	data["large"], data["too"] = make(chan int), nil
	_, err = bot.Session("1").Create(s.Context(), store.Origin{Data: data})
	s.is(err, session.ErrInvalid)
	s.gone(bot.Session("1"))

	data = map[string]any{"nil": nil, "nested": map[string]any{"list": []any{int64(1), "two"}}}
	for i := range 120 { // more than a script writes at once
		data[fmt.Sprint("key ", i)] = int64(i)
	}
	sess := bot.Session("2")
	r.loseReplies(lua.Create, 1)
	s.create(sess, store.Origin{State: "s0", User: "ann", Data: data})
	snap := s.load(sess)
	equal(s, "data", snap.Data, data)
	equal(s, "state", snap.State, "s0")
	equal(s, "version", snap.Version, 1)
	again, err := sess.Create(s.Context(), store.Origin{Data: map[string]any{"key 1": "other"}})
	s.ok(err)
	equal(s, "created a second time", again, false)
	equal(s, "session after the second Create", s.load(sess), snap)
}
