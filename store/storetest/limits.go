package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theLimits is what is refused, and what is large and not.
var theLimits = []check{
	{promise: "a full inbox refuses an event, records nothing of it, and takes it later", run: inboxFull},  // 31
	{promise: "an inbox has a limit in bytes, too", run: inboxBytes},                                       // added
	{promise: "what is too large is refused, names what it was, and changes nothing", run: tooLarge},       // added
	{promise: "large data comes back as it was", run: largeData},                                           // added
	{promise: "a store with another number of buckets is refused, and says what to do", run: otherBuckets}, // added
	{promise: "a read-only store reads all and writes nothing", run: readOnly},                             // added
}

func inboxFull(s *scene) {
	const limit = 5
	bot := s.replica().bot("bot", &options{InboxLimit: limit})
	sess := bot.Session("1")
	for i := range limit {
		s.accept(bot, "1", fmt.Sprint(i))
	}
	before := s.load(sess)
	for range 2 {
		_, err := bot.Accept(s.Context(), "1", session.Event{ID: "more", Text: "more"})
		s.is(err, session.ErrInboxFull)
	}
	equal(s, "events waiting", s.status(sess).Waiting, limit)
	equal(s, "session after refused events", s.load(sess), before)
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	_, err := bot.Receipt("1", "more").Wait(ctx)
	s.is(err, session.ErrNotFound)
	again := s.accept(bot, "1", "0")
	equal(s, "duplicate of an event in a full inbox", again.Duplicate, true)
	s.accept(bot, "2", "another session is not full")

	equal(s, "turns", s.drain(bot, echo), limit+1)
	r := s.accept(bot, "1", "more")
	equal(s, "the event that was refused is a duplicate", r.Duplicate, false)
	s.drain(bot, echo)
	equal(s, "replies", lines(s.handled(r)), []string{"b re more"})
}

func inboxBytes(s *scene) {
	bot := s.replica().bot("bot", &options{InboxBytes: 5000})
	accept := func(id string) error {
		return second(bot.Accept(s.Context(), "1", session.Event{ID: id, Text: strings.Repeat("x", 2000)}))
	}
	for round := range 3 { // the count goes down again as events are handled
		s.ok(accept(fmt.Sprint(round, "a")))
		s.ok(accept(fmt.Sprint(round, "b")))
		s.is(accept(fmt.Sprint(round, "c")), session.ErrInboxFull)
		s.ok(second(bot.Accept(s.Context(), "1", session.Event{ID: fmt.Sprint(round, "d"), Text: "a small one"})))
		equal(s, "turns", s.drain(bot, func(context.Context, *store.Turn) error { return nil }), 3)
	}
}

func tooLarge(s *scene) {
	const most = 1000
	r := s.replicaWith(store.Options{MaxValue: most})
	bot := r.bot("bot", &options{MaxAttempts: 1})
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Set(s.Context(), "small", "v"))
	large, data := strings.Repeat("x", most+1), bytes.Repeat([]byte("x"), most+1)
	before := s.dump(r.client)
	ctx := s.Context()
	for what, err := range map[string]error{
		"the big key":   sess.Set(ctx, "the big key", large),
		"beside others": second(sess.Apply(ctx, session.Change{Set: map[string]any{"small": "w", "beside others": large}, Moves: []string{"s1"}})),
		"message":       sess.Reply(ctx, large),
		"big.bin":       sess.SetFile(ctx, session.File{Name: "big.bin", Data: data}),
		"intent":        sess.SetIntent(ctx, &session.Intent{Name: "i", Sentence: large}),
		"the big event": second(bot.Accept(ctx, "1", session.Event{ID: "the big event", Text: large})),
		"of a new one":  second(bot.Accept(ctx, "2", session.Event{ID: "of a new one", File: &session.File{Name: "f", Data: data}})),
	} {
		if !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), what) {
			s.Errorf("%s: %v, want %v and what it was", what, err, session.ErrTooLarge)
		}
	}
	equal(s, "what is stored after refused values", s.dump(r.client), before)
	for what, verb := range map[string]func(t *store.Turn){
		"the big key": func(t *store.Turn) { t.Set("the big key", large) },
		"message":     func(t *store.Turn) { t.Reply(large) },
		"intent":      func(t *store.Turn) { t.SetIntent(&session.Intent{Name: "i", Sentence: large}) },
	} {
		o := s.say(bot, "1", session.Event{Text: what}, func(_ context.Context, t *store.Turn) error {
			t.Set("small", "w")
			verb(t)
			s.is(t.Err(), session.ErrTooLarge)
			return nil
		})
		if o.Status != session.Dead || !strings.Contains(o.Reason, what) {
			s.Errorf("outcome %+v of a turn with too large a value, want it dead, with %q", o, what)
		}
	}
	equal(s, "data", s.load(sess).Data, map[string]any{"small": "v"})
	s.ok(sess.Set(ctx, "fits", strings.Repeat("x", most-10)))
}

func largeData(s *scene) {
	bot := s.bot()
	sess := bot.Session("1")
	s.create(sess, store.Origin{})
	file := bytes.Repeat([]byte{0, 1, 0xff, '\n'}, 200<<10/4)
	text := strings.Repeat("long ", 40<<10)
	s.ok(sess.SetFile(s.Context(), session.File{Name: "f", Data: file}))
	change := session.Change{Set: map[string]any{}, Flags: map[string]bool{}}
	for i := range 400 { // more than a script can take as arguments of one command
		change.Set[fmt.Sprint("key ", i)] = fmt.Sprint(i)
		change.Flags[fmt.Sprint("flag ", i)] = true
	}
	change.Set["text"] = text
	_, err := sess.Apply(s.Context(), change)
	s.ok(err)
	snap := s.load(sess)
	equal(s, "keys", len(snap.Data), 401)
	equal(s, "flags", len(snap.Flags), 401) // the file's, too
	equal(s, "a value", snap.Data["key 399"], "399")
	if snap.Data["text"] != text {
		s.Errorf("the long text has changed")
	}
	got, err := sess.File(s.Context())
	s.ok(err)
	if !bytes.Equal(got.Data, file) || got.Size != int64(len(file)) {
		s.Errorf("the file has changed: %d bytes, want %d", len(got.Data), len(file))
	}
	s.say(bot, "1", session.Event{Text: text}, echo)
	equal(s, "length of the reply", len(s.history(sess, session.Last(1))[0].String()), len("re ")+len(text))
	moves := make([]string, 300)
	for i := range moves {
		moves[i] = fmt.Sprint("state ", i%7)
	}
	_, err = sess.Apply(s.Context(), session.Change{Moves: moves, Delete: []string{"text"}, Reset: session.DropChat})
	s.ok(err)
	snap = s.load(sess)
	equal(s, "state", snap.State, moves[299])
	equal(s, "data after the reset", len(snap.Data), 0)
}

func otherBuckets(s *scene) {
	r := s.replicaWith(store.Options{Buckets: 16})
	s.create(r.bot("bot", nil).Session("1"), store.Origin{})
	_, err := store.New(s.Context(), r.client, &store.Options{Namespace: s.space, Buckets: 17})
	s.is(err, session.ErrInvalid)
	if err != nil && !strings.Contains(err.Error(), "16") {
		s.Errorf("error %q, want the number that the data was divided into", err)
	}
	for _, buckets := range []int{0, 16} {
		st, err := store.New(s.Context(), r.client, &store.Options{Namespace: s.space, Buckets: buckets})
		s.ok(err)
		bot, err := st.Bot(s.Context(), "bot", nil)
		s.ok(err)
		equal(s, "state", s.load(bot.Session("1")).State, "start")
	}
	for _, bad := range []store.Options{{Buckets: -1}, {Buckets: 5000}, {Namespace: "a:b"}, {Namespace: "{a}"}, {Timeout: -1}} {
		_, err := store.New(s.Context(), r.client, &bad)
		s.is(err, session.ErrInvalid)
	}
}

func readOnly(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	sess := fill(s, bot, "1")
	st, err := store.New(s.Context(), r.client, &store.Options{Namespace: s.space, ReadOnly: true})
	s.ok(err)
	before := s.dump(r.client)
	looking, err := st.Bot(s.Context(), "bot", nil)
	s.ok(err)
	own := looking.Session("1")
	equal(s, "session", s.load(own), s.load(sess))
	equal(s, "chat", s.chat(own), s.chat(sess))
	s.status(own)
	all, err := gather(looking.Sessions(s.Context(), store.Filter{}))
	s.ok(err)
	equal(s, "sessions listed", len(all), 1)
	_, err = looking.Counts(s.Context())
	s.ok(err)
	ctx := s.limited()
	_, created := own.Create(ctx, store.Origin{})
	_, destroyed := own.Destroy(ctx)
	_, accepted := looking.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"})
	_, drained := looking.Drain(ctx, echo, nil)
	for what, err := range map[string]error{
		"Create": created, "Destroy": destroyed, "Accept": accepted, "Set": own.Set(ctx, "k", "w"), "Touch": own.Touch(ctx),
		"Reset": own.Reset(ctx, session.DropChat), "Update": second(looking.Update(ctx, "1", echo)), "Serve": looking.Serve(ctx, echo, nil),
	} {
		if !errors.Is(err, session.ErrReadOnly) {
			s.Errorf("%s on a read-only store: %v, want %v", what, err, session.ErrReadOnly)
		}
	}
	if drained != nil {
		s.is(drained, session.ErrReadOnly)
	}
	equal(s, "what is stored", s.dump(r.client), before)

	empty := &scene{T: s.T, connect: s.connect, space: s.space + "x"}
	_, err = store.New(s.Context(), r.client, &store.Options{Namespace: empty.space, ReadOnly: true})
	s.ok(err)
	keys, err := scan(s.Context(), r.client, empty.space+":*")
	s.ok(err)
	equal(s, "keys that opening a read-only store made", len(keys), 0)
}
