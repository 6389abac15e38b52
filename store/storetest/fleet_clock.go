package storetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// clockOff runs a client in a bubble whose clock shows the year 2000. What it
// does must look as if one with the right clock had done it.
func clockOff(s *scene) {
	right := s.bot()
	s.handledOnce(right, "1")
	s.create(right.Session("2"), store.Origin{})
	before := s.load(right.Session("1"))
	synctest.Test(s.T, func(t *testing.T) {
		off := &scene{T: t, connect: s.connect, space: s.space}
		if year := time.Now().Year(); year != 2000 {
			off.Fatalf("the clock shows %d, want it to be off", year)
		}
		bot := off.bot()
		sess := bot.Session("1")
		equal(off, "outcome of its turn", off.say(bot, "1", session.Event{Text: "hello"}, echo).Status, session.Handled)
		off.ok(sess.Set(t.Context(), "k", "v"))
		_, err := bot.Update(t.Context(), "1", func(_ context.Context, t *store.Turn) error {
			t.Set("updated", true)
			return nil
		})
		off.ok(err)
		off.ok(bot.Session("2").Set(t.Context(), "k", "v"))
		off.create(bot.Session("3"), store.Origin{})
		status := off.status(sess)
		if status.Now.Year() < 2024 || status.Active.Year() < 2024 {
			off.Errorf("status %+v: want the server's time in it", status)
		}
		all, err := gather(bot.Sessions(t.Context(), store.Filter{}))
		off.ok(err)
		equal(off, "sessions that it lists", len(all), 3)
	})
	snap := s.load(right.Session("1"))
	equal(s, "data", snap.Data, map[string]any{"k": "v", "updated": true})
	equal(s, "chat", s.chat(right.Session("1")), []string{"u hi", "b re hi", "u hello", "b re hello"})
	if snap.Active.Before(before.Active) || snap.Active.After(before.Active.Add(time.Hour)) {
		s.Errorf("active %v, and %v before: want the server's time", snap.Active, before.Active)
	}
	for _, id := range []string{"1", "2", "3"} {
		at := s.load(right.Session(id))
		if life := at.Expires.Sub(at.Active); life != 30*24*time.Hour {
			s.Errorf("session %s expires %v after its last change, want 30 days", id, life)
		}
	}
	s.handledOnce(right, "3")
	equal(s, "turns left", s.drain(right, echo), 0)
}
