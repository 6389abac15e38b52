package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// by accepts a text of a user's for a session.
func (s *scene) by(user string, bot *store.Bot, id, text string) *store.Receipt {
	s.Helper()
	r, err := bot.Accept(s.Context(), id, session.Event{ID: text, Text: text, Platform: "web", User: user})
	s.ok(err)
	return r
}

// erased calls Erase, and compares what it says that it did.
func (s *scene) erased(ctx context.Context, bot *store.Bot, user string, ids []string, sessions, letters, acts int64) store.Erased {
	s.Helper()
	e, err := bot.Erase(ctx, user, ids...)
	s.ok(err)
	equal(s, "sessions, letters and acts", []int64{e.Sessions, e.Letters, e.Acts}, []int64{sessions, letters, acts})
	if len(e.Beyond) == 0 {
		s.Errorf("it does not say what it does not reach")
	}
	return e
}

// traces fails for each of the words that is found in a key or in what it holds.
func (s *scene) traces(words ...string) {
	s.Helper()
	for key, value := range s.dump(s.replica().client) {
		for _, word := range words {
			if strings.Contains(fmt.Sprint(value), word) || strings.Contains(key, word) {
				s.Errorf("%q is found in %s: %.300q", word, key, fmt.Sprint(value))
			}
		}
	}
}

func erases(s *scene) {
	var broken atomic.Bool
	broken.Store(true)
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1, Send: func(context.Context, store.Delivery) error { return nil }})
	s.serve(bot, failing(&broken))
	s.handled(s.by("secret-ann", bot, "1", "good-private"))
	dead := s.by("secret-ann", bot, "1", "bad-private")
	equal(s, "outcome", s.outcome(dead).Status, session.Dead)
	s.handled(s.by("secret-ann", bot, "2", "good-private"))
	s.handled(s.by("secret-bob", bot, "3", "good-public"))
	s.handled(s.accept(bot, "4", "no-user"))
	s.ok(bot.Session("2").SetFile(s.Context(), session.File{Name: "f", Data: []byte("private bytes")}))
	s.eventually("all is sent", func() bool {
		return s.status(bot.Session("1")).Unsent+s.status(bot.Session("2")).Unsent == 0
	})
	e := s.erased(s.Context(), bot, "secret-ann", []string{"4"}, 3, 1, 0)
	now := s.status(bot.Session("3")).Now
	if !e.Until.After(now) || e.Until.After(now.Add(100*24*time.Hour)) {
		s.Errorf("digests stay until %v, and it is %v", e.Until, now)
	}
	for _, id := range []string{"1", "2", "4"} {
		s.gone(bot.Session(id))
		s.letters(bot.Session(id), 0)
	}
	equal(s, "chat of another", s.chat(bot.Session("3")), []string{"u good-public", "b re good-public"})
	equal(s, "letters of the bot", s.listed(bot), 0)
	s.traces("secret-ann", "private", "no-user")
	equal(s, "duplicate", s.by("secret-ann", bot, "1", "good-private").Duplicate, true)
	equal(s, "duplicate of the dead", s.by("secret-ann", bot, "1", "bad-private").Duplicate, true)
	s.gone(bot.Session("1"))
	s.erased(s.Context(), bot, "secret-ann", []string{"4"}, 0, 0, 0)
}

func erasesInHand(s *scene) {
	g := s.gate()
	bot := s.replica().bot("bot", &options{Lease: longLease, Lazy: true})
	sess := bot.Session("1")
	s.serve(bot, func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text == "first" {
			g.pass()
		}
		return echo(ctx, t)
	})
	first := s.by("ann", bot, "1", "first")
	s.happens("the turn runs", g.arrived)
	second := s.by("ann", bot, "1", "second")
	s.erased(s.Context(), bot, "ann", nil, 1, 0, 0)
	g.open()
	equal(s, "outcome of the first", s.outcome(first).Status, session.Dropped)
	equal(s, "outcome of the second", s.outcome(second).Status, session.Dropped)
	s.gone(sess)
	s.handled(s.by("ann", bot, "1", "third"))
	equal(s, "chat", s.chat(sess), []string{"u third", "b re third"})
}

func erasesLetters(s *scene) {
	var broken atomic.Bool
	broken.Store(true)
	bot := s.replica().bot("bot", &options{Lease: longLease, MaxAttempts: 1})
	s.serve(bot, failing(&broken))
	s.handled(s.by("bob", bot, "1", "hi"))
	for i, user := range []string{"ann", "bob", "ann"} {
		equal(s, "outcome", s.outcome(s.by(user, bot, "1", fmt.Sprint("bad ", i))).Status, session.Dead)
	}
	equal(s, "outcome", s.outcome(s.by("ann", bot, "2", "bad secret")).Status, session.Dead)
	s.ok(second(bot.Session("2").Destroy(store.As(s.Context(), `an "op,"`, `secret ,"reason":"x"`))))
	s.ok(bot.Session("1").Touch(store.As(s.Context(), "an op", "secret 1")))
	s.erased(store.As(s.Context(), "privacy", "ticket 7"), bot, "ann", nil, 0, 3, 2)
	letters := s.letters(bot.Session("1"), 1)
	equal(s, "event of the letter that stays", letters[0].Event.ID, "bad 1")
	s.letters(bot.Session("2"), 0)
	equal(s, "chat", s.chat(bot.Session("1"))[:2], []string{"u hi", "b re hi"})
	equal(s, "letters of the bot", s.listed(bot), 1)
	s.traces("secret")
	got := map[string]int{}
	for a, err := range bot.Audit(s.Context()) {
		s.ok(err)
		a.Time = time.Time{}
		got[fmt.Sprintf("%s %s %q %s %s", a.Ref, a.Verb, a.Object, a.By, a.Reason)]++
	}
	none := session.Ref{Bot: "bot"}
	equal(s, "acts", got, map[string]int{
		fmt.Sprintf("%s erase %q privacy ticket 7", none, ""): 2,
		fmt.Sprintf("%s destroy %q an \"op,\" ", none, ""):    1,
		fmt.Sprintf("%s touch %q an op ", none, ""):           1,
	})
	s.erased(s.Context(), bot, "ann", nil, 0, 0, 0)
}

func erasesNobody(s *scene) {
	d := s.dead(options{})
	before := s.dump(s.replica().client)
	for _, bad := range [][]string{{""}, {strings.Repeat("u", 10_000)}, {"a\x00b"}, {"", ""}, {"ann", "ok", ""}} {
		s.is(second(d.bot.Erase(s.Context(), bad[0], bad[1:]...)), session.ErrInvalid)
	}
	s.erased(s.Context(), d.bot, "an", []string{"nobody"}, 0, 0, 0)
	s.erased(s.Context(), d.bot, "anna", nil, 0, 0, 0)
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
