package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeReplica is a webhook that writes the responses one after the other, and the
// last one for ever.
func fakeReplica(t *testing.T, number int, responses ...func(http.ResponseWriter)) *replica {
	t.Helper()
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		respond := responses[0]
		if len(responses) > 1 {
			responses = responses[1:]
		}
		mu.Unlock()
		respond(w)
	}))
	t.Cleanup(server.Close)
	return &replica{number: number, url: server.URL}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, "because", code) }
}

func accepted(duplicate bool) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { json.NewEncoder(w).Encode(webhookResponse{Duplicate: duplicate}) }
}

func testPlatform(t *testing.T, live ...*replica) *platform {
	t.Helper()
	p := newPlatform([]Dialogue{{id: "d", exchanges: []exchange{{Text: "1", Reply: "one"}, {Text: "2"}, {Text: "3", Reply: "three"}}}}, 4)
	p.fleet = &fleet{live: live}
	return p
}

func testRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func TestDeliverUntilOneAccepts(t *testing.T) {
	t.Parallel()
	down := fakeReplica(t, 1, status(http.StatusServiceUnavailable))
	up := fakeReplica(t, 2, accepted(true))
	dead := &replica{number: 3, url: "http://127.0.0.1:1"}
	p := testPlatform(t, down, up, dead)
	for _, first := range []*replica{nil, down, dead, up} {
		if err := p.deliver(t.Context(), testRand(), first, []byte("{}")); err != nil {
			t.Errorf("to %v first: %v", first, err)
		}
	}
	if n := p.duplicates.Load(); n != 4 {
		t.Errorf("%d duplicates, want 4", n)
	}
	if p.refused.Load() < 2 {
		t.Errorf("%d deliveries were not accepted, want 2 or more", p.refused.Load())
	}
}

func TestDeliverEnds(t *testing.T) {
	t.Parallel()
	t.Run("when the message will never be accepted", func(t *testing.T) {
		t.Parallel()
		r := fakeReplica(t, 1, status(http.StatusBadRequest))
		r.cmd = nil
		p := testPlatform(t, r)
		err := p.deliver(t.Context(), testRand(), r, []byte("{}"))
		if !errors.Is(err, errRefused) {
			t.Errorf("returns %v", err)
		}
	})
	t.Run("when the demo ends", func(t *testing.T) {
		t.Parallel()
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		p := testPlatform(t) // nobody is there
		time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
		if err := p.deliver(ctx, testRand(), nil, []byte("{}")); err != why {
			t.Errorf("returns %v", err)
		}
	})
}

func TestReceiveCountsFirstCopies(t *testing.T) {
	t.Parallel()
	p := testPlatform(t)
	post := func(key, text string, takenOver bool) {
		body, _ := json.Marshal(postedReply{Session: "d", Key: key, Text: text, TakenOver: takenOver})
		w := httptest.NewRecorder()
		p.receive(w, httptest.NewRequest(http.MethodPost, "/replies", bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Errorf("returns %d", w.Code)
		}
	}
	talk := p.talks["d"]
	talk.delivered[0], talk.delivered[2] = time.Now(), time.Now()
	post("1-2", "one", false)
	post("1-2", "one", true) // a copy, from the replica that took over
	post("1-2", "one", true)
	post("1-5", "three", true)
	if got := []int64{p.replied.Load(), p.resent.Load(), p.takenOver.Load()}; !slices.Equal(got, []int64{2, 2, 2}) {
		t.Errorf("replied, resent, taken over: %v, want 2 each", got)
	}
	if !slices.Equal(talk.received, []string{"one", "three"}) {
		t.Errorf("received %q", talk.received)
	}
	if err := talk.wait(t.Context(), 2); err != nil {
		t.Error(err)
	}

	w := httptest.NewRecorder()
	p.receive(w, httptest.NewRequest(http.MethodPost, "/replies", bytes.NewReader([]byte(`{"session":"stranger"}`))))
	if w.Code != http.StatusNotFound {
		t.Errorf("a stranger's reply gets %d", w.Code)
	}
}
