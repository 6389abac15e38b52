package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// Two replicas serve a bot, of whose events some fail, some are given up, and some are
// handled. A third process looks on.
func TestTheGaugesOfTheReplicasAddUpToThoseOfTheFleet(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	opts := store.BotOptions{RecordOnly: true, Backoff: time.Hour}
	var replicas []*store.Bot
	for range 2 {
		bot := botOf(t, open(t, url, nil), "pizza", &opts)
		replicas = append(replicas, bot)
		serve(t, bot, func(_ context.Context, turn *store.Turn) error {
			switch turn.Event().Text {
			case "fail":
				return errors.New("it fails")
			case "give up":
				return store.GiveUp(errors.New("it is given up"))
			}
			turn.Reply("hi")
			return nil
		})
	}
	web := botOf(t, open(t, url, nil), "pizza", nil)
	for i := range 30 {
		for n := range 2 {
			e := session.Event{ID: fmt.Sprint("event ", n), Text: []string{"hi", "fail", "give up"}[i%3]}
			if _, err := web.Accept(t.Context(), fmt.Sprint(i), e); err != nil {
				t.Fatal(err)
			}
		}
	}

	whole := func() store.Gauges {
		g, err := web.Gauges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	until(t, "10 sessions have two events that wait, 10 have two dead letters", func() bool {
		g := whole()
		return g.Sessions == 30 && g.Waiting == 20 && g.DeadLetters == 20 && g.Busy == 0
	})
	if g := whole(); g.Slots != 2*64 || g.Oldest <= 0 || g.Oldest > time.Hour {
		t.Errorf("of the fleet: %+v", g)
	}
	until(t, "both have a part, and the sum is the whole", func() bool {
		var sum store.Gauges
		for _, bot := range replicas {
			g, err := bot.OwnGauges(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if g.Sessions == 0 || g.Slots != 64 {
				return false
			}
			sum.Sessions, sum.Waiting, sum.DeadLetters, sum.Slots = sum.Sessions+g.Sessions, sum.Waiting+g.Waiting, sum.DeadLetters+g.DeadLetters, sum.Slots+g.Slots
		}
		all := whole()
		all.Oldest = 0
		return sum == all
	})
	if g, err := web.OwnGauges(t.Context()); err != nil || g != (store.Gauges{}) {
		t.Errorf("of a process that does not serve the bot: %+v, %v", g, err)
	}
}
