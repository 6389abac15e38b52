package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// A line is a sample, or a comment that declares a metric, as Prometheus' description of
// its text format (version 0.0.4) has them.
var (
	comment = regexp.MustCompile(`^# (HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) [^\n]+|TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram))$`)
	line    = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="(\\[\\"n]|[^"\\\n])*",?)+\})? (-?[0-9.]+(e[+-][0-9]+)?|\+Inf|-Inf|NaN)$`)
)

// samples reads what Write wrote, strictly: each metric is declared once, by HELP and then
// TYPE, and all its samples follow; no sample comes twice.
func samples(t *testing.T, text string) map[string]string {
	t.Helper()
	if text != "" && !strings.HasSuffix(text, "\n") {
		t.Errorf("the last line does not end: %q", text)
	}
	found, declared := map[string]string{}, map[string]bool{}
	helped, current := "", ""
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if c := comment.FindStringSubmatch(l); c != nil {
			switch name := c[3]; {
			case c[2] != "":
				helped = c[2]
			case name != helped || declared[name]:
				t.Errorf("%q does not follow its help, or comes twice", l)
			default:
				declared[name], current = true, name
			}
			continue
		}
		s := line.FindStringSubmatch(l)
		if s == nil {
			t.Errorf("no line of the format: %q", l)
			continue
		}
		family := s[1]
		if family != current {
			family = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(family, "")
		}
		if family != current {
			t.Errorf("%q stands below the declaration of %s", l, current)
		}
		name := s[1] + s[2]
		if _, twice := found[name]; twice {
			t.Errorf("%q comes twice", name)
		}
		found[name] = s[5]
	}
	return found
}

func TestWhatIsWrittenIsInTheFormatAndExact(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := Write(&b, []Figures{
		{Bot: "pizza", Gauges: store.Gauges{Sessions: 1_000_000, Waiting: 20, Oldest: 1500 * time.Millisecond, DeadLetters: 3, Slots: 256, Busy: 7}},
		{Bot: `a"b\c`, Gauges: store.Gauges{Sessions: 5}, Err: errors.New("partial")},
		{Bot: "gone", Err: errors.New("no server replies")},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := samples(t, b.String())
	want := map[string]string{
		`botsession_up{bot="pizza"}`: "1", `botsession_sessions{bot="pizza"}`: "1e+06", `botsession_events_waiting{bot="pizza"}`: "20",
		`botsession_events_oldest_age_seconds{bot="pizza"}`: "1.5", `botsession_dead_letters{bot="pizza"}`: "3",
		`botsession_slots{bot="pizza",state="free"}`: "249", `botsession_slots{bot="pizza",state="busy"}`: "7",
		`botsession_up{bot="a\"b\\c"}`: "0", `botsession_sessions{bot="a\"b\\c"}`: "5",
		`botsession_up{bot="gone"}`: "0",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	for name := range got {
		if strings.Contains(name, `"gone"`) && !strings.HasPrefix(name, "botsession_up") {
			t.Errorf("of a bot of which nothing could be read: %s", name)
		}
	}
}

func TestAReplicaServesItsFiguresAndItsHealth(t *testing.T) {
	t.Parallel()
	st, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	bot, err := st.Bot(t.Context(), "pizza", &store.BotOptions{RecordOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- bot.Serve(ctx, func(context.Context, *store.Turn) error { return store.GiveUp(errors.New("no such product")) }, nil)
	}()
	receipt, err := bot.Accept(t.Context(), "ann", session.Event{ID: "1", Text: "a pizza"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", Handler(Own(bot)))
	mux.Handle("GET /fleet", Handler(Fleet(st.Store)))
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	for _, path := range []string{"/metrics", "/fleet"} {
		w := get(path)
		got := samples(t, w.Body.String())
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != ContentType || got[`botsession_sessions{bot="pizza"}`] != "1" || got[`botsession_dead_letters{bot="pizza"}`] != "1" {
			t.Errorf("%s: %d, %q", path, w.Code, w.Body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	st.Close()
	if w := get("/fleet"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("figures of a store that is closed: %d, %q", w.Code, w.Body)
	}
	if w := get("/metrics"); w.Code != http.StatusOK || samples(t, w.Body.String())[`botsession_up{bot="pizza"}`] != "0" {
		t.Errorf("figures of a bot whose store is closed: %d, %q", w.Code, w.Body)
	}
}
