package demo

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// The demo starts replicas of its own program, which in a test is the test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "replica" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		r := Replica{Open: store.Open, In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
		if err := r.Serve(ctx); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestRunGivesUpWhenNothingHappens(t *testing.T) {
	t.Parallel()
	server, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	var out, errs bytes.Buffer
	dialogues, err := Load("", 2)
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), Options{
		Dialogues: dialogues, Redis: server.URL(), Open: store.Open,
		Replicas: 1, Users: 2, Lease: 500 * time.Millisecond,
		Work: time.Minute, patience: -time.Minute, // less than the handler takes
		Out: text.NewWriter(&out, os.Getenv), Err: text.NewWriter(&errs, os.Getenv),
	})
	if err != ErrNotClean {
		t.Errorf("returns %v", err)
	}
	if !strings.Contains(errs.String(), "nothing happens any more: given up") || !strings.Contains(out.String(), "NOT CLEAN: 2 of 2 sessions differ") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", &out, &errs)
	}
}

func TestTheVerdictTellsWhereTheSessionsAreButNoPassword(t *testing.T) {
	t.Parallel()
	st, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	bot, err := st.Bot(t.Context(), "demo-x", botOptions())
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"redis://127.0.0.1:6379":              " --redis redis://127.0.0.1:6379 ",
		"redis://ann:s3cret@127.0.0.1":        " --redis URL ",
		"redis://127.0.0.1/0?password=s3cret": " --redis URL ",
	} {
		var errs strings.Builder
		p := &play{bot: bot, Options: Options{Redis: url, Namespace: "n", Dialogues: []Dialogue{{id: "an id"}}, Err: text.NewWriter(&errs, os.Getenv)}}
		if err := p.verdict(text.NewWriter(io.Discard, os.Getenv), result{}); err != nil {
			t.Error(err)
		}
		if strings.Contains(errs.String(), "s3cret") || !strings.Contains(errs.String(), `  botsession show 'demo-x/"an id"'`+want+"--namespace n\n") {
			t.Errorf("%s: stderr %q", url, errs.String())
		}
	}
}

func TestReportHasTheKeysThatScriptsRead(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := text.WriteJSON(&out, report{}); err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(out.String(), 12)
	var got []string
	for _, key := range keys {
		got = append(got, key[1])
	}
	want := []string{"dialogues", "turns", "mismatched", "lost", "duplicated", "out_of_order", "duplicates_dropped",
		"takeovers", "turns_per_second", "p50_ms", "p99_ms", "resent"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
