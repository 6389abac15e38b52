package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// running is a replica without a demo, on an embedded store.
type running struct {
	url    string // url is the address of its webhook
	server *embedded.Store
	stop   func() // stop ends it, and waits for its end
}

func newRunning(t *testing.T) running {
	t.Helper()
	server, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var errs strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"replica", "--listen", "127.0.0.1:0", "--redis", server.URL()}, strings.NewReader(""), in, &errs)
		in.Close()
	}()
	end := sync.OnceFunc(func() {
		stop()
		if got := receive(t, "the replica ends", code); got != exitOK {
			t.Errorf("exit code %d: %s", got, errs.String())
		}
	})
	t.Cleanup(end)
	var hello struct{ Address string }
	if err := json.NewDecoder(out).Decode(&hello); err != nil {
		t.Fatal(err)
	}
	return running{"http://" + hello.Address, server, end}
}

func TestTheWebhookOfAReplicaWithoutADemoReturnsTheReplies(t *testing.T) {
	t.Parallel()
	f := newRunning(t)
	post := func(body string) string {
		t.Helper()
		response, err := http.Post(f.url+"/webhook", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(response.StatusCode, " ", string(content))
	}
	for _, want := range []string{
		`200 {"duplicate":false,"outcome":"handled","replies":["One pizza! Which size: small, medium or large?"]}`,
		`200 {"duplicate":true,"outcome":"handled","replies":["One pizza! Which size: small, medium or large?"]}`,
	} {
		if got := post(`{"session": "ann", "id": "1", "text": "a pizza"}`); got != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	for body, want := range map[string]string{
		`{"session": "ann", "text": "a pizza"}`: "400 accept ",
		`a pizza`:                               "400 invalid character",
	} {
		if got := post(body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestAReplicaIsHealthyWhileItServesAndTheServerReplies(t *testing.T) {
	t.Parallel()
	f := newRunning(t)
	status := func() int {
		response, err := http.Get(f.url + "/healthz")
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("it serves, and /healthz returns %d", got)
	}
	f.server.Close()
	if got := status(); got != http.StatusServiceUnavailable {
		t.Errorf("the server is gone, and /healthz returns %d", got)
	}
	f.stop()
	if got := status(); got != 0 {
		t.Errorf("the replica is gone, and /healthz returns %d", got)
	}
}
