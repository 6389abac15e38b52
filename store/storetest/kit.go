package storetest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A Kit is one bot on a server of its own, with a clock that stands still
// until [Kit.Advance] moves it. Use it from the test's goroutine only. [New]
// returns it; nothing needs to be closed.
type Kit struct {
	t       testing.TB
	server  *miniredis.Miniredis
	store   *store.Store
	bot     *store.Bot
	handler store.Handler
	serve   store.ServeOptions
	now     time.Time
	events  int

	mu   sync.Mutex
	sent []store.Delivery
}

// Got is what became of one event.
type Got struct {
	State    string            // State is the session's state afterwards. It is empty if the session does not exist any more.
	Replies  []string          // Replies are the handler's replies, each as [session.Message.String] returns it.
	Messages []session.Message // Messages are the same replies as they are in the chat.
	Err      string            // Err says why the event became a dead letter or will be retried. It is empty if the event was handled, or waits behind another one.
	Retrying bool              // Retrying is true if the event waits for its next attempt, or behind an event that does: see [Kit.Advance].
}

// Patience for the kit's own server, which answers within a millisecond: it
// only bounds how long a broken test hangs.
const kitPatience = time.Minute

// kitEpoch is when each kit's clock starts.
var kitEpoch = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// New returns a kit that runs the handler for a bot with the name "bot". opts
// are those of [store.Store.Bot], serve those of [store.Bot.Serve]; nil means
// the defaults. Replies are kept, see [Kit.Sent], and go to serve.Send if
// there is one. With RecordOnly nothing is sent. Options that are not valid
// fail the test.
func New(t testing.TB, handler store.Handler, opts *store.BotOptions, serve *store.ServeOptions) *Kit {
	t.Helper()
	k := &Kit{t: t, server: miniredis.NewMiniRedis(), now: kitEpoch, handler: handler}
	if err := k.server.Start(); err != nil {
		t.Fatalf("starting the kit's server: %v", err)
	}
	t.Cleanup(k.server.Close)
	k.server.SetTime(k.now)

	ctx, cancel := k.patience()
	defer cancel()
	st, err := store.Open(ctx, "redis://"+k.server.Addr(), &store.Options{Name: "kit", Buckets: 4, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("opening the kit's store: %v", err)
	}
	k.store = st
	t.Cleanup(k.finish)

	if opts == nil {
		opts = &store.BotOptions{}
	}
	if serve != nil {
		k.serve = *serve
	}
	if k.bot, err = st.Bot(ctx, "bot", opts); err != nil {
		t.Fatalf("declaring the kit's bot: %v", err)
	}
	if !opts.RecordOnly {
		k.serve.Send = k.recorded(k.serve.Send)
	}
	return k
}

// Say sends text as a message of the user to the session with that id, and
// handles it. A session of that id is made if there is none.
func (k *Kit) Say(id, text string) Got {
	k.t.Helper()
	return k.Send(id, session.Event{Text: text})
}

// Send accepts any event for the session with that id, and handles what is
// due. It fills in what the event lacks: an id, the session's id as the user,
// the kit's time. An event that the store does not accept fails the test.
func (k *Kit) Send(id string, e session.Event) Got {
	k.t.Helper()
	k.events++
	if e.ID == "" {
		e.ID = "event-" + strconv.Itoa(k.events)
	}
	if e.User == "" {
		e.User = id
	}
	if e.Time.IsZero() {
		e.Time = k.now
	}
	ctx, cancel := k.patience()
	defer cancel()
	receipt, err := k.bot.Accept(ctx, id, e)
	if err != nil {
		k.t.Fatalf("accepting event %q for session %q: %v", e.ID, id, err)
	}
	k.drain(ctx)
	return k.outcome(ctx, receipt)
}

// Advance moves the clock, and handles on the way each retried event or reply
// at the moment at which it is due, and expired sessions.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	ctx, cancel := k.patience()
	defer cancel()
	end := k.now.Add(d)
	for {
		next := k.nextDue(ctx, end)
		k.server.SetTime(next)
		k.server.FastForward(next.Sub(k.now))
		k.now = next
		k.drain(ctx)
		if !next.Before(end) {
			return
		}
	}
}

// Now returns the time of the kit's clock, which begins at the same moment in
// every test.
func (k *Kit) Now() time.Time { return k.now }

// Bot returns the kit's bot, for everything else: to prepare a session, or to look into it.
func (k *Kit) Bot() *store.Bot { return k.bot }

// Sent returns all replies that were sent so far, in order. If New was given a
// Send, those that it returned an error for are left out.
func (k *Kit) Sent() []store.Delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.sent)
}

// outcome looks up what became of an event that was just drained.
func (k *Kit) outcome(ctx context.Context, receipt *store.Receipt) Got {
	k.t.Helper()
	var got Got
	status, err := k.bot.Session(receipt.Ref.ID).Status(ctx)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		k.t.Fatalf("reading session %q: %v", receipt.Ref.ID, err)
	}
	got.State = status.State
	if status.Waiting == 1 {
		got.Err = status.Event.Error // of the only one that waits; another one's outcome follows below
	}
	if status.Waiting > 0 && !receipt.Duplicate { // nothing else came, so this one is the last of those that wait
		got.Retrying = true
		return got
	}
	if status.Waiting > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second) // delivered again: it was handled, or waits like the others
		defer cancel()
	}
	outcome, err := receipt.Wait(ctx)
	if status.Waiting > 0 && errors.Is(err, context.DeadlineExceeded) {
		got.Retrying = true
		return got
	}
	if err != nil {
		k.t.Fatalf("reading the outcome of event %q of session %q: %v", receipt.EventID, receipt.Ref.ID, err)
	}
	got.Messages, got.Err = outcome.Replies, outcome.Reason
	for _, m := range outcome.Replies {
		got.Replies = append(got.Replies, m.String())
	}
	return got
}

func (k *Kit) drain(ctx context.Context) {
	k.t.Helper()
	if _, err := k.bot.Drain(ctx, k.handler, &k.serve); err != nil {
		k.t.Fatalf("handling what is due: %v", err)
	}
}

// nextDue returns the first moment until end at which something is tried again.
func (k *Kit) nextDue(ctx context.Context, end time.Time) time.Time {
	k.t.Helper()
	all, err := gather(k.bot.Sessions(ctx, store.Filter{}))
	if err != nil {
		k.t.Fatalf("listing the sessions: %v", err)
	}
	next := end
	for _, s := range all {
		for _, r := range []session.Retry{s.Event, s.Reply} {
			if r.At.After(k.now) && r.At.Before(next) {
				next = r.At
			}
		}
	}
	return next
}

// recorded keeps what the options' Send took.
func (k *Kit) recorded(send func(context.Context, store.Delivery) error) func(context.Context, store.Delivery) error {
	return func(ctx context.Context, d store.Delivery) error {
		if send != nil {
			if err := send(ctx, d); err != nil {
				return err
			}
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.sent = append(k.sent, d)
		return nil
	}
}

// finish checks that all that the test left behind fits together.
func (k *Kit) finish() {
	ctx, cancel := k.patience()
	defer cancel()
	if err := whole(ctx, k.store); err != nil {
		k.t.Errorf("the stored sessions do not fit together: %v", err)
	}
	if err := k.store.Close(); err != nil {
		k.t.Errorf("closing the kit's store: %v", err)
	}
}

func (k *Kit) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), kitPatience)
}
