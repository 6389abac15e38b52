package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theLetters is what a person can do with dead letters: added.
var theLetters = []check{
	{promise: "an event that is redelivered is handled with all its attempts under its own ID, and its message comes into the chat once", run: redelivers},
	{promise: "an event can be redelivered after each of its deaths, and a duplicate stays one", run: redeliversAgain},
	{promise: "a redelivered event comes behind what waits, also while a turn runs", run: redeliversBehind},
	{promise: "a redelivered event whose session is gone makes it anew, says so, and brings its message", run: redeliversIntoNothing},
	{promise: "a redelivered event brings its message into a chat that was dropped meanwhile", run: redeliversIntoANewChat},
	{promise: "a full inbox takes no redelivered event, and the letter stays", run: redeliversIntoAFullInbox},
	{promise: "a redelivered event is dropped as any other", run: redeliversWhatIsDropped},
	{promise: "a redelivered reply is sent behind the others under its old key, and the chat stays as it is", run: redeliversAReply},
	{promise: "a reply of a session that is gone is not redelivered, and its letter stays", run: redeliversAReplyToNobody},
	{promise: "a discarded letter is gone, also of a session that is, and its event stays dead", run: discards},
	{promise: "an act on a letter that is not there changes nothing", run: lettersTooLate},
	{promise: "an act on a letter that a handler calls for its own session is refused", run: lettersInTurn},
	{promise: "an act on a letter is in the audit once", run: lettersInAudit},
	{promise: "Erase removes a user's sessions and letters, and leaves nothing of them but digests, which keep duplicates away", run: erases},
	{promise: "Erase fences the turn in hand, and drops what waits", run: erasesInHand},
	{promise: "Erase takes the user's letters out of the sessions of others, and names and reasons out of the audit", run: erasesLetters},
	{promise: "Erase of nobody changes nothing, and one without a user and ids is refused", run: erasesNobody},
}

// A deadScene has a session with the dead letter of the event "bad".
type deadScene struct {
	bot    *store.Bot
	sess   *store.Session
	bad    *store.Receipt
	letter session.DeadLetter
	broken atomic.Bool // broken is whether the handler still fails
	tries  record[session.Event]
}

// dead has that event with a file, which the handler gives up at once.
func (s *scene) dead(opts options) *deadScene {
	s.Helper()
	opts.Lease = longLease
	opts.MaxAttempts = 1
	d := &deadScene{bot: s.replica().bot("bot", &opts)}
	d.sess = d.bot.Session("1")
	d.broken.Store(true)
	s.serve(d.bot, func(ctx context.Context, t *store.Turn) error {
		d.tries.add(t.Event())
		return failing(&d.broken)(ctx, t)
	})
	var err error
	d.bad, err = d.bot.Accept(s.Context(), "1", session.Event{
		ID: "bad", Text: "bad", Platform: "web", User: "ann", File: &session.File{Name: "a.txt", Type: "text/plain", Data: []byte("bytes")},
	})
	s.ok(err)
	equal(s, "outcome", s.outcome(d.bad).Status, session.Dead)
	d.letter = s.letters(d.sess, 1)[0]
	return d
}

// letters reads the dead letters of a session, of which there are so many.
func (s *scene) letters(sess *store.Session, n int) []session.DeadLetter {
	s.Helper()
	letters, err := sess.DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != n {
		s.Fatalf("%d dead letters, want %d: %+v", len(letters), n, letters)
	}
	return letters
}

// listed reports how many dead letters the bot's list has.
func (s *scene) listed(bot *store.Bot) (n int) {
	s.Helper()
	for _, err := range bot.DeadLetters(s.Context()) {
		s.ok(err)
		n++
	}
	return n
}

func redelivers(s *scene) {
	d := s.dead(options{})
	before := s.status(d.sess)
	d.broken.Store(false)
	r, err := d.sess.Redeliver(s.Context(), d.letter.Time)
	s.ok(err)
	if r.EventID != "bad" || r.Ref != d.sess.Ref() || r.Created || r.Duplicate {
		s.Errorf("receipt %+v", r)
	}
	equal(s, "replies", lines(s.handled(r)), []string{"b re bad"})
	equal(s, "outcome of the first receipt", s.outcome(d.bad).Status, session.Dead)
	equal(s, "outcome by the platform's id", s.outcome(d.bot.Receipt("1", "bad")).Status, session.Dead)
	equal(s, "chat", s.chat(d.sess), []string{"u a.txt", "u bad", "b re bad"})
	tries := d.tries.list()
	if len(tries) != 2 || tries[1].ID != "bad" || tries[1].User != "ann" || tries[1].File == nil || string(tries[1].File.Data) != "bytes" {
		s.Errorf("the handler got %+v", tries)
	}
	f, err := d.sess.File(s.Context())
	s.ok(err)
	if f == nil || f.Name != "a.txt" || string(f.Data) != "bytes" {
		s.Errorf("the session's file: %+v", f)
	}
	equal(s, "when the session was created", s.status(d.sess).Created, before.Created)
	s.letters(d.sess, 0)
	equal(s, "letters of the bot", s.listed(d.bot), 0)
}

func redeliversAgain(s *scene) {
	d := s.dead(options{})
	last := d.letter
	for range 2 {
		r, err := d.sess.Redeliver(s.Context(), last.Time)
		s.ok(err)
		o := s.outcome(r)
		equal(s, "outcome", o.Status, session.Dead)
		equal(s, "reason", o.Reason, errBilling.Error())
		letter := s.letters(d.sess, 1)[0]
		if letter.Event == nil || letter.Event.ID != "bad" || letter.Failures != 1 || !letter.Time.After(last.Time) {
			s.Errorf("letter %+v behind %+v", letter, last)
		}
		s.is(second(d.sess.Redeliver(s.Context(), last.Time)), session.ErrChanged)
		last = letter
	}
	d.broken.Store(false)
	r, err := d.sess.Redeliver(s.Context(), last.Time)
	s.ok(err)
	late := s.accept(d.bot, "1", "bad")
	equal(s, "duplicate", late.Duplicate, true)
	s.handled(r)
	equal(s, "duplicate afterwards", s.accept(d.bot, "1", "bad").Duplicate, true)
	equal(s, "outcome of the duplicate", s.outcome(late).Status, session.Dead)
	equal(s, "chat", s.chat(d.sess), []string{"u a.txt", "u bad", "b re bad"})
	equal(s, "tries", len(d.tries.list()), 4)
}

func redeliversBehind(s *scene) {
	g := s.gate()
	var hold atomic.Bool
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1, Lazy: true})
	sess := bot.Session("1")
	var broken atomic.Bool
	broken.Store(true)
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if hold.CompareAndSwap(true, false) {
			g.pass()
		}
		return failing(&broken)(ctx, t)
	})
	equal(s, "outcome", s.outcome(s.accept(bot, "1", "bad")).Status, session.Dead)
	letter := s.letters(sess, 1)[0]
	broken.Store(false)
	hold.Store(true)
	first := s.accept(bot, "1", "first")
	s.happens("the turn runs", g.arrived)
	token := s.status(sess).Lease.Token
	s.accept(bot, "1", "second")
	r, err := sess.Redeliver(s.Context(), letter.Time)
	s.ok(err)
	equal(s, "events that wait", s.status(sess).Waiting, 3)
	equal(s, "token", s.status(sess).Lease.Token, token)
	last := s.accept(bot, "1", "last")
	equal(s, "chat with what waits", lines(s.history(sess, session.All().WithWaiting())), []string{"u bad", "u first", "u second", "u last"})
	g.open()
	s.handled(first)
	s.handled(r)
	s.handled(last)
	equal(s, "chat", s.chat(sess), []string{"u bad", "u first", "b re first", "u second", "b re second", "b re bad", "u last", "b re last"})
}

func redeliversIntoNothing(s *scene) {
	d := s.dead(options{})
	s.ok(second(d.sess.Destroy(s.Context())))
	d.broken.Store(false)
	r, err := d.sess.Redeliver(s.Context(), d.letter.Time)
	s.ok(err)
	equal(s, "created", r.Created, true)
	s.handled(r)
	equal(s, "chat", s.chat(d.sess), []string{"u a.txt", "u bad", "b re bad"})
	snap := s.load(d.sess)
	equal(s, "user", snap.User, "ann")
	equal(s, "platform", snap.Platform, "web")
	n := 0
	for st, err := range d.bot.Sessions(s.Context(), store.Filter{User: "ann"}) {
		s.ok(err)
		equal(s, "session of the user", st.Ref, d.sess.Ref())
		n++
	}
	equal(s, "sessions of the user", n, 1)
	equal(s, "duplicate", s.accept(d.bot, "1", "bad").Duplicate, true)
	equal(s, "letters of the bot", s.listed(d.bot), 0)
}

func redeliversIntoANewChat(s *scene) {
	d := s.dead(options{})
	time.Sleep(2 * time.Millisecond) // the letter has the moment of its making, to the millisecond
	s.ok(d.sess.Reset(s.Context(), session.DropChat))
	d.broken.Store(false)
	r, err := d.sess.Redeliver(s.Context(), d.letter.Time)
	s.ok(err)
	s.handled(r)
	equal(s, "chat", s.chat(d.sess), []string{"u a.txt", "u bad", "b re bad"})
}

func redeliversIntoAFullInbox(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1, InboxLimit: 2})
	sess := bot.Session("1")
	s.accept(bot, "1", "bad")
	equal(s, "events that were handled", s.drain(bot, func(context.Context, *store.Turn) error { return errBilling }), 1)
	letter := s.letters(sess, 1)[0]
	s.accept(bot, "1", "first")
	s.accept(bot, "1", "second")
	s.is(second(sess.Redeliver(s.Context(), letter.Time)), session.ErrInboxFull)
	equal(s, "letter", s.letters(sess, 1)[0], letter)
	equal(s, "events that wait", s.status(sess).Waiting, 2)
	equal(s, "letters of the bot", s.listed(bot), 1)
	s.drain(bot, echo)
	r, err := sess.Redeliver(s.Context(), letter.Time)
	s.ok(err)
	equal(s, "events that were handled", s.drain(bot, echo), 1)
	s.handled(r)
}

func redeliversWhatIsDropped(s *scene) {
	d := s.dead(options{})
	other := s.replica().bot("other", &options{MaxAttempts: 1}) // which nobody serves
	s.accept(other, "1", "bad")
	s.drain(other, func(context.Context, *store.Turn) error { return errBilling })
	sess := other.Session("1")
	r, err := sess.Redeliver(s.Context(), s.letters(sess, 1)[0].Time)
	s.ok(err)
	s.ok(sess.Drop(s.Context(), 1))
	equal(s, "outcome", s.outcome(r).Status, session.Dropped)
	s.letters(sess, 0)
	s.letters(d.sess, 1)
}

// A bannedScene has a session whose first reply is a dead letter, and whose second was sent.
type bannedScene struct {
	bot    *store.Bot
	sess   *store.Session
	banned atomic.Bool // banned is whether Send fails
	sent   record[store.Delivery]
	tries  record[store.Delivery]
}

func (s *scene) banned() *bannedScene {
	s.Helper()
	b := &bannedScene{}
	b.banned.Store(true)
	b.bot = s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1, Send: func(_ context.Context, d store.Delivery) error {
		b.tries.add(d)
		if b.banned.Load() {
			return errors.New("403 Forbidden")
		}
		b.sent.add(d)
		return nil
	}})
	b.sess = b.bot.Session("1")
	s.serve(b.bot, echo)
	s.handled(s.accept(b.bot, "1", "one"))
	s.eventually("the reply is a dead letter", func() bool {
		letters, err := b.sess.DeadLetters(s.Context())
		s.ok(err)
		return len(letters) == 1
	})
	b.banned.Store(false)
	s.handled(s.accept(b.bot, "1", "two"))
	s.eventually("the second reply is sent", func() bool { return s.status(b.sess).Unsent == 0 })
	return b
}

func redeliversAReply(s *scene) {
	b := s.banned()
	before := s.history(b.sess, session.All())
	was := s.status(b.sess)
	r, err := b.sess.Redeliver(s.Context(), s.letters(b.sess, 1)[0].Time)
	s.ok(err)
	if r != nil {
		s.Errorf("receipt %+v", r)
	}
	s.eventually("it is sent", func() bool { return len(b.sent.list()) == 2 && s.status(b.sess).Unsent == 0 })
	sent, tries := b.sent.list(), b.tries.list()
	equal(s, "key", sent[1].Key, tries[0].Key)
	equal(s, "event", sent[1].EventID, "one")
	equal(s, "message", fmt.Sprint(sent[1].Message), fmt.Sprint(tries[0].Message))
	equal(s, "attempt", sent[1].Attempt, 1)
	equal(s, "chat", s.history(b.sess, session.All()), before)
	equal(s, "version", s.status(b.sess).Version, was.Version)
	s.letters(b.sess, 0)
	equal(s, "letters of the bot", s.listed(b.bot), 0)
}

func redeliversAReplyToNobody(s *scene) {
	b := s.banned()
	letter := s.letters(b.sess, 1)[0]
	s.ok(second(b.sess.Destroy(s.Context())))
	s.is(second(b.sess.Redeliver(s.Context(), letter.Time)), session.ErrNotFound)
	s.gone(b.sess)
	equal(s, "letter", s.letters(b.sess, 1)[0], letter)
	equal(s, "replies that were sent", len(b.sent.list()), 1)
}

func discards(s *scene) {
	d := s.dead(options{})
	equal(s, "outcome of the second", s.outcome(s.accept(d.bot, "1", "bad 2")).Status, session.Dead)
	letters := s.letters(d.sess, 2)
	before := s.status(d.sess)
	s.ok(d.sess.Discard(s.Context(), letters[1].Time))
	equal(s, "letters", s.letters(d.sess, 1), letters[:1])
	after := s.status(d.sess)
	before.Now, after.Now = time.Time{}, time.Time{}
	equal(s, "session", after, before)
	equal(s, "letters of the bot", s.listed(d.bot), 1)
	s.ok(second(d.sess.Destroy(s.Context())))
	s.ok(d.sess.Discard(s.Context(), letters[0].Time))
	s.letters(d.sess, 0)
	s.gone(d.sess)
	equal(s, "letters of the bot", s.listed(d.bot), 0)
	for _, id := range []string{"bad", "bad 2"} {
		equal(s, "outcome of "+id, s.outcome(d.bot.Receipt("1", id)), store.Outcome{Status: session.Dead})
	}
	equal(s, "duplicate", s.accept(d.bot, "1", "bad").Duplicate, true)
	s.gone(d.sess)
}

func lettersTooLate(s *scene) {
	d := s.dead(options{})
	before := s.dump(s.replica().client)
	for _, when := range []time.Time{{}, d.letter.Time.Add(time.Millisecond), d.letter.Time.Add(-time.Millisecond)} {
		for _, sess := range []*store.Session{d.sess, d.bot.Session("nobody")} {
			s.is(second(sess.Redeliver(s.Context(), when)), session.ErrChanged)
			s.is(sess.Discard(s.Context(), when), session.ErrChanged)
		}
	}
	after := s.dump(s.replica().client)
	for key, was := range before {
		if got := fmt.Sprint(after[key]); got != fmt.Sprint(was) {
			s.Errorf("%s was %v, and is %v", key, was, got)
		}
	}
	d.broken.Store(false)
	s.ok(second(d.sess.Redeliver(s.Context(), d.letter.Time)))
	s.is(second(d.sess.Redeliver(s.Context(), d.letter.Time)), session.ErrChanged)
	s.is(d.sess.Discard(s.Context(), d.letter.Time), session.ErrChanged)
}

func lettersInTurn(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease})
	s.say(bot, "1", session.Event{Text: "hi"}, func(ctx context.Context, t *store.Turn) error {
		s.is(second(bot.Session("1").Redeliver(ctx, time.Now())), session.ErrInTurn)
		s.is(bot.Session("1").Discard(ctx, time.Now()), session.ErrInTurn)
		return nil
	})
}

func lettersInAudit(s *scene) {
	d := s.dead(options{})
	equal(s, "outcome of the second", s.outcome(s.accept(d.bot, "1", "bad 2")).Status, session.Dead)
	letters := s.letters(d.sess, 2)
	d.broken.Store(false)
	r, err := d.sess.Redeliver(store.As(s.Context(), "ann", "mended"), letters[0].Time)
	s.ok(err)
	s.handled(r)
	s.ok(d.sess.Discard(store.As(s.Context(), "bob", "no use"), letters[1].Time))
	s.is(d.sess.Discard(store.As(s.Context(), "bob", "in vain"), letters[1].Time), session.ErrChanged)
	var got []session.Act
	for a, err := range d.bot.Audit(s.Context()) {
		s.ok(err)
		a.Time = time.Time{}
		got = append(got, a)
	}
	name := func(l session.DeadLetter) string { return "letter of " + l.Time.Format("2006-01-02T15:04:05.000Z") }
	equal(s, "acts", got, []session.Act{
		{Ref: d.sess.Ref(), Verb: "discard", Object: name(letters[1]), By: "bob", Reason: "no use"},
		{Ref: d.sess.Ref(), Verb: "redeliver", Object: name(letters[0]), By: "ann", Reason: "mended"},
	})
}
