package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// What a looker sees of the replicas, and of what is first in a session: added.
var theReplicas = []check{
	{promise: "each replica is listed with its slots and its settings, also one without room, one that has left and one that died", run: replicasSeen},
	{promise: "a function that runs on after MaxTurn is counted as stuck, and takes no slot once it is left alone", run: replicaStuck},
	{promise: "a lease tells since when it is held, and for how long a replica has what it holds", run: heldSince},
	{promise: "each server tells its time", run: servers},
	{promise: "what is first of the events and of the replies is shown with when it was accepted", run: headsOf},
}

// seen returns what is listed of one replica, or nil.
func (s *scene) seen(bot *store.Bot, name string) *store.Replica {
	s.Helper()
	for _, r := range all(s, bot.Replicas(s.Context())) {
		if r.Name == name {
			return &r
		}
	}
	return nil
}

func replicasSeen(s *scene) {
	watcher := s.bot()
	full, leaves, dies := s.replicaWith(store.Options{Name: "full"}), s.replicaWith(store.Options{Name: "leaves"}), s.replicaWith(store.Options{Name: "dies"})
	entered, end := make(chan struct{}, 1), make(chan struct{})
	defer close(end)
	s.serve(full.bot(watcher.Name(), &options{Concurrency: 1}), func(context.Context, *store.Turn) error {
		entered <- struct{}{}
		<-end
		return nil
	})
	s.replicas(watcher, 1)
	s.accept(watcher, "1", "fills the slot")
	s.happens("the turn begins", entered)
	nothing := func(context.Context, *store.Turn) error { return nil }
	stop := s.serve(leaves.bot(watcher.Name(), &options{Concurrency: 2}), nothing)
	s.serve(dies.bot(watcher.Name(), &options{Concurrency: 3}), nothing)
	s.replicas(watcher, 3)
	stop()
	dies.die()
	s.eventually("the full one has no room, one has left, and one is not believed to be there", func() bool {
		f, l, d := s.seen(watcher, full.Name()), s.seen(watcher, leaves.Name()), s.seen(watcher, dies.Name())
		return f != nil && f.Used == 1 && l != nil && l.Leaving && d != nil && !d.Present
	})
	f, l, d := s.seen(watcher, full.Name()), s.seen(watcher, leaves.Name()), s.seen(watcher, dies.Name())
	equal(s, "whether the full one is there", f.Present && !f.Leaving, true)
	equal(s, "slots of the full one", f.Slots, 1)
	settings, err := watcher.Settings(s.Context())
	s.ok(err)
	equal(s, "revision of the full one", f.Revision, settings.Revision)
	equal(s, "whether the one that left is there", l.Present, false)
	equal(s, "slots of the one that died", d.Slots, 3)
	equal(s, "whether the one that died has left", d.Leaving, false)
	for _, r := range []*store.Replica{f, l, d} {
		if r.Since.IsZero() || r.Seen.Before(r.Since) {
			s.Errorf("%s is there since %v, and was seen at %v", r.Name, r.Since, r.Seen)
		}
	}
	if !f.Seen.After(d.Seen) {
		s.Errorf("the living was last seen at %v, the dead at %v", f.Seen, d.Seen)
	}
	equal(s, "replicas of another bot", len(all(s, s.replica().bot("other", nil).Replicas(s.Context()))), 0)
}

func replicaStuck(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{MaxTurn: 50 * time.Millisecond, Backoff: time.Hour, Concurrency: 2})
	end := make(chan struct{})
	stop := s.serve(bot, func(context.Context, *store.Turn) error { <-end; return nil })
	s.replicas(bot, 1)
	s.accept(bot, "1", "hangs")
	s.eventually("it is stuck, and its slot is free", func() bool { seen := s.seen(bot, r.Name()); return seen.Stuck == 1 && seen.Used == 0 })
	close(end)
	s.eventually("nothing is stuck", func() bool { return s.seen(bot, r.Name()).Stuck == 0 })
	stop()
}

func heldSince(s *scene) {
	bot, r := s.bot(), s.replicaWith(store.Options{Lease: longLease})
	s.create(bot.Session("1"), store.Origin{})
	before := s.status(bot.Session("1")).Now
	release := s.hold(r.bot(bot.Name(), nil), "1")
	held := all(s, bot.Sessions(s.Context(), store.Filter{HeldBy: r.Name()}))
	equal(s, "sessions that it holds", len(held), 1)
	if at := held[0].Lease.Since; at.Before(before.Truncate(time.Millisecond)) || at.After(held[0].Now) {
		s.Errorf("held since %v, which is not from %v to %v", at, before, held[0].Now)
	}
	release()
	equal(s, "since when nobody holds it", s.status(bot.Session("1")).Lease, session.Lease{Token: s.status(bot.Session("1")).Lease.Token})
}

func headsOf(s *scene) {
	bot := s.replica().bot("bot", &options{Send: func(context.Context, store.Delivery) error { return errors.New("the platform is down") }, Lazy: true})
	_, err := bot.Session("none").Heads(s.Context())
	if !errors.Is(err, session.ErrNotFound) {
		s.Errorf("heads of no session: %v", err)
	}
	s.create(bot.Session("1"), store.Origin{})
	h, err := bot.Session("1").Heads(s.Context())
	s.ok(err)
	if h.Event != nil || h.Reply != nil || !h.Accepted.IsZero() || h.InboxBytes != 0 || h.OutboxBytes != 0 {
		s.Errorf("nothing waits, and its heads are %+v", h)
	}
	s.accept(bot, "1", "first")
	s.accept(bot, "1", "second")
	h, err = bot.Session("1").Heads(s.Context())
	s.ok(err)
	if h.Event == nil || h.Event.Text != "first" || h.Accepted.IsZero() || h.Accepted.After(h.Status.Now) || h.Status.Waiting != 2 || h.InboxBytes == 0 {
		s.Errorf("two wait, and the heads are %+v", h)
	}
	s.drain(bot, func(_ context.Context, t *store.Turn) error { t.Reply("to " + t.Event().Text); return nil })
	h, err = bot.Session("1").Heads(s.Context())
	s.ok(err)
	if h.Reply == nil || h.Reply.String() != "to first" || h.Reply.Time.IsZero() || h.Status.Reply.Failures != 1 || h.OutboxBytes == 0 {
		s.Errorf("a reply was not sent, and the heads are %+v", h)
	}
}

func servers(s *scene) {
	all, err := s.replica().Servers(s.Context())
	s.ok(err)
	if len(all) == 0 {
		s.Errorf("no server")
	}
	for _, server := range all {
		if server.Now.IsZero() || server.Addr == "" {
			s.Errorf("a server is %+v", server)
		}
	}
}
