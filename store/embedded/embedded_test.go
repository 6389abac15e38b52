package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

func TestKeysExpire(t *testing.T) {
	t.Parallel()
	server, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client, err := store.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctx := t.Context()
	if err := client.Set(ctx, "soon", "gone", 200*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(ctx, "never", "here", 0).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for client.Exists(ctx, "soon").Val() == 1 {
		if time.Now().After(deadline) {
			t.Fatal("a key with a time to live of 200 ms is still there after 20 s")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if client.Exists(ctx, "never").Val() != 1 {
		t.Error("a key without a time to live is gone")
	}
}

func TestTwoStoresShareSessions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here, err := embedded.Open(ctx, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	there, err := store.Open(ctx, here.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })

	pizza, err := here.Bot(ctx, "pizza", &store.BotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same, err := there.Bot(ctx, "pizza", nil)
	if err != nil {
		t.Fatal(err)
	}
	ann := pizza.Session("ann")
	if _, err := ann.Create(ctx, store.Origin{State: "greeting"}); err != nil {
		t.Fatal(err)
	}
	if err := ann.Set(ctx, "size", "large"); err != nil {
		t.Fatal(err)
	}
	size, found, err := same.Session("ann").Get(ctx, "size")
	if err != nil || !found || size != "large" {
		t.Errorf("the other store reads %v, %v, %v; want large", size, found, err)
	}
	_, err = same.Session("ben").Load(ctx)
	if !errors.Is(err, session.ErrNotFound) {
		t.Errorf("a session that is not there: %v, want %v", err, session.ErrNotFound)
	}
}

func TestItSaysThatItKeepsNothing(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	st, err := embedded.Open(context.Background(), &store.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "KEEPS NOTHING") || !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("the log has no warning: %s", &said)
	}
	if err := st.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
