package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// A spanLog is a log handler that keeps its lines, each with the span that its context
// is in.
type spanLog struct {
	slog.Handler
	recorder *storetest.Recorder
	mu       *sync.Mutex
	buffer   *bytes.Buffer
}

func newSpanLog(r *storetest.Recorder) spanLog {
	buffer := &bytes.Buffer{}
	return spanLog{slog.NewJSONHandler(buffer, nil), r, &sync.Mutex{}, buffer}
}

func (l spanLog) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.AddAttrs(slog.Bool("in a span", l.recorder.Trace(ctx) != [25]byte{}))
	return l.Handler.Handle(ctx, r)
}

func (l spanLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.Handler = l.Handler.WithAttrs(attrs)
	return l
}

// lines returns those with that message.
func (l spanLog) lines(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for lines := json.NewDecoder(bytes.NewReader(l.buffer.Bytes())); lines.More(); {
		line := map[string]any{}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line["msg"] == message || message == "" {
			found = append(found, line)
		}
	}
	return found
}

func TestEachFailedAttemptAndEachLetterIsOneLine(t *testing.T) {
	t.Parallel()
	var recorder storetest.Recorder
	log := newSpanLog(&recorder)
	st := open(t, redistest.Single(t), &store.Options{Logger: slog.New(log), Observer: &recorder})
	bot := botOf(t, st, "pizza", &store.BotOptions{RecordOnly: true, MaxAttempts: 2, Backoff: time.Millisecond})
	for _, text := range []string{"hello", "fail"} {
		if _, err := bot.Accept(t.Context(), "ann", session.Event{ID: text, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the event is a dead letter", func() bool {
		_, err := bot.Drain(t.Context(), func(_ context.Context, turn *store.Turn) error {
			if turn.Event().Text == "fail" {
				return errors.New("it fails")
			}
			return nil
		}, nil)
		must(t, err)
		letters, err := bot.Session("ann").DeadLetters(t.Context())
		must(t, err)
		return len(letters) == 1
	})
	must(t, bot.Session("ann").Reset(t.Context(), session.DropChat))

	common := func(line map[string]any, want map[string]any) {
		t.Helper()
		for key, value := range want {
			if line[key] != value {
				t.Errorf("%v: %s is %v, want %v", line, key, line[key], value)
			}
		}
	}
	attempts, letters, acts := log.lines(t, "attempt failed"), log.lines(t, "dead letter"), log.lines(t, "done by hand")
	if len(attempts) != 2 || len(letters) != 1 || len(acts) != 1 {
		t.Fatalf("%d failed attempts, %d letters, %d acts: %v", len(attempts), len(letters), len(acts), log.lines(t, ""))
	}
	for i, line := range append(attempts, letters...) {
		want := map[string]any{"level": "WARN", "bot": "pizza", "session": "ann", "event": "fail", "attempt": float64(min(i+1, 3)), "replica": st.Name(), "outcome": "failed", "error": "it fails", "in a span": true}
		if i == 2 {
			want["level"], want["outcome"] = "ERROR", "dead"
		}
		common(line, want)
		if took, ok := line["duration"].(float64); !ok || took <= 0 {
			t.Errorf("%v: a duration of %v", line, line["duration"])
		}
	}
	common(acts[0], map[string]any{"level": "INFO", "act": "reset", "bot": "pizza", "session": "ann", "replica": st.Name(), "in a span": true})
	for _, line := range log.lines(t, "") {
		if line["event"] == "hello" {
			t.Errorf("of a turn that went well: %v", line)
		}
	}
}

func TestAFunctionThatDoesNotReturnIsLoggedAgainAndAgain(t *testing.T) {
	t.Parallel()
	var recorder storetest.Recorder
	log := newSpanLog(&recorder)
	st := open(t, redistest.Single(t), &store.Options{Logger: slog.New(log), Lease: 300 * time.Millisecond, MaxTurn: 50 * time.Millisecond})
	st.Remind(10 * time.Millisecond)
	bot := botOf(t, st, "pizza", &store.BotOptions{RecordOnly: true, MaxAttempts: 1})
	block, left := make(chan struct{}), make(chan struct{})
	serve(t, bot, func(context.Context, *store.Turn) error {
		defer close(left)
		<-block
		return nil
	})
	if _, err := bot.Accept(t.Context(), "ann", session.Event{ID: "1", Text: "hang"}); err != nil {
		t.Fatal(err)
	}
	const still = "the function that was left alone has still not returned"
	until(t, "three lines say so", func() bool { return len(log.lines(t, still)) >= 3 })
	close(block)
	<-left
	line := log.lines(t, still)[0]
	if line["level"] != "WARN" || line["bot"] != "pizza" || line["session"] != "ann" || line["event"] != "1" || line["duration"].(float64) < float64(50*time.Millisecond) {
		t.Errorf("it says %v", line)
	}
	until(t, "no line comes any more", func() bool {
		n := len(log.lines(t, still))
		time.Sleep(100 * time.Millisecond)
		return len(log.lines(t, still)) == n
	})
}
