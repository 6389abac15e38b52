package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// Two times of a process' copy of the settings, for tests in which it is to be known
// when a process asks.
const (
	eachTime = time.Nanosecond // it asks before each use
	notAgain = time.Hour       // it asks no more in this test
)

// A logged keeps lines of a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// lines returns those with the text in them.
func (l *logged) lines(with string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, with) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// asking opens a store whose copy of the settings may be so old.
func asking(t testing.TB, url string, age time.Duration, opts *store.Options) *store.Store {
	t.Helper()
	st := open(t, url, opts)
	st.AskForSettings(age)
	return st
}

// initial is the state in which this process has a session begin: it goes by the
// settings that it knows, as each call does.
func initial(t testing.TB, bot *store.Bot) string {
	t.Helper()
	sess := bot.Session(fmt.Sprint("asks", asks.Add(1)))
	if _, err := sess.Create(t.Context(), store.Origin{}); err != nil {
		t.Fatal(err)
	}
	snap, err := sess.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap.State
}

var asks atomic.Int64

func configure(t testing.TB, bot *store.Bot, change func(*store.BotOptions)) {
	t.Helper()
	if err := bot.Configure(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

func settingsOf(t testing.TB, bot *store.Bot) store.Settings {
	t.Helper()
	s, err := bot.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begins sets the state in which sessions begin.
func begins(state string) func(*store.BotOptions) {
	return func(o *store.BotOptions) { o.Initial = state }
}

func TestAChangeActsAtOnceWhereItWasMade(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	here := botOf(t, asking(t, url, notAgain, nil), "bot", &store.BotOptions{Initial: "a"})
	there := botOf(t, asking(t, url, notAgain, nil), "bot", nil)
	configure(t, here, begins("b"))
	if got := initial(t, here); got != "b" {
		t.Errorf("a session begins in %q after a change", got)
	}
	configure(t, there, begins("b")) // as it is already
	if got := initial(t, there); got != "b" {
		t.Errorf("a session begins in %q after a change that somebody else had made", got)
	}
	configure(t, here, begins("c"))
	settingsOf(t, there)
	if got := initial(t, there); got != "c" {
		t.Errorf("a session begins in %q after the settings were read", got)
	}
	if got := settingsOf(t, here).Revision; got != 3 {
		t.Errorf("revision %d, want 3", got)
	}
}

func TestConfigureSurvivesItsFunction(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st := open(t, url, nil)
	bot, other := botOf(t, st, "bot", nil), botOf(t, open(t, url, nil), "bot", nil)
	ctx := t.Context()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = bot.Configure(ctx, func(o *store.BotOptions) { o.Initial = "bad"; runtime.Goexit() })
	}()
	bounded.Receive(t, "the goroutine ends", ended)
	if err := bot.Configure(ctx, func(o *store.BotOptions) { o.Initial = "bad"; panic("no") }); err == nil || !strings.Contains(err.Error(), "panicked: no") {
		t.Errorf("a function that panics: %v", err)
	}
	for _, bad := range []func(*store.BotOptions){begins("caf\xe9"), begins(strings.Repeat("x", 300)), func(o *store.BotOptions) { o.InboxLimit = -1 }} {
		if err := bot.Configure(ctx, bad); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("a bad value: %v, want ErrInvalid", err)
		}
	}
	if got := settingsOf(t, bot); got.Revision != 1 {
		t.Errorf("after functions that failed, settings are %+v", got)
	}
	runs := 0
	must(t, bot.Configure(ctx, func(o *store.BotOptions) {
		runs++
		if runs == 1 { // somebody else is quicker, and so is this one itself
			configure(t, other, func(o *store.BotOptions) { o.InboxLimit = 7 })
			configure(t, bot, func(o *store.BotOptions) { o.DeadLimit = 8 })
			botOf(t, st, "bot", nil)
			botOf(t, st, "another", nil)
		}
		o.HistoryLimit += 9
	}))
	got := settingsOf(t, bot)
	if o := got.Options; runs != 2 || got.Revision != 4 || o.InboxLimit != 7 || o.DeadLimit != 8 || o.HistoryLimit != 9 {
		t.Errorf("after %d runs settings are %+v", runs, got)
	}
}

// Each process reads what another one wrote as it was meant.
func TestSettingsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for name, opts := range map[string]store.BotOptions{
		"never": {TTL: -1}, "a negative TTL": {TTL: -time.Hour}, "a fine TTL": {TTL: time.Hour + time.Nanosecond},
		"a text": {Initial: "<a> & \"b\" \u2028 é \\"}, "the longest TTL": {TTL: math.MaxInt64, DedupeWindow: math.MaxInt64, MaxWait: math.MaxInt64},
		"large numbers": {HistoryLimit: math.MaxInt32, InboxLimit: math.MaxInt32, InboxBytes: math.MaxInt32, MaxAttempts: math.MaxInt32, DeadLimit: math.MaxInt32},
		"a flag":        {RecordOnly: true},
	} {
		bot := strings.ReplaceAll(name, " ", "-")
		wrote := settingsOf(t, botOf(t, open(t, url, nil), bot, &opts))
		read := botOf(t, open(t, url, nil), bot, &opts)
		if got := settingsOf(t, read); got != wrote {
			t.Errorf("%s: read %+v, want %+v", name, got, wrote)
		}
		want := opts
		if want.TTL < 0 {
			want.TTL = -1
		}
		if got := wrote.Options; want.TTL != 0 && got.TTL != want.TTL || want.Initial != "" && got.Initial != want.Initial || got.HistoryLimit != want.HistoryLimit {
			t.Errorf("%s: stored %+v, want %+v", name, got, want)
		}
		configure(t, read, func(o *store.BotOptions) { o.HistoryLimit = 3 })
	}
	for _, opts := range []store.BotOptions{{Initial: "caf\xe9"}, {InboxLimit: math.MaxInt}, {MaxAttempts: math.MaxInt}} {
		if _, err := open(t, url, nil).Bot(t.Context(), "bad", &opts); !errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "BotOptions.") {
			t.Errorf("%+v: %v, want ErrInvalid with the field's name", opts, err)
		}
	}
}

// The order of changes does not depend on a clock that is set back.
func TestAChangeIsLaterThanTheOneBefore(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	client := observer(t, url)
	bot := botOf(t, open(t, url, nil), "bot", nil)
	was := settingsOf(t, bot).Changed
	future := strings.Replace(client.HGet(t.Context(), botsKey, "bot").Val(), fmt.Sprintf(`"changed":"%d`, was.Year()), `"changed":"2999`, 1)
	must(t, client.HSet(t.Context(), botsKey, "bot", strings.Replace(future, `"revision":1`, `"revision":2`, 1)).Err())
	before := settingsOf(t, bot)
	configure(t, bot, begins("b"))
	if got := settingsOf(t, bot); before.Changed.Year() != 2999 || !got.Changed.After(before.Changed) || got.Revision != 3 {
		t.Errorf("changed at %v, after a change at %v", got.Changed, before.Changed)
	}
	if got := initial(t, bot); got != "b" {
		t.Errorf("a session begins in %q", got)
	}
}

// The largest settings mean what they say: no number is so large that it is taken
// for a small one.
func TestTheLargestSettingsWork(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt32
	bot := botOf(t, open(t, redistest.Single(t), nil), "bot", &store.BotOptions{
		TTL: math.MaxInt64, HistoryLimit: most, InboxLimit: most, InboxBytes: most, DedupeWindow: math.MaxInt64,
		MaxAttempts: most, Backoff: math.MaxInt64, MaxWait: math.MaxInt64, DeadLimit: most, RecordOnly: true,
	})
	ctx := t.Context()
	for _, text := range []string{"good", "bad"} {
		_, err := bot.Accept(ctx, text, session.Event{ID: "e", Text: text})
		must(t, err)
	}
	turns, err := bot.Drain(ctx, func(_ context.Context, turn *store.Turn) error {
		if turn.Event().Text == "bad" {
			return errors.New("no")
		}
		turn.Reply("re")
		return nil
	}, nil)
	if err != nil || turns != 2 {
		t.Errorf("%d turns, %v; want 2", turns, err)
	}
	status, err := bot.Session("bad").Status(ctx)
	must(t, err)
	if status.Waiting != 1 || status.Event.At.Before(time.Now().Add(24*time.Hour)) {
		t.Errorf("after a failure: %+v, want a long wait", status)
	}
	again, err := bot.Accept(ctx, "good", session.Event{ID: "e", Text: "good"})
	if err != nil || !again.Duplicate {
		t.Errorf("a duplicate: %+v, %v", again, err)
	}
	if snap, err := bot.Session("good").Load(ctx); err != nil || !snap.Expires.IsZero() && snap.Expires.Before(time.Now().Add(24*time.Hour)) {
		t.Errorf("the session: %+v, %v; want one that lives for long", snap, err)
	}
}

// A process that shuts down goes on calling, and so on asking.
func TestAChangeActsInAProcessThatShutsDown(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	elsewhere := botOf(t, asking(t, url, notAgain, nil), "bot", nil)
	here := botOf(t, asking(t, url, eachTime, nil), "bot", nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	runs, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- here.Serve(ctx, func(context.Context, *store.Turn) error { close(runs); <-end; return nil }, &store.ServeOptions{Grace: time.Hour})
	}()
	_, err := here.Accept(t.Context(), "1", session.Event{ID: "e"})
	must(t, err)
	bounded.Receive(t, "the turn begins", runs)
	stop()
	until(t, "it takes nothing new", func() bool { return initial(t, here) != "" && stopped(t, here) })
	configure(t, elsewhere, begins("new"))
	if got := initial(t, here); got != "new" {
		t.Errorf("a session begins in %q", got)
	}
	close(end)
	must(t, bounded.Receive(t, "Serve ends", ended))
}

// stopped reports whether the bot's replica takes no more events.
func stopped(t testing.TB, bot *store.Bot) bool {
	t.Helper()
	replicas, err := store.Gather(bot.Replicas(t.Context()))
	must(t, err)
	return !slices.ContainsFunc(replicas, func(r store.Replica) bool { return r.Present })
}

// A Drain may take long.
func TestAChangeActsInADrainThatRuns(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	elsewhere := botOf(t, asking(t, url, notAgain, nil), "bot", nil)
	here := botOf(t, asking(t, url, eachTime, nil), "bot", nil)
	for i := range 2 {
		_, err := here.Accept(t.Context(), fmt.Sprint(i), session.Event{ID: "e", Text: "hi"})
		must(t, err)
	}
	n := 0
	_, err := here.Drain(t.Context(), func(_ context.Context, turn *store.Turn) error {
		if n++; n == 1 {
			configure(t, elsewhere, begins("new"))
			return nil
		}
		turn.Reset(session.KeepChat)
		return nil
	}, nil)
	must(t, err)
	found, err := store.Gather(here.Sessions(t.Context(), store.Filter{State: "new"}))
	if err != nil || len(found) != 1 {
		t.Errorf("sessions in the new state: %v, %v; want the one that was reset after the change", found, err)
	}
}

// An Update may wait long for its session.
func TestAChangeActsInAnUpdateThatWaits(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	elsewhere := botOf(t, asking(t, url, notAgain, nil), "bot", nil)
	client, err := store.ParseURL(url)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	var sends trips
	client.AddHook(&sends)
	st, err := store.New(t.Context(), client, nil)
	must(t, err)
	st.AskForSettings(eachTime)
	here := botOf(t, st, "bot", nil)
	_, err = elsewhere.Accept(t.Context(), "1", session.Event{ID: "e", Text: "hi"})
	must(t, err)
	updated := make(chan error, 1)
	_, err = elsewhere.Drain(t.Context(), func(context.Context, *store.Turn) error {
		go func() {
			_, err := here.Update(t.Context(), "1", func(_ context.Context, turn *store.Turn) error { turn.Reply("a"); turn.Reply("b"); return nil })
			updated <- err
		}()
		before := sends.n.Load()
		until(t, "it waits", func() bool { return sends.n.Load() >= before+3 })
		configure(t, elsewhere, func(o *store.BotOptions) { o.HistoryLimit = 1 })
		return nil
	}, nil)
	must(t, err)
	must(t, bounded.Receive(t, "Update returns", updated))
	if chat, err := here.Session("1").History(t.Context(), session.All()); err != nil || len(chat) != 1 {
		t.Errorf("chat %v, %v; want one message", chat, err)
	}
}

// The log is a user's code, too: nothing is held while it runs.
func TestALogThatAsksForTheBotDoesNotStopIt(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	botOf(t, open(t, url, nil), "bot", &store.BotOptions{TTL: time.Hour})
	var st atomic.Pointer[store.Store]
	ask := askingHandler{slog.DiscardHandler, func(ctx context.Context) {
		if st := st.Load(); st != nil {
			_, _ = st.Bot(ctx, "bot", nil)
		}
	}}
	st.Store(open(t, url, &store.Options{Logger: slog.New(ask)}))
	done := make(chan error, 1)
	go func() {
		_, err := st.Load().Bot(t.Context(), "bot", nil)
		if err == nil {
			_, err = st.Load().Bot(t.Context(), "bot", &store.BotOptions{TTL: time.Minute})
		}
		done <- err
	}()
	must(t, bounded.Receive(t, "Bot returns", done))
}

type askingHandler struct {
	slog.Handler
	ask func(context.Context)
}

func (askingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h askingHandler) Handle(ctx context.Context, _ slog.Record) error { h.ask(ctx); return nil }

func (h askingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// The command that a warning names can be given to a shell, and is about this data.
func TestTheWarningNamesACommandThatWorks(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	opts := func(l *logged) *store.Options { return &store.Options{Namespace: "shop", Logger: l.logger()} }
	var log logged
	botOf(t, open(t, url, opts(&log)), "bot", nil)
	botOf(t, open(t, url, opts(&log)), "bot", &store.BotOptions{Initial: "it's $HOME", TTL: -1})
	want := `botsession settings --namespace shop bot initial='it'\\''s $HOME' ttl=never`
	if lines := log.lines("to change it"); len(lines) != 1 || !strings.Contains(lines[0], want) {
		t.Errorf("it warns %q, want %s", lines, want)
	}
}
