package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

func TestAReplicaWithoutADemoAnswersItsWebhook(t *testing.T) {
	t.Parallel()
	server, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, in := io.Pipe()
	var errs strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"replica", "--listen", "127.0.0.1:0", "--bot", "pizza", "--redis", server.URL()}, strings.NewReader(""), in, &errs)
	}()

	lines := json.NewDecoder(bufio.NewReader(out))
	var hello struct{ Address string }
	if err := lines.Decode(&hello); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second is a duplicate, and starts no second turn
		answer, err := http.Post("http://"+hello.Address+"/webhook", "application/json", strings.NewReader(`{"session": "ann", "id": "1", "text": "a pizza"}`))
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%v %v", answer, err)
		}
		answer.Body.Close()
	}
	var reply struct{ Session, Key, Text string }
	if err := lines.Decode(&reply); err != nil {
		t.Fatal(err)
	}
	if reply.Session != "ann" || reply.Text != "You said: a pizza" || reply.Key == "" {
		t.Errorf("it replied %+v", reply)
	}
	stop()
	if got := receive(t, "the replica ends", code); got != exitOK {
		t.Errorf("exit code %d: %s", got, errs.String())
	}
}
