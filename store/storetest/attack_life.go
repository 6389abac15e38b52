package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of sessions that end, that come back, and that stand in each other's way.

func tornApart(s *scene) {
	r := s.replicaWith(store.Options{Buckets: 1})
	bot := r.bot("bot", nil)
	ids := []string{"b", "a\x00b", "\x00b", "ab"} // one's names in the index end as the other's
	for _, id := range ids {
		s.create(bot.Session(id), store.Origin{User: "ann"})
	}
	s.ok(r.client.Del(s.Context(), s.keys(r.client, bot.Session("b").Ref())["s"]).Err())
	s.handledOnce(bot, "b")
	s.ok(whole(s.Context(), r.Store))
	counts, err := bot.Counts(s.Context())
	s.ok(err)
	equal(s, "sessions", counts.Sessions, int64(len(ids)))
	equal(s, "states counted", counts.States, map[string]int64{"start": int64(len(ids))})
	anns, err := gather(bot.Sessions(s.Context(), store.Filter{User: "ann"}))
	s.ok(err)
	equal(s, "sessions listed of ann", len(anns), len(ids)-1)
}

// unreadable makes one session more than are read at a time, and breaks the head
// of their hashes. What is broken is deleted at the end.
func (s *scene) unreadable(r *replica, head string, begin func(id string)) (n int) {
	s.Helper()
	n = 33
	var hash string
	for i := range n {
		id := fmt.Sprintf("bad%d", i)
		begin(id)
		ref := session.Ref{Bot: "bot", ID: id}
		if i == 0 {
			hash = s.keys(r.client, ref)["s"]
		}
		s.ok(r.client.HSet(s.Context(), strings.TrimSuffix(hash, "bad0")+id, "rec", head).Err())
	}
	return n
}

// wipeAll deletes what a test broke, so that the sweep does not find it.
func (s *scene) wipeAll(r *replica) {
	s.Helper()
	keys, err := scan(s.Context(), r.client, s.space+":{*")
	s.ok(err)
	for _, key := range keys {
		s.ok(r.client.Del(s.Context(), key).Err())
	}
}

func unreadableExpired(s *scene) {
	for _, head := range []string{brokenHead, "free | 99 a layout of later days"} {
		r := s.replicaWith(store.Options{Buckets: 1})
		bot := r.bot("bot", &options{TTL: 20 * time.Millisecond})
		bad := s.unreadable(r, head, func(id string) { s.create(bot.Session(id), store.Origin{}) })
		s.create(bot.Session("good"), store.Origin{}) // the last to expire
		s.eventually("the session has expired", func() bool {
			_, err := bot.Session("good").Load(s.Context())
			return errors.Is(err, session.ErrNotFound)
		})
		s.eventually("the one that can be read is removed", func() bool {
			s.drain(bot, echo)
			counts, err := bot.Counts(s.Context())
			s.ok(err)
			return counts.Sessions == int64(bad)
		})
		s.wipeAll(r)
	}
}

func unreadableDue(s *scene) {
	for _, head := range []string{brokenHead, "free | 99 a layout of later days"} {
		r := s.replicaWith(store.Options{Buckets: 1})
		bot := r.bot("bot", nil)
		s.unreadable(r, head, func(id string) { s.accept(bot, id, "hi") })
		good := s.accept(bot, "good", "hi")
		stop := s.serve(bot, echo)
		s.handled(good)
		if n := len(r.scripts(lua.Lease)); n > 500 {
			s.Errorf("%d leases were asked for until then", n)
		}
		stop()
		s.wipeAll(r)
	}
}

func ttlChanges(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	with := func(ttl time.Duration) *store.Bot {
		s.ok(bot.Configure(s.Context(), func(o *store.BotOptions) { o.TTL = ttl }))
		return bot
	}
	for what, ttls := range map[string][2]time.Duration{
		"shorter": {time.Hour, time.Minute}, "finite": {-1, time.Minute}, "longer": {time.Minute, time.Hour}, "endless": {time.Hour, -1},
	} {
		for _, ttl := range ttls {
			s.say(with(ttl), what, session.Event{Text: "hi"}, echo)
		}
		snap, want := s.load(bot.Session(what)), max(ttls[1], 0)
		if snap.Expires.IsZero() != (want == 0) || want > 0 && snap.Expires.Sub(snap.Active) != want {
			s.Errorf("the session whose time was made %s expires at %v, active at %v; want %v between", what, snap.Expires, snap.Active, want)
		}
		s.ok(whole(s.Context(), r.Store))
	}
	short := with(20 * time.Millisecond)
	for _, what := range []string{"shorter", "finite", "longer", "endless"} {
		s.say(short, what, session.Event{Text: "hi"}, echo)
	}
	s.eventually("all have expired and are removed", func() bool {
		s.drain(short, echo)
		counts, err := short.Counts(s.Context())
		s.ok(err)
		return counts.Sessions == 0
	})
}

func freshAfterEnd(s *scene) {
	bot := s.replica().bot("bot", &options{
		Initial: "begin",
		Send:    func(context.Context, store.Delivery) error { return store.RetryAfter(time.Hour, errors.New("not now")) },
	})
	for _, how := range []string{"Create", "Accept"} {
		sess := bot.Session(how)
		s.say(bot, how, session.Event{Text: "bye"}, func(_ context.Context, t *store.Turn) error {
			t.SetTTL(time.Minute)
			t.Set("k", "v")
			t.Reply("bye")
			t.Destroy()
			return nil
		})
		s.gone(sess)
		want, user, life := "begin", "", 30*24*time.Hour
		if how == "Create" {
			want, user, life = "vip", "bob", 2*time.Hour
			s.create(sess, store.Origin{State: want, User: user, TTL: life})
		} else {
			equal(s, "the event made the session", s.accept(bot, how, "hello").Created, true)
		}
		snap := s.load(sess)
		empty(s, snap)
		equal(s, "state after "+how, snap.State, want)
		equal(s, "user after "+how, snap.User, user)
		if got := snap.Expires.Sub(snap.Active); got != life {
			s.Errorf("after %s it lives for %v, want %v", how, got, life)
		}
		equal(s, "chat after "+how, s.chat(sess), nil)
	}
}

func reaperLeavesWork(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{TTL: 50 * time.Millisecond})
	sess := bot.Session("1")
	s.accept(bot, "1", "hi")
	later := func(context.Context, *store.Turn) error { return store.RetryAfter(time.Hour, errors.New("not yet")) }
	s.drain(bot, later)
	s.eventually("its time to live is over", func() bool {
		status := s.status(sess)
		return status.Now.After(status.Expires)
	})
	s.drain(bot, later) // and reaps
	s.ok(whole(s.Context(), r.Store))
	status := s.status(sess)
	equal(s, "events waiting", status.Waiting, 1)
	equal(s, "failures counted", status.Event.Failures, 1)
	equal(s, "created", status.Created.IsZero(), false)
}

func lateUpdate(s *scene) {
	r, other := s.replica(), s.bot()
	bot, sess := r.bot("bot", &options{Lease: time.Second}), other.Session("1")
	s.create(sess, store.Origin{})
	held, resume := r.hold(lua.Commit)
	defer resume()
	done := make(chan error, 1)
	go func() {
		done <- s.update(bot, "1", func(_ context.Context, t *store.Turn) error { t.Set("k", "v"); return nil })
	}()
	s.happens("the commit is on its way", held)
	s.expire(sess) // and the lease with it
	resume()
	s.is(receive(s, "the Update ends", done), session.ErrFenced)
	s.gone(sess)
}

func watchOfWrongType(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{MaxAttempts: 1})
	ref := bot.Session("1").Ref()
	hash := s.hashOf(r.client, bot.Session("1"))
	spoil(s, bot)
	tag, _ := strings.CutSuffix(hash, "s:"+ref.String())
	watch, around := tag+"w:bot", bucketKeys(hash, ref)
	s.ok(r.client.LPush(s.Context(), watch, "not a channel").Err())
	refused := 0
	for what, call := range everyCall(bot) {
		before := s.dumpOf(r.client, around)
		err := call(s.limited(), "1")
		if err == nil {
			continue
		}
		refused++
		s.is(err, session.ErrCorrupt)
		after := s.dumpOf(r.client, around)
		if what == "Update" { // it may have leased the session, and given it back
			for _, lease := range []string{":s:bot/1", ":due:bot", ":bells", ":p:bot/1"} {
				without(before, lease)
				without(after, lease)
			}
		}
		equal(s, "what is stored after "+what, after, before)
	}
	if refused == 0 {
		s.Errorf("no call noticed a wrong watch key")
	}
	s.ok(r.client.Del(s.Context(), watch).Err())
	s.handledOnce(bot, "1")
}
