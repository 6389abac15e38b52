package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theIDs are names and values, however odd.
var theIDs = []check{
	{promise: "a value that cannot be encoded fails for its key alone, and names it", run: unencodable},                        // 16
	{promise: "the same id on another bot is another session", run: sameIDElsewhere},                                           // 17
	{promise: "no id, however it is written, touches another session", run: hostileIDs, heavy: true},                           // 17
	{promise: "names that cannot be right are refused before anything is sent", run: invalidNames},                             // added
	{promise: "states, keys, flags and users may hold anything that an index or a pattern might trip over", run: hostileNames}, // added
	{promise: "two namespaces on one server are apart", run: namespaces},                                                       // added
}

func unencodable(s *scene) {
	bot := s.replica().bot("bot", &options{MaxAttempts: 1})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "good", "1"))
	before := s.load(sess)
	for what, bad := range map[string]any{"a channel": make(chan int), "a function": func() {}, "one deep inside": []any{map[string]any{"x": make(chan int)}}} {
		set := sess.Set(s.Context(), "bad key", bad)
		_, both := sess.Apply(s.Context(), session.Change{Set: map[string]any{"good": "2", "bad key": bad}, Moves: []string{"s1"}})
		for _, err := range []error{set, both} {
			if !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "bad key") {
				s.Errorf("%s: %v, want %v and the name of the key", what, err, session.ErrInvalid)
			}
		}
	}
	equal(s, "session after refused values", s.load(sess), before)
	s.ok(sess.Set(s.Context(), "good", "3"))

	o := s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.Set("good", "4")
		t.Set("bad key", make(chan int))
		if err := t.Err(); err == nil || !strings.Contains(err.Error(), "bad key") {
			s.Errorf("Err in the turn: %v, want the name of the key", err)
		}
		return nil
	})
	equal(s, "outcome of a turn that set such a value", o.Status, session.Dead)
	if !strings.Contains(o.Reason, "bad key") {
		s.Errorf("error of the dead letter: %q, want the name of the key", o.Reason)
	}
	equal(s, "data", s.load(sess).Data, map[string]any{"good": "3"})
}

func sameIDElsewhere(s *scene) {
	r := s.replica()
	names := []string{"a", "b", "a.b", "A", "a:1", "a-b", "a_b", strings.Repeat("n", session.MaxBot)}
	for _, name := range names {
		sess := r.bot(name, nil).Session("1")
		s.create(sess, store.Origin{State: "of-" + name})
		s.ok(sess.Set(s.Context(), "bot", name))
	}
	for _, name := range names {
		bot := r.bot(name, nil)
		snap := s.load(bot.Session("1"))
		equal(s, "state on "+name, snap.State, "of-"+name)
		equal(s, "data on "+name, snap.Data, map[string]any{"bot": name})
		counts, err := bot.Counts(s.Context())
		s.ok(err)
		equal(s, "states on "+name, counts.States, map[string]int64{"of-" + name: 1})
	}
	s.ok(second(r.bot("a", nil).Session("1").Destroy(s.Context())))
	equal(s, "the other bot's after one is destroyed", s.load(r.bot("b", nil).Session("1")).State, "of-b")
	bots, err := r.Bots(s.Context())
	s.ok(err)
	equal(s, "bots", bots, []string{"A", "a", "a-b", "a.b", "a:1", "a_b", "b", strings.Repeat("n", session.MaxBot)})
}

var idsToTry = []string{
	"a", "A", "a:1", "a/b", "/a", "a/", "{a}", "{a", "a}", "}{", "{}", "{}a", " ", "  ", "a b", "\x00", "a\x00", "a\x00b", "\n", "\r\n", "\t",
	"*", "a*", "?", "[a]", "[^a]", `\`, `\a`, `"a"`, "'", "%s", "%00", "😀", "e\u0301", "\u00e9", "\u202ea", "\xff", "\xff\xfe", "0", "00", "-1", "1e3",
	"bot/a", "s:bot/a", "i:bot", "d:k", "f:f", "nil", "sa\x00a", "ua", "\x00\x00", strings.Repeat("x", session.MaxID), strings.Repeat("\x00", session.MaxID),
	strings.Repeat("x", session.MaxID-1), strings.Repeat("😀", session.MaxID/4),
}

func hostileIDs(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	states := map[string]string{} // what should be there, by id
	for i, id := range idsToTry {
		state := fmt.Sprint("s", i)
		s.create(bot.Session(id), store.Origin{State: "s0", User: "u"})
		s.ok(bot.Session(id).Set(s.Context(), "id", []byte(id)))
		s.say(bot, id, session.Event{ID: id, Text: "hi"}, func(_ context.Context, t *store.Turn) error {
			equal(s, "id in its turn", t.Ref().ID, id)
			t.Move(state)
			t.Reply(state)
			return nil
		})
		states[id] = state
	}
	check := func() {
		s.Helper()
		for id, state := range states {
			snap := s.load(bot.Session(id))
			own := snap.Data["id"]
			if snap.State != state || string(own.([]byte)) != id || snap.Ref.ID != id {
				s.Errorf("session %q: state %q, id %q, ref %q; want state %q", id, snap.State, own, snap.Ref.ID, state)
			}
			equal(s, fmt.Sprintf("chat of %q", id), s.chat(bot.Session(id)), []string{"u hi", "b " + state})
		}
		for what, filter := range map[string]store.Filter{"all": {}, "of the user u": {User: "u"}} {
			all, err := gather(bot.Sessions(s.Context(), filter))
			s.ok(err)
			found := map[string]string{}
			for _, status := range all {
				found[status.Ref.ID] = status.State
			}
			equal(s, "sessions listed: "+what, found, states)
			equal(s, "number of sessions listed: "+what, len(all), len(states))
		}
	}
	check()
	for i, id := range idsToTry {
		one, err := gather(bot.Sessions(s.Context(), store.Filter{State: fmt.Sprint("s", i)}))
		s.ok(err)
		if len(one) != 1 || one[0].Ref.ID != id {
			s.Errorf("sessions in state s%d: %+v, want one, %q", i, one, id)
		}
		if i%2 == 0 {
			s.ok(second(bot.Session(id).Destroy(s.Context())))
			delete(states, id)
		}
	}
	check()
}

func hostileNames(s *scene) {
	bot := s.bot()
	names := []string{"a", "a b", "*", "[a]", "{a}", "é", "😀", "\xff", "a:b", "a\tb", "0", "", "s", "u", strings.Repeat("y", session.MaxState)}
	for i, name := range names {
		state := name
		if state == "" {
			state = "no state is empty"
		}
		sess := bot.Session(fmt.Sprint(i))
		s.create(sess, store.Origin{State: state, User: name, Platform: name})
		key := name + "\x00" // any byte may be in a key
		if len(key) > session.MaxKey {
			key = name
		}
		s.ok(sess.Set(s.Context(), key, name))
		s.ok(sess.SetFlag(s.Context(), key, true))
		snap := s.load(sess)
		equal(s, "state", snap.State, state)
		equal(s, "user", snap.User, name)
		equal(s, "platform", snap.Platform, name)
		equal(s, "flags", snap.Flags, map[string]bool{key: true})
		if _, found := snap.Data[key]; !found || len(snap.Data) != 1 {
			s.Errorf("data %q, want the key %q", snap.Data, key)
		}
		for what, filter := range map[string]store.Filter{"state": {State: state}, "user": {User: name}} {
			if what == "user" && name == "" {
				continue // means any
			}
			one, err := gather(bot.Sessions(s.Context(), filter))
			s.ok(err)
			if len(one) != 1 || one[0].Ref != sess.Ref() {
				s.Errorf("sessions by the %s %q: %+v, want %s", what, name, one, sess.Ref())
			}
		}
	}
}

func invalidNames(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	ctx := s.Context()
	long := strings.Repeat("x", session.MaxID+1)
	create := func(bot *store.Bot, id string, o store.Origin) error { return second(bot.Session(id).Create(ctx, o)) }
	accept := func(id string, e session.Event) error { return second(bot.Accept(ctx, id, e)) }
	before := s.dump(r.client)
	for what, err := range map[string]error{
		"an empty id":               create(bot, "", store.Origin{}),
		"a long id":                 create(bot, long, store.Origin{}),
		"a bot without a name":      second(r.tryBot("", nil)),
		"a bot with a slash":        second(r.tryBot("a/b", nil)),
		"a bot with a brace":        second(r.tryBot("{a}", nil)),
		"a long bot name":           second(r.tryBot(strings.Repeat("n", session.MaxBot+1), nil)),
		"a state with a NUL":        create(bot, "2", store.Origin{State: "a\x00b"}),
		"a user with a NUL":         create(bot, "2", store.Origin{User: "a\x00b"}),
		"a negative option":         second(r.tryBot("other", &options{MaxAttempts: -1})),
		"an event without an id":    accept("1", session.Event{Text: "hi"}),
		"an event with a long id":   accept("1", session.Event{ID: long, Text: "hi"}),
		"an event for an empty id":  accept("", session.Event{ID: "e"}),
		"an event of a NUL user":    accept("2", session.Event{ID: "e", User: "\x00"}),
		"a file without a name":     accept("1", session.Event{ID: "e", File: &session.File{}}),
		"a set file without a name": sess.SetFile(ctx, session.File{}),
		"an empty key":              sess.Set(ctx, "", "v"),
		"a long key":                sess.Set(ctx, strings.Repeat("k", session.MaxKey+1), "v"),
		"an empty flag":             sess.SetFlag(ctx, "", true),
		"a move to nowhere":         sess.Move(ctx, session.Transition{From: "start"}),
		"a move from nowhere":       sess.Move(ctx, session.Transition{To: "start"}),
		"a long state":              sess.Move(ctx, session.Transition{From: "start", To: strings.Repeat("s", session.MaxState+1)}),
		"a message of a NUL type":   sess.ReplyWith(ctx, session.Message{Type: "a\x00b", Content: "la"}),
	} {
		if !errors.Is(err, session.ErrInvalid) {
			s.Errorf("%s: %v, want %v", what, err, session.ErrInvalid)
		}
	}
	equal(s, "what is stored after refused names", s.dump(r.client), before)
}

func namespaces(s *scene) {
	a, b := s.replica().bot("bot", nil), s.bot()
	other := &scene{T: s.T, connect: s.connect, space: s.space + "x"}
	s.Cleanup(other.sweep)
	c := other.bot()
	s.create(a.Session("1"), store.Origin{State: "here"})
	s.create(c.Session("1"), store.Origin{State: "there"})
	equal(s, "in the same namespace", s.load(b.Session("1")).State, "here")
	equal(s, "in the other namespace", s.load(c.Session("1")).State, "there")
	all, err := gather(a.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed in one namespace", len(all), 1)
}
