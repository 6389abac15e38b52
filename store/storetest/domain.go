package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theSession is what a single session is, whoever uses it.
var theSession = []check{
	{promise: "a new session is in its initial state, with its flags down and nothing in it", run: newIsEmpty},          // 1
	{promise: "an event starts a session in the state that its bot says", run: eventStarts},                             // 1
	{promise: "setting an intent, even nil, raises predicted_intent in the same step", run: intentRaisesFlag},           // 2
	{promise: "a file raises file in the same step", run: fileRaisesFlag},                                               // 2
	{promise: "an intent that led to a state does not fire there again", run: intentFiresOnce},                          // 3
	{promise: "an intent that matches nothing goes down with its turn and stays readable", run: intentUnmatched},        // 4
	{promise: "a file after an intent turn fires no intent transition", run: fileAfterIntent},                           // 5
	{promise: "one file fires one of two successive file transitions", run: fileFiresOnce},                              // 6
	{promise: "a turn without a prediction keeps message and chat and leaves the intent as it was", run: noPrediction},  // 7
	{promise: "a move from another state is refused with the state it found, and changes nothing", run: moveFromWrong},  // 8
	{promise: "a live move lowers the flags of intent and file, and keeps both", run: liveMoveConsumes},                 // added
	{promise: "of twenty racing moves one succeeds", run: movesRace},                                                    // 8
	{promise: "a move and the data beside it are written both or neither", run: moveWithData},                           // 9
	{promise: "each move of a turn goes from where the one before left", run: movesInTurn},                              // 9
	{promise: "a missing key is not found; a stored nil, zero or empty string is", run: missingAndNil},                  // 10
	{promise: "deleting a missing key is no error and says so", run: deleteMissing},                                     // 11
	{promise: "a turn reads its own writes, and nothing of it shows before its commit", run: turnReadsItself},           // added
	{promise: "a reset clears the session and keeps or drops the chat as asked", run: resetLive},                        // 14
	{promise: "a reset from inside a turn is part of its commit", run: resetInTurn},                                     // 14
	{promise: "a session created after a destroy is fresh", run: destroyThenCreate},                                     // 15
	{promise: "a destroy from inside a turn still sends its replies, and what waits starts afresh", run: destroyInTurn}, // 15, added
	{promise: "only Accept and Create make a session", run: nothingElseCreates},                                         // added
	{promise: "a session is created with its data, all of it or not at all", run: createWithData},                       // added
}

func newIsEmpty(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "greeting"})
	sess := bot.Session("1")
	before := time.Now().Add(-time.Hour) // generous: the server's clock is not ours
	s.create(sess, store.Origin{Platform: "telegram", User: "ann"})
	snap := s.load(sess)
	if snap.Life == 0 || snap.Created.Before(before) || snap.Active.Before(snap.Created) || !snap.Expires.After(snap.Active) {
		s.Errorf("life %d, created %v, active %v, expires %v: not those of a new session", snap.Life, snap.Created, snap.Active, snap.Expires)
	}
	equal(s, "state", snap.State, "greeting")
	equal(s, "platform", snap.Platform, "telegram")
	equal(s, "user", snap.User, "ann")
	empty(s, snap)
	equal(s, "chat", s.chat(sess), nil)

	again, err := sess.Create(s.Context(), store.Origin{State: "elsewhere", User: "bob"})
	s.ok(err)
	equal(s, "created a second time", again, false)
	equal(s, "session after the second Create", s.load(sess), snap)

	other := bot.Session("2")
	s.create(other, store.Origin{State: "elsewhere"})
	equal(s, "state that Create was given", s.load(other).State, "elsewhere")
}

// empty reports what a session should have lost, or not have yet.
func empty(s *scene, snap session.Snapshot) {
	s.Helper()
	if snap.Flags[session.FlagIntent] || snap.Flags[session.FlagFile] || len(snap.Flags) > 0 {
		s.Errorf("flags up: %v", snap.Flags)
	}
	equal(s, "message", snap.Message, "")
	if snap.Intent != nil || snap.File != nil || len(snap.Data) > 0 {
		s.Errorf("intent %+v, file %+v, data %v; want none", snap.Intent, snap.File, snap.Data)
	}
}

func eventStarts(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "greeting"})
	var first []bool
	var found []session.Snapshot
	note := func(_ context.Context, t *store.Turn) error {
		first, found = append(first, t.First()), append(found, t.Snapshot())
		switch {
		case !t.First():
		case t.Event().Text == "/help":
			t.Move("help")
		default:
			t.Move("small talk")
		}
		return nil
	}
	s.say(bot, "1", session.Event{Text: "/help", Platform: "telegram", User: "ann"}, note)
	s.say(bot, "1", session.Event{Text: "hi", Platform: "web", User: "bob"}, note)
	s.say(bot, "2", session.Event{Text: "hi"}, note)
	equal(s, "first turns of a life", first, []bool{true, false, true})
	equal(s, "state in which the first turn begins", found[0].State, "greeting")
	equal(s, "state of the session that /help started", s.load(bot.Session("1")).State, "help")
	equal(s, "state of the session that hi started", s.load(bot.Session("2")).State, "small talk")
	equal(s, "message in the first turn", found[0].Message, "")
	equal(s, "message in the second turn", found[1].Message, "/help")
	snap := s.load(bot.Session("1"))
	equal(s, "platform", snap.Platform, "telegram")
	equal(s, "user", snap.User, "ann")
	equal(s, "message", snap.Message, "hi")
}

func intentRaisesFlag(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.SetIntent(s.Context(), nil))
	snap := s.load(sess)
	equal(s, "flag after a nil intent", snap.Flags[session.FlagIntent], true)
	equal(s, "intent", snap.Intent, nil)

	want := &session.Intent{Name: "order", Score: 0.75, Sentence: "I want # pizza",
		Params: []session.Param{{Name: "size", Value: "big"}, {Name: "when"}}}
	s.ok(sess.SetFlag(s.Context(), session.FlagIntent, false))
	s.ok(sess.SetIntent(s.Context(), want))
	snap = s.load(sess)
	equal(s, "flag after an intent", snap.Flags[session.FlagIntent], true)
	equal(s, "intent", snap.Intent, want)

	var in []bool
	s.say(bot, "2", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		in = append(in, t.Flag(session.FlagIntent))
		t.SetIntent(nil)
		in = append(in, t.Flag(session.FlagIntent))
		return nil
	})
	equal(s, "flag in a turn, before and after SetIntent", in, []bool{false, true})
}

func fileRaisesFlag(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.SetFile(s.Context(), session.File{Name: "a.pdf", Type: "application/pdf", Data: []byte("%PDF\x00")}))
	snap := s.load(sess)
	equal(s, "flag", snap.Flags[session.FlagFile], true)
	equal(s, "file", snap.File, &session.File{Name: "a.pdf", Type: "application/pdf", Size: 5})
	file, err := sess.File(s.Context())
	s.ok(err)
	equal(s, "file with its bytes", file, &session.File{Name: "a.pdf", Type: "application/pdf", Size: 5, Data: []byte("%PDF\x00")})

	var up bool
	s.say(bot, "2", session.Event{File: &session.File{Name: "b.txt", Data: []byte("b")}}, func(_ context.Context, t *store.Turn) error {
		up = t.Flag(session.FlagFile)
		return nil
	})
	equal(s, "flag in the turn of a file", up, true)
	equal(s, "flag after it", s.load(bot.Session("2")).Flags[session.FlagFile], false)
}

// A small state machine: from s0, k = 1 leads to s1, else the intent hi to s2;
// from s1, the intent hi leads to s3.
func machine(_ context.Context, t *store.Turn) error {
	if t.Event().Text == "hi" {
		t.SetIntent(&session.Intent{Name: "hi", Score: 1})
	}
	if t.State() == "s0" {
		if k, _ := t.Get("k"); k == "1" {
			t.Move("s1")
		} else if t.Match("hi") != nil {
			t.Move("s2")
		}
	}
	if t.State() == "s1" && t.Match("hi") != nil {
		t.Move("s3")
	}
	return nil
}

func intentFiresOnce(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "k", "1"))
	s.say(bot, "1", session.Event{Text: "hi"}, machine)
	snap := s.load(sess)
	equal(s, "state after hi with k = 1", snap.State, "s1")
	equal(s, "flag", snap.Flags[session.FlagIntent], false)
	s.say(bot, "1", session.Event{Text: "mumble"}, machine)
	equal(s, "state after a message without a prediction", s.load(sess).State, "s1")
	s.say(bot, "1", session.Event{Text: "hi"}, machine)
	equal(s, "state after hi was predicted again", s.load(sess).State, "s3")

	s.say(bot, "2", session.Event{Text: "hi"}, machine)
	equal(s, "state after hi without k", s.load(bot.Session("2")).State, "s2")
}

func intentUnmatched(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	intent := &session.Intent{Name: "bye", Score: 0.5}
	s.say(bot, "1", session.Event{Text: "see you"}, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(intent)
		if t.Match("hi") != nil {
			t.Move("s1")
		}
		return nil
	})
	snap := s.load(bot.Session("1"))
	equal(s, "flag", snap.Flags[session.FlagIntent], false)
	equal(s, "state", snap.State, "s0")
	equal(s, "intent", snap.Intent, intent)
}

func fileAfterIntent(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	intent := &session.Intent{Name: "hi", Score: 1}
	sess := bot.Session("1")
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(intent)
		return nil
	})
	s.say(bot, "1", session.Event{File: &session.File{Name: "photo.png", Type: "image/png", Data: []byte{1, 2, 3}}},
		func(_ context.Context, t *store.Turn) error {
			if t.Match("hi") != nil {
				t.Move("s1")
			}
			return nil
		})
	snap := s.load(sess)
	equal(s, "state", snap.State, "s0")
	equal(s, "chat", s.chat(sess), []string{"u hi", "u photo.png"})
	equal(s, "type of the file's message", s.history(sess, session.Last(1))[0].Type, session.FileType)
	equal(s, "message", snap.Message, "photo.png")
	equal(s, "intent", snap.Intent, intent)
}

func fileFiresOnce(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	next := map[string]string{"s0": "s1", "s1": "s2"}
	var bytes []string
	onFile := func(_ context.Context, t *store.Turn) error {
		for range 2 {
			if f := t.MatchFile("image/png"); f != nil {
				bytes = append(bytes, string(f.Data))
				t.Move(next[t.State()])
			}
		}
		if t.MatchFile("text/plain") != nil {
			t.Move("nowhere")
		}
		return nil
	}
	sess := bot.Session("1")
	s.say(bot, "1", session.Event{File: &session.File{Name: "a.png", Type: "image/png", Data: []byte("png")}}, onFile)
	equal(s, "state after one file", s.load(sess).State, "s1")
	s.say(bot, "1", session.Event{Text: "no file"}, onFile)
	equal(s, "state after a message without one", s.load(sess).State, "s1")
	equal(s, "bytes that the handler saw", bytes, []string{"png"})
	file, err := sess.File(s.Context())
	s.ok(err)
	equal(s, "file that is kept", file, &session.File{Name: "a.png", Type: "image/png", Size: 3, Data: []byte("png")})
}

func noPrediction(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	intent := &session.Intent{Name: "hi", Score: 1}
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(intent)
		return nil
	})
	s.say(bot, "1", session.Event{Text: "the classifier is down"}, func(context.Context, *store.Turn) error { return nil })
	snap := s.load(sess)
	equal(s, "message", snap.Message, "the classifier is down")
	equal(s, "chat", s.chat(sess), []string{"u hi", "u the classifier is down"})
	equal(s, "intent", snap.Intent, intent)
	equal(s, "flag", snap.Flags[session.FlagIntent], false)
}

func moveFromWrong(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.SetIntent(s.Context(), &session.Intent{Name: "hi"}))
	s.ok(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "hello"}))
	before, chat := s.load(sess), s.chat(sess)
	for what, err := range map[string]error{
		"Move": sess.Move(s.Context(), session.Transition{From: "s1", To: "s2"}),
		"Apply": second(sess.Apply(s.Context(), session.Change{
			From: "s1", Moves: []string{"s2"}, Set: map[string]any{"k": "v"}, Flags: map[string]bool{"f": true},
			Chat: []session.Entry{{Message: session.Message{From: session.FromBot, Content: "moved"}}},
		})),
	} {
		s.is(err, session.ErrWrongState)
		var state *session.StateError
		if !errors.As(err, &state) || state.Found != "s0" || state.Want != "s1" || state.Ref != sess.Ref() {
			s.Errorf("%s: %+v, want a StateError of %s that found s0 and not s1", what, state, sess.Ref())
		}
	}
	equal(s, "session after refused moves", s.load(sess), before)
	equal(s, "chat after refused moves", s.chat(sess), chat)
}

func liveMoveConsumes(s *scene) {
	sess := s.bot().Session("1")
	s.create(sess, store.Origin{State: "s0"})
	raise := func() {
		s.ok(sess.SetIntent(s.Context(), &session.Intent{Name: "hi"}))
		s.ok(sess.SetFile(s.Context(), session.File{Name: "f"}))
		s.ok(sess.SetFlag(s.Context(), "vip", true))
	}
	raise()
	s.ok(sess.Move(s.Context(), session.Transition{From: "s0", To: "s1"}))
	snap := s.load(sess)
	equal(s, "flags after Move", snap.Flags, map[string]bool{"vip": true})
	if snap.Intent == nil || snap.File == nil {
		s.Errorf("intent %v, file %v after Move: want both readable", snap.Intent, snap.File)
	}
	raise()
	_, err := sess.Apply(s.Context(), session.Change{Moves: []string{"s2", "s1"}})
	s.ok(err)
	equal(s, "flags after Apply with moves", s.load(sess).Flags, map[string]bool{"vip": true})
}

func second[T any](_ T, err error) error { return err }

func movesRace(s *scene) {
	bots := []*store.Bot{s.bot(), s.bot(), s.bot()}
	s.create(bots[0].Session("1"), store.Origin{State: "a"})
	errs := make([]error, 20)
	together(s, len(errs), func(i int) {
		errs[i] = bots[i%len(bots)].Session("1").Move(s.Context(), session.Transition{From: "a", To: "b"})
	})
	var moved int
	for _, err := range errs {
		if err == nil {
			moved++
		} else {
			s.is(err, session.ErrWrongState)
		}
	}
	equal(s, "moves that succeeded", moved, 1)
	counts, err := bots[0].Counts(s.Context())
	s.ok(err)
	equal(s, "moves counted", counts.Moves, []store.Flow{{Transition: session.Transition{From: "a", To: "b"}, Count: 1}})
}

func moveWithData(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "ordering", MaxAttempts: 1})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	into := session.Change{From: "elsewhere", Moves: []string{"help"}, Set: map[string]any{"prev_state": "ordering"}}
	s.is(second(sess.Apply(s.Context(), into)), session.ErrWrongState)
	snap := s.load(sess)
	equal(s, "state after a refused change", snap.State, "ordering")
	equal(s, "data after a refused change", len(snap.Data), 0)
	into.From = "ordering"
	_, err := sess.Apply(s.Context(), into)
	s.ok(err)
	s.ok(sess.Move(s.Context(), session.Transition{From: "help", To: "ordering"}))
	snap = s.load(sess)
	equal(s, "state after coming back", snap.State, "ordering")
	equal(s, "data after coming back", snap.Data, map[string]any{"prev_state": "ordering"})

	help := func(fail error) store.Handler {
		return func(_ context.Context, t *store.Turn) error {
			t.Set("prev_state", t.State())
			t.Move("help")
			return fail
		}
	}
	other := bot.Session("2")
	s.say(bot, "2", session.Event{Text: "/help"}, help(errors.New("no")))
	snap = s.load(other)
	equal(s, "state after a failed turn", snap.State, "ordering")
	equal(s, "data after a failed turn", len(snap.Data), 0)
	s.say(bot, "2", session.Event{Text: "/help"}, help(nil))
	snap = s.load(other)
	equal(s, "state after the turn", snap.State, "help")
	equal(s, "data after the turn", snap.Data, map[string]any{"prev_state": "ordering"})
}

func movesInTurn(s *scene) {
	bot := s.replica().bot("bot", &options{Initial: "s0"})
	var states []string
	var matches []bool
	s.say(bot, "1", session.Event{Text: "hi"}, func(_ context.Context, t *store.Turn) error {
		t.SetIntent(&session.Intent{Name: "hi"})
		for _, to := range []string{"s1", "s2", "s3"} {
			states, matches = append(states, t.State()), append(matches, t.Match("hi") != nil)
			t.Move(to)
		}
		return nil
	})
	equal(s, "states on the way", states, []string{"s0", "s1", "s2"})
	equal(s, "matches on the way", matches, []bool{true, false, false})
	equal(s, "state", s.load(bot.Session("1")).State, "s3")
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	slices.SortFunc(counts.Moves, func(a, b store.Flow) int { return int(a.From[1]) - int(b.From[1]) })
	equal(s, "moves counted", counts.Moves, []store.Flow{
		{Transition: session.Transition{From: "s0", To: "s1"}, Count: 1},
		{Transition: session.Transition{From: "s1", To: "s2"}, Count: 1},
		{Transition: session.Transition{From: "s2", To: "s3"}, Count: 1},
	})
}
