package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// openExample opens a store in this process. A real program calls
// store.Open(ctx, "redis://localhost:6379", nil).
func openExample(ctx context.Context) *embedded.Store {
	st, err := embedded.Open(ctx, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	return st
}

// A replica serves the bot; a webhook, here or elsewhere, accepts events for it.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	st := openExample(ctx)
	defer st.Close()

	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{Initial: "greeting", RecordOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	const size store.Key[string] = "size"
	go bot.Serve(ctx, func(ctx context.Context, t *store.Turn) error {
		switch t.State() {
		case "greeting":
			t.Move("ordering")
			t.Reply("Which size?")
		case "ordering":
			size.Set(t, t.Event().Text)
			t.Reply("A " + t.Event().Text + " pizza it is.")
		}
		return nil
	}, nil)

	for i, text := range []string{"a pizza", "large", "large"} {
		id := fmt.Sprint("update-", min(i, 1)) // the platform delivers the second one twice
		receipt, err := bot.Accept(ctx, "ann", session.Event{ID: id, Text: text})
		if err != nil {
			log.Fatal(err)
		}
		outcome, err := receipt.Wait(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outcome.Replies[0], receipt.Duplicate)
	}
	value, _, err := size.Load(ctx, bot.Session("ann"))
	fmt.Println(value, err)
	// Output:
	// Which size? false
	// A large pizza it is. false
	// A large pizza it is. true
	// large <nil>
}

// Read, decide, write: an Update never crosses a turn, so nothing is lost.
func ExampleBot_Update() {
	ctx := context.Background()
	st := openExample(ctx)
	defer st.Close()
	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{})
	if err != nil {
		log.Fatal(err)
	}
	const visits store.Key[int] = "visits"

	if _, err := bot.Session("ann").Create(ctx, store.Origin{}); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		_, err := bot.Update(ctx, "ann", func(ctx context.Context, t *store.Turn) error {
			n, _ := visits.Get(t)
			visits.Set(t, n+1)
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(visits.Load(ctx, bot.Session("ann")))
	// Output: 3 true <nil>
}

// The framework's verbs, each one atomic script.
func ExampleSession() {
	ctx := context.Background()
	st := openExample(ctx)
	defer st.Close()
	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{Initial: "greeting"})
	if err != nil {
		log.Fatal(err)
	}
	s := bot.Session("ann")

	err = s.Set(ctx, "vip", true)
	fmt.Println(errors.Is(err, session.ErrNotFound), err)

	created, err := s.Create(ctx, store.Origin{User: "Ann"})
	fmt.Println(created, err)
	fmt.Println(s.Set(ctx, "vip", true))
	fmt.Println(s.Move(ctx, session.Transition{From: "greeting", To: "ordering"}))

	err = s.Move(ctx, session.Transition{From: "greeting", To: "ordering"})
	var wrong *session.StateError
	fmt.Println(errors.As(err, &wrong), wrong.Found)

	fmt.Println(s.Reply(ctx, "Which size?"))
	chat, err := s.History(ctx, session.Last(20))
	fmt.Println(chat[0].Seq, chat[0].From, chat[0], err)
	// Output:
	// true set in pizza/ann: not found
	// true <nil>
	// <nil>
	// <nil>
	// true ordering
	// <nil>
	// 1 bot Which size? <nil>
}

// A webhook says to the platform: I have it; it can never be accepted; or deliver
// it again, which the event's id makes safe.
func ExampleBot_Accept_webhook() {
	ctx := context.Background()
	st := openExample(ctx)
	defer st.Close()
	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{InboxLimit: 1, RecordOnly: true})
	if err != nil {
		log.Fatal(err)
	}

	webhook := func(w http.ResponseWriter, r *http.Request) {
		var update struct{ ID, User, Text string }
		if json.NewDecoder(r.Body).Decode(&update) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, err := bot.Accept(r.Context(), update.User, session.Event{ID: update.ID, Text: update.Text})
		if errors.Is(err, session.ErrInvalid) {
			w.WriteHeader(http.StatusBadRequest)
		} else if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}

	server := httptest.NewServer(http.HandlerFunc(webhook))
	defer server.Close()
	deliver := func(update string) {
		r, err := server.Client().Post(server.URL, "application/json", strings.NewReader(update))
		if err != nil {
			log.Fatal(err)
		}
		r.Body.Close()
		fmt.Println(r.StatusCode, update)
	}
	deliver(`{"id": "u-1", "user": "ann", "text": "a pizza"}`)
	deliver(`{"id": "u-1", "user": "ann", "text": "a pizza"}`)
	deliver(`{"id": "u-2", "user": "ann", "text": "large"}`)
	deliver(`{"user": "ann", "text": "no id"}`)
	turns, err := bot.Drain(ctx, func(ctx context.Context, t *store.Turn) error { return nil }, nil)
	fmt.Println(turns, "turn", err)
	deliver(`{"id": "u-2", "user": "ann", "text": "large"}`)
	// Output:
	// 200 {"id": "u-1", "user": "ann", "text": "a pizza"}
	// 200 {"id": "u-1", "user": "ann", "text": "a pizza"}
	// 503 {"id": "u-2", "user": "ann", "text": "large"}
	// 400 {"user": "ann", "text": "no id"}
	// 1 turn <nil>
	// 200 {"id": "u-2", "user": "ann", "text": "large"}
}

// What a handler says of its failures.
func ExampleRetryAfter() {
	handler := func(ctx context.Context, t *store.Turn) error {
		switch answer, err := askModel(ctx, t.Event().Text); {
		case errors.Is(err, errBusyModel):
			return store.RetryAfter(30*time.Second, err) // counts as a failure
		case errors.Is(err, errRefused):
			return store.GiveUp(err) // a dead letter at once
		case errors.Is(err, errNoModel):
			return store.Later(err) // no failure: tried again for a day
		case err != nil:
			return err // again after the usual back-off
		default:
			t.Reply(answer)
			return nil
		}
	}
	_ = handler
}

var errBusyModel, errRefused, errNoModel = errors.New("model busy"), errors.New("model refuses"), errors.New("model down")

func askModel(context.Context, string) (string, error) { return "", errBusyModel }
