package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theActs is what a person can do to a session by hand: added.
var theActs = []check{
	{promise: "Retry ends the back-off of the head, and keeps what it counts unless told to forget it", run: retryNow},
	{promise: "Retry of what is in hand says who has it since when, or takes it, which counts as a crash", run: retryInHand},
	{promise: "Retry and Skip work on the first reply as on the first event", run: actsOnReplies},
	{promise: "a skipped event is a dead letter that says by whom and why, and what is behind it is handled", run: skipWaiting},
	{promise: "an event that is skipped in hand fences its holder, who writes nothing any more", run: skipInHand},
	{promise: "Drop drops all that waits, but not what is in hand", run: dropWaiting},
	{promise: "Unlock gives back at once what a replica has in hand, and fences an Update", run: unlocks},
	{promise: "an act on what is there no longer changes nothing, and says what is there", run: actsTooLate},
	{promise: "an act that a handler calls for its own session is refused", run: actsInTurn},
	{promise: "what is done by hand is in the audit once, with who and why, the latest first", run: audits},
}

var errBilling = errors.New("billing API: 503")

// failing is a handler that fails on "bad" events, while broken is set, and echoes.
func failing(broken *atomic.Bool) store.Handler {
	return func(ctx context.Context, t *store.Turn) error {
		if broken.Load() && strings.HasPrefix(t.Event().Text, "bad") {
			return errBilling
		}
		return echo(ctx, t)
	}
}

// A stuckScene has a session in which an event has failed once, and is tried again in an
// hour.
type stuckScene struct {
	name   string // name is the replica's
	bot    *store.Bot
	sess   *store.Session
	bad    *store.Receipt
	broken atomic.Bool // broken is whether the handler still fails
}

func (s *scene) stuck(opts options) *stuckScene {
	s.Helper()
	opts.Lease, opts.Backoff = longLease, time.Hour
	r := s.replica()
	st := &stuckScene{bot: r.bot("bot", &opts)}
	st.name = r.Name()
	st.sess = st.bot.Session("1")
	st.broken.Store(true)
	s.create(st.sess, store.Origin{})
	s.serve(st.bot, failing(&st.broken))
	st.bad = s.accept(st.bot, "1", "bad")
	s.eventually("the event has failed", func() bool { return s.status(st.sess).Event.Failures == 1 })
	return st
}

func retryNow(s *scene) {
	st := s.stuck(options{MaxAttempts: 3})
	sess := st.sess
	before := s.status(sess)
	next, err := sess.Heads(s.Context())
	s.ok(err)
	if next.Event == nil || next.Event.ID != "bad" || next.Reply != nil || !next.Accepted.Equal(before.Since) {
		s.Errorf("next is %+v, and waits since %v", next, before.Since)
	}
	behind := s.accept(st.bot, "1", "good")
	s.ok(sess.Retry(s.Context(), store.Head{Event: "bad"}, store.Retrial{}))
	s.eventually("it has failed again", func() bool { return s.status(sess).Event.Failures == 2 })
	s.ok(sess.Retry(s.Context(), store.Head{Event: "bad"}, store.Retrial{Reset: true}))
	s.eventually("it has failed for the first time again", func() bool {
		at := s.status(sess)
		return at.Event.Failures == 1 && at.Event.At.After(at.Now)
	})
	after := s.status(sess)
	equal(s, "version", after.Version, before.Version)
	equal(s, "expiry", after.Expires, before.Expires)
	st.broken.Store(false)
	s.ok(sess.Retry(s.Context(), store.Head{Event: "bad"}, store.Retrial{}))
	s.handled(st.bad)
	s.handled(behind)
	equal(s, "chat", s.chat(sess), []string{"u bad", "b re bad", "u good", "b re good"})
}

func retryInHand(s *scene) {
	g := s.gate()
	var runs atomic.Int32
	opts := &options{Lease: longLease, Lazy: true}
	bot, other := s.replica().bot("bot", opts), s.replica().bot("bot", opts)
	sess := other.Session("1")
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if runs.Add(1) == 1 {
			g.pass()
			t.Set("by", "the first")
		}
		return echo(ctx, t)
	})
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	lease := s.status(sess).Lease
	err := sess.Retry(s.Context(), store.Head{Event: "hi"}, store.Retrial{})
	s.is(err, session.ErrInHand)
	var in *session.InHandError
	if errors.As(err, &in) {
		equal(s, "holder", in.Holder, lease.Holder)
		equal(s, "session", in.Ref, sess.Ref())
		if age := s.status(sess).Now.Sub(in.Since); age < 0 || age > patience {
			s.Errorf("it is in hand since %v ago", age)
		}
	}
	equal(s, "token after a Retry that was refused", s.status(sess).Lease.Token, lease.Token)
	s.ok(sess.Retry(s.Context(), store.Head{Event: "hi"}, store.Retrial{Take: true}))
	s.handled(r)
	g.open()
	equal(s, "chat", s.chat(sess), []string{"u hi", "b re hi"})
	if _, found, err := sess.Get(s.Context(), "by"); err != nil || found {
		s.Errorf("the first run's value: %t, %v", found, err)
	}
	equal(s, "runs", runs.Load(), int32(2))
}

func actsOnReplies(s *scene) {
	var banned atomic.Bool
	banned.Store(true)
	var sent record[string]
	var tries record[store.Delivery]
	bot := s.replica().bot("bot", &options{Lease: longLease, Backoff: time.Hour, Send: func(_ context.Context, d store.Delivery) error {
		tries.add(d)
		if banned.Load() {
			return errors.New("403 Forbidden")
		}
		sent.add(d.Message.String())
		return nil
	}})
	sess := bot.Session("1")
	s.serve(bot, func(_ context.Context, t *store.Turn) error {
		for i := range 3 {
			t.Reply(fmt.Sprint("reply ", i))
		}
		return nil
	})
	s.handled(s.accept(bot, "1", "hi"))
	failed := func(n int) {
		s.Helper()
		s.eventually(fmt.Sprintf("the first reply has failed %d times", n), func() bool {
			st := s.status(sess)
			return st.Reply.Failures == n && st.Lease.Work == session.WorkNone
		})
	}
	failed(1)
	key := tries.list()[0].Key
	s.is(sess.Skip(s.Context(), store.Head{Reply: key + "1"}), session.ErrChanged)
	s.ok(sess.Retry(s.Context(), store.Head{Reply: key}, store.Retrial{}))
	failed(2)
	s.ok(sess.Skip(store.As(s.Context(), "ops", "banned"), store.Head{Reply: key}))
	failed(1)
	banned.Store(false)
	s.ok(sess.Retry(s.Context(), store.Head{Reply: tries.list()[2].Key}, store.Retrial{Reset: true}))
	s.eventually("the others are sent", func() bool { return len(sent.list()) == 2 })
	equal(s, "sent", sent.list(), []string{"reply 1", "reply 2"})
	letters, err := sess.DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 1 || letters[0].Reply == nil || letters[0].Reply.String() != "reply 0" || letters[0].Failures != 2 || letters[0].Error != "skipped by ops: banned" {
		s.Errorf("dead letters %+v", letters)
	}
}

func skipWaiting(s *scene) {
	st := s.stuck(options{Dead: func(context.Context, session.DeadLetter) { s.Errorf("ServeOptions.Dead was called") }})
	sess := st.sess
	behind := s.accept(st.bot, "1", "good")
	s.ok(sess.Skip(store.As(s.Context(), "ops", "no such product"), store.Head{Event: "bad"}))
	o := s.outcome(st.bad)
	equal(s, "outcome", o.Status, session.Dead)
	equal(s, "reason", o.Reason, "skipped by ops: no such product")
	s.handled(behind)
	equal(s, "chat", s.chat(sess), []string{"u bad", "u good", "b re good"})
	letters, err := sess.DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 1 || letters[0].Event == nil || letters[0].Event.ID != "bad" || letters[0].Failures != 1 {
		s.Errorf("dead letters %+v", letters)
	}
	if late := s.accept(st.bot, "1", "bad"); !late.Duplicate {
		s.Errorf("the skipped event was accepted again")
	}
}

func skipInHand(s *scene) {
	g := s.gate()
	bot := s.replica().bot("bot", &options{Lease: longLease, Lazy: true})
	sess := s.replica().bot("bot", nil).Session("1")
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text != "bad" {
			return echo(ctx, t)
		}
		g.pass()
		t.Set("by", "the skipped")
		return echo(ctx, t)
	})
	bad := s.accept(bot, "1", "bad")
	s.happens("the turn runs", g.arrived)
	behind := s.accept(bot, "1", "good")
	s.ok(sess.Skip(s.Context(), store.Head{Event: "bad"}))
	equal(s, "outcome", s.outcome(bad).Status, session.Dead)
	s.handled(behind)
	g.open()
	s.handled(s.accept(bot, "1", "last"))
	equal(s, "chat", s.chat(sess), []string{"u bad", "u good", "b re good", "u last", "b re last"})
	if _, found, err := sess.Get(s.Context(), "by"); err != nil || found {
		s.Errorf("the skipped run's value: %t, %v", found, err)
	}
}

func dropWaiting(s *scene) {
	for _, inHand := range []bool{true, false} {
		name := fmt.Sprintf("in-hand-%t", inHand)
		g := s.gate()
		bot := s.replica().bot(name, &options{Lease: longLease, Lazy: true})
		sess := bot.Session("1")
		first := s.accept(bot, "1", "first")
		if inHand {
			s.serve(bot, func(ctx context.Context, t *store.Turn) error {
				g.pass()
				return echo(ctx, t)
			})
			s.happens("the turn runs", g.arrived)
		}
		var rest []*store.Receipt
		for i := range 101 {
			rest = append(rest, s.accept(bot, "1", fmt.Sprint(i)))
		}
		waiting := int64(len(rest))
		if !inHand {
			waiting++
		}
		s.is(sess.Drop(s.Context(), waiting-1), session.ErrChanged)
		equal(s, "events that wait after a Drop that was refused", s.status(sess).Waiting, 102)
		before := s.status(sess)
		s.ok(sess.Drop(s.Context(), waiting))
		after := s.status(sess)
		equal(s, "version", after.Version, before.Version)
		equal(s, "events that wait", after.Waiting, int64(102)-waiting)
		for _, r := range rest {
			equal(s, "outcome", s.outcome(r).Status, session.Dropped)
		}
		g.open()
		if inHand {
			s.handled(first)
		} else {
			equal(s, "outcome of the first", s.outcome(first).Status, session.Dropped)
			s.serve(bot, echo)
		}
		s.handled(s.accept(bot, "1", "next"))
		if again := s.accept(bot, "1", "7"); !again.Duplicate {
			s.Errorf("a dropped event was accepted again")
		}
		letters, err := sess.DeadLetters(s.Context())
		s.ok(err)
		equal(s, "dead letters", len(letters), 0)
	}
}

func unlocks(s *scene) {
	g := s.gate()
	var runs atomic.Int32
	opts := &options{Lease: longLease, Lazy: true}
	bot := s.replica().bot("bot", opts)
	sess := s.replica().bot("bot", nil).Session("1")
	crashes := make(chan int, 2)
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if runs.Add(1) == 1 {
			g.pass()
			return nil
		}
		crashes <- s.status(sess).Event.Crashes
		return echo(ctx, t)
	})
	r := s.accept(bot, "1", "hi")
	s.happens("the turn runs", g.arrived)
	before := s.status(sess)
	s.is(sess.Unlock(s.Context(), before.Lease.Token+"1"), session.ErrChanged)
	s.ok(sess.Unlock(s.Context(), before.Lease.Token))
	s.handled(r)
	equal(s, "crashes", <-crashes, 1)
	g.open()
	s.is(sess.Unlock(s.Context(), before.Lease.Token), session.ErrChanged)

	u := s.gate()
	updated := make(chan error, 1)
	go func() {
		_, err := bot.Update(s.Context(), "1", func(ctx context.Context, t *store.Turn) error {
			u.pass()
			t.Set("by", "the Update")
			return nil
		})
		updated <- err
	}()
	s.happens("the Update runs", u.arrived)
	s.ok(sess.Unlock(s.Context(), s.status(sess).Lease.Token))
	s.handled(s.accept(bot, "1", "after the Update")) // at once: the Update's lease is long
	u.open()
	select {
	case err := <-updated:
		s.is(err, session.ErrFenced)
	case <-time.After(patience):
		s.Errorf("the Update goes on")
	}
}

// actsOf are all acts, with heads that are not there.
func actsOf(sess *store.Session) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Retry":       func(ctx context.Context) error { return sess.Retry(ctx, store.Head{Event: "other"}, store.Retrial{}) },
		"Retry reply": func(ctx context.Context) error { return sess.Retry(ctx, store.Head{Reply: "1:1"}, store.Retrial{}) },
		"Skip":        func(ctx context.Context) error { return sess.Skip(ctx, store.Head{Event: "other"}) },
		"Skip reply":  func(ctx context.Context) error { return sess.Skip(ctx, store.Head{Reply: "1:1"}) },
		"Drop":        func(ctx context.Context) error { return sess.Drop(ctx, 7) },
		"Unlock":      func(ctx context.Context) error { return sess.Unlock(ctx, "7") },
	}
}

func actsTooLate(s *scene) {
	st := s.stuck(options{})
	before := s.dump(s.replica().client)
	for name, act := range actsOf(st.sess) {
		if err := act(s.Context()); !errors.Is(err, session.ErrChanged) {
			s.Errorf("%s: %v", name, err)
		} else if name == "Skip" && !strings.Contains(err.Error(), `at the head is event "bad"`) {
			s.Errorf("%s does not say what is there: %v", name, err)
		}
	}
	for name, act := range actsOf(st.bot.Session("nobody")) {
		if err := act(s.Context()); !errors.Is(err, session.ErrNotFound) {
			s.Errorf("%s in no session: %v", name, err)
		}
	}
	for _, bad := range []store.Head{{}, {Event: "bad", Reply: "1:1"}} {
		s.is(st.sess.Retry(s.Context(), bad, store.Retrial{}), session.ErrInvalid)
		s.is(st.sess.Skip(s.Context(), bad), session.ErrInvalid)
	}
	after := s.dump(s.replica().client)
	for key, was := range before {
		if strings.HasSuffix(key, ":bells") { // which whoever looks corrects
			continue
		}
		if got := fmt.Sprint(after[key]); got != fmt.Sprint(was) {
			s.Errorf("%s was %v, and is %v", key, was, got)
		}
	}
}

func actsInTurn(s *scene) {
	bot := s.replica().bot("bot", &options{Lease: longLease})
	s.say(bot, "1", session.Event{Text: "hi"}, func(ctx context.Context, t *store.Turn) error {
		for name, act := range actsOf(bot.Session("1")) {
			if err := act(ctx); !errors.Is(err, session.ErrInTurn) {
				s.Errorf("%s: %v", name, err)
			}
		}
		return nil
	})
}

func audits(s *scene) {
	st := s.stuck(options{})
	sess := st.sess
	other := s.replica().bot("bot", nil)
	strange := other.Session("a/\x00 \"b\"")
	s.create(strange, store.Origin{State: "from"})
	as := func(by, why string) context.Context { return store.As(s.Context(), by, why) }
	s.ok(sess.Retry(as("ann", "it may work"), store.Head{Event: "bad"}, store.Retrial{}))
	s.eventually("it has failed again", func() bool { return s.status(sess).Event.Failures == 2 })
	s.ok(sess.Set(s.Context(), "k", "v")) // by no person
	s.ok(strange.Move(as("bob", "\x00 \"wrong\"\nstate"), session.Transition{From: "from", To: "to"}))
	time.Sleep(2 * time.Millisecond) // of two acts of one moment, in two buckets, any may come first
	s.ok(sess.Skip(s.Context(), store.Head{Event: "bad"}))
	s.ok(sess.Reset(as("", ""), session.KeepChat))
	s.is(sess.Unlock(as("ann", "in vain"), "7"), session.ErrChanged)
	s.ok(second(sess.Destroy(as("ann", ""))))
	s.create(s.replica().bot("other", nil).Session("1"), store.Origin{})

	type line struct{ who, verb, object, by, why string }
	var got []line
	var last time.Time
	for a, err := range other.Audit(s.Context()) {
		s.ok(err)
		got = append(got, line{a.Ref.ID, a.Verb, a.Object, a.By, a.Reason})
		if !last.IsZero() && a.Time.After(last) {
			s.Errorf("%v comes behind %v", a.Time, last)
		}
		last = a.Time
	}
	equal(s, "acts", got, []line{
		{"1", "destroy", "", "ann", ""},
		{"1", "reset", "", st.name, ""},
		{"1", "skip", `event "bad"`, st.name, ""},
		{strange.Ref().ID, "move", "to", "bob", "\x00 \"wrong\"\nstate"},
		{"1", "retry", `event "bad"`, "ann", "it may work"},
	})
}
