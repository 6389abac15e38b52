package storetest

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A reset comes between an accept whose reply was lost and its retry: the event is not
// in hand any more.
func handCallKept(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	h.ends()
	s.free(h.sess)
	other := s.replica().bot("bot", nil).Session("1")
	var lost atomic.Bool
	h.r.fail(lua.Accept, func(_ context.Context, q request) error {
		err := q.deliver()
		if err == nil && lost.CompareAndSwap(false, true) {
			s.ok(other.Reset(s.Context(), session.KeepChat))
			return io.EOF
		}
		return err
	})
	r := s.accept(h.bot, "1", "lost")
	equal(s, "its own call is a duplicate", r.Duplicate, false)
	s.handled(r)
	h.said("held", "lost")
}

// A server goes back to an older state, as at a fail-over to a replica that lags. The
// session lives for ever, and its next turn leads into the state and the minute of the
// turn that is lost: so their records differ in little.
func handUndone(s *scene) {
	opts := &options{Lease: longLease, Lazy: true, TTL: -1}
	var saw record[string]
	var bots []*store.Bot
	for _, name := range []string{"first", "second"} {
		bot := s.replica().bot("bot", opts)
		s.serve(bot, func(_ context.Context, t *store.Turn) error {
			if last, _ := t.Get("last"); last != nil {
				saw.add(last.(string))
			}
			t.Set("last", name+" "+t.Event().Text)
			return nil
		})
		bots = append(bots, bot)
	}
	sess := bots[0].Session("1")
	handle := func(bot *store.Bot, text string) {
		s.Helper()
		s.handled(s.accept(bot, "1", text))
		s.free(sess)
	}
	for _, text := range []string{"0", "1", "2"} {
		handle(bots[0], text)
	}
	back := s.older(sess.Ref())
	handle(bots[0], "undone")
	back()
	handle(bots[1], "kept")
	handle(bots[0], "next")
	equal(s, "what each turn found", saw.list(), []string{"first 0", "first 1", "first 2", "first 2", "second kept"})
	equal(s, "what the last one left", s.load(sess).Data["last"], any("first next"))
}

// older notes what is stored of a session that has no work, and returns what puts that
// back.
func (s *scene) older(ref session.Ref) (back func()) {
	s.Helper()
	client := s.connect(s.T)
	s.Cleanup(func() { client.Close() })
	ctx, keys := s.Context(), s.keys(client, ref)
	hashes := map[string]map[string]string{}
	for _, kind := range []string{"s", "e"} {
		hashes[keys[kind]] = client.HGetAll(ctx, keys[kind]).Val()
	}
	chat := client.LLen(ctx, keys["h"]).Val()
	index := strings.TrimSuffix(keys["s"], "s:"+ref.String()) + "i:" + ref.Bot
	place := client.ZScore(ctx, index, ref.ID).Val()
	return func() {
		s.Helper()
		since := map[string][]string{}
		for key, fields := range hashes {
			since[key] = slices.DeleteFunc(client.HKeys(ctx, key).Val(), func(field string) bool { _, was := fields[field]; return was })
		}
		_, err := client.Pipelined(ctx, func(tx redis.Pipeliner) error {
			for key, fields := range hashes {
				tx.HSet(ctx, key, fields)
				tx.HDel(ctx, key, append(since[key], "none")...)
			}
			tx.LTrim(ctx, keys["h"], 0, chat-1)
			tx.ZAdd(ctx, index, redis.Z{Score: place, Member: ref.ID})
			return nil
		})
		s.ok(err)
	}
}
