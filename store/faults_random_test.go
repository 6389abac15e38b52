package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/faultnet"
)

// seed is that of the random faults: a new one, unless FAULTS_SEED is set.
func seed(t *testing.T) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("FAULTS_SEED"), 10, 64)
	if err != nil {
		n = uint64(rand.Uint32())
	}
	t.Logf("FAULTS_SEED=%d draws these faults again", n)
	return n
}

// A user writes to the bot, one event after the other, and counts what may have
// become of the Updates in between.
type user struct {
	id             string
	said, replies  []string // the chat; what must be sent
	least, most    int      // increments
	random         *rand.Rand
	failed, unsure int
}

func TestAFleetOnABadNetworkHandlesEachEventOnceAndInOrder(t *testing.T) {
	t.Parallel()
	const replicas, users, events, chance = 3, 12, 20, 0.15
	labs, _ := newLabs(t, replicas, "fleet", callTimeout)
	first := seed(t)
	s := labs[0].scene(t, store.BotOptions{})
	var bots []*store.Bot
	for i, l := range labs {
		bots = append(bots, botWith(t, l.far, s.name, s.opts, s.brings))
		defer s.serve(bots[i], func(_ context.Context, t *store.Turn) error { echo(t); return nil })()
	}
	faults := append([]faultnet.Fault{faultnet.DropRequest, faultnet.DropReply, faultnet.Delay(overtaken), loading}, faultnet.Cuts...)
	for i, l := range labs {
		l.net.Random(first+uint64(i), chance, faults...)
	}
	var all [users]*user
	var wg sync.WaitGroup
	for i := range all {
		u := &user{id: fmt.Sprint("user", i), random: rand.New(rand.NewPCG(first, uint64(i)))}
		all[i] = u
		wg.Go(func() {
			for n := range events {
				u.say(s, bots, fmt.Sprint("message ", n))
				u.increment(s, bots)
			}
		})
	}
	bounded.Wait(t, "all users are done", &wg)
	struck := 0
	for _, l := range labs {
		struck += l.net.Counts().Struck
		l.net.Strike()
		s.ok(l.net.Settle(t.Context()))
	}
	failed, unsure := 0, 0
	for _, u := range all {
		u.check(s, events)
		failed, unsure = failed+u.failed, unsure+u.unsure
	}
	t.Logf("%d faults, %d calls failed, %d had an unknown outcome", struck, failed, unsure)
}

func (u *user) bot(bots []*store.Bot) *store.Bot { return bots[u.random.IntN(len(bots))] }

func (u *user) count(err error) {
	if errors.Is(err, session.ErrUnknownOutcome) {
		u.unsure++
	} else if err != nil {
		u.failed++
	}
}

// say delivers an event, at one replica after the other, until one accepts it.
func (u *user) say(s *scene, bots []*store.Bot, text string) {
	for limit := time.Now().Add(time.Minute); ; {
		_, err := u.bot(bots).Accept(s.Context(), u.id, session.Event{ID: text, Text: text})
		if u.count(err); err == nil {
			break
		}
		if time.Now().After(limit) { // it was never accepted: that it is missing later is no loss
			s.Errorf("no replica accepts %q of %s: %v", text, u.id, err)
			return
		}
	}
	u.said = append(u.said, "u "+text, "b re "+text, "b more on "+text)
	u.replies = append(u.replies, "re "+text, "more on "+text)
}

// increment increments what each turn increments, too.
func (u *user) increment(s *scene, bots []*store.Bot) {
	ctx, cancel := context.WithTimeout(s.Context(), callTimeout)
	defer cancel()
	_, err := u.bot(bots).Update(ctx, u.id, func(_ context.Context, t *store.Turn) error { tick(t); return nil })
	u.count(err)
	if err == nil {
		u.least++
	}
	if err == nil || errors.Is(err, session.ErrUnknownOutcome) {
		u.most++
	}
}

// check waits until all is done, and compares.
func (u *user) check(s *scene, events int) {
	s.Helper()
	sess := s.eye.Session(u.id)
	s.eventually("all is handled and sent", func() bool {
		status, err := sess.Status(s.Context())
		s.ok(err)
		return status.Waiting+status.Unsent == 0
	})
	chat, err := sess.History(s.Context(), session.All())
	s.ok(err)
	var said []string
	for _, m := range chat {
		said = append(said, string(m.From[:1])+" "+m.String())
	}
	if d := differ(u.said, said); d != "" {
		s.Errorf("chat of %s:\n%s", u.id, d)
	}
	if d := differ(u.replies, s.sent.texts(u.id)); d != "" {
		s.Errorf("sent to %s:\n%s", u.id, d)
	}
	n, _, err := counter.Load(s.Context(), sess)
	s.ok(err)
	if n < events+u.least || n > events+u.most {
		s.Errorf("%s: %d increments, want %d of turns and %d to %d of Updates", u.id, n, events, u.least, u.most)
	}
}
