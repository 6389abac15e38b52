package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// On a server whose memory is full nothing can be written. But what frees memory
// works, also where the event to be freed is in hand.
func TestActsThatFreeMemoryWorkOnAFullServer(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	admin := observer(t, url)
	accept := func(t *testing.T, bot *store.Bot, s *store.Session, event int) {
		t.Helper()
		_, err := bot.Accept(t.Context(), s.Ref().ID, session.Event{ID: fmt.Sprint(event), Text: fmt.Sprint(event)})
		must(t, err)
	}
	bot := botOf(t, open(t, url, &store.Options{Timeout: 2 * time.Second}), "bot", nil)
	for _, inHand := range []bool{false, true} {
		for name, frees := range map[string]func(s *store.Session) error{
			"skip": func(s *store.Session) error { return s.Skip(t.Context(), store.Head{Event: "0"}) },
			"drop": func(s *store.Session) error {
				waiting := int64(3)
				if inHand {
					waiting = 2
				}
				return s.Drop(t.Context(), waiting)
			},
			"destroy": func(s *store.Session) error { _, err := s.Destroy(t.Context()); return err },
			"redeliver": func(s *store.Session) error {
				at, err := lastLetter(t.Context(), s)
				if err == nil {
					_, err = s.Redeliver(t.Context(), at)
				}
				return err
			},
			"discard": func(s *store.Session) error {
				at, err := lastLetter(t.Context(), s)
				if err == nil {
					err = s.Discard(t.Context(), at)
				}
				return err
			},
			"erase": func(s *store.Session) error { _, err := bot.Erase(t.Context(), "", s.Ref().ID); return err },
		} {
			t.Run(fmt.Sprintf("%s, in hand %t", name, inHand), func(t *testing.T) {
				s := bot.Session(fmt.Sprint(name, inHand))
				held := make(chan struct{})
				if name == "redeliver" || name == "discard" {
					accept(t, bot, s, -1)
					must(t, s.Skip(t.Context(), store.Head{Event: "-1"}))
				}
				if inHand {
					serving, stop := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					entered := make(chan struct{})
					go func() {
						ended <- bot.Serve(serving, func(ctx context.Context, _ *store.Turn) error { close(entered); <-held; return nil }, nil)
					}()
					t.Cleanup(func() { stop(); must(t, <-ended) })
					defer close(held)
					accept(t, bot, s, 0)
					<-entered
				}
				for i := range 3 {
					accept(t, bot, s, i)
				}
				must(t, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
				defer func() { must(t, admin.ConfigSet(t.Context(), "maxmemory", "0").Err()) }()
				before, err := s.Status(t.Context())
				must(t, err)
				if err := s.Retry(t.Context(), store.Head{Event: "0"}, store.Retrial{Take: true}); err == nil || !strings.Contains(err.Error(), "OOM") {
					t.Errorf("a Retry frees nothing: %v", err)
				}
				after, err := s.Status(t.Context())
				must(t, err)
				if after.Waiting != before.Waiting || after.Lease.Token != before.Lease.Token {
					t.Errorf("the Retry that was refused has changed %+v to %+v", before, after)
				}
				if err := frees(s); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
