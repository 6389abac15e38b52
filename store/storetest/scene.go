package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

const (
	patience   = 20 * time.Second       // how long to wait for what must come; a slow machine is no failure
	glance     = 5 * time.Millisecond   // between two looks at what must come
	shortLease = 400 * time.Millisecond // of a replica that is going to die
	longLease  = 30 * time.Second       // of one that must not lose it, however slow the machine
)

// A scene is one test's corner of the server: a namespace of its own, and the
// replicas that share it.
type scene struct {
	*testing.T
	connect func(t testing.TB) redis.UniversalClient
	space   string
	brings  sync.Map // *store.Bot -> *store.ServeOptions, with which it is served
}

// A replica is a store with a client, and a wire, of its own.
type replica struct {
	*store.Store
	*wire
	s      *scene
	client redis.UniversalClient
	opts   store.Options
	bots   int // made so far
}

// options are all that a check gives a bot: the settings that are kept with the
// data, what its process brings to serve it, and that process' times.
type options struct {
	Initial      string
	TTL          time.Duration
	HistoryLimit int
	InboxLimit   int
	InboxBytes   int
	DedupeWindow time.Duration
	MaxAttempts  int
	Backoff      time.Duration
	MaxWait      time.Duration
	DeadLimit    int

	Eager, Lazy bool                                        // Lazy is for what is true of turns alone that are not run eagerly
	Send        func(context.Context, store.Delivery) error // nil: the bot records its replies only
	Dead        func(context.Context, session.DeadLetter)
	Grace       time.Duration
	Concurrency int

	Lease   time.Duration
	MaxTurn time.Duration
}

// settings returns those of the bot.
func (o *options) settings() *store.BotOptions {
	return &store.BotOptions{
		Initial: o.Initial, TTL: o.TTL, HistoryLimit: o.HistoryLimit, InboxLimit: o.InboxLimit, InboxBytes: o.InboxBytes,
		DedupeWindow: o.DedupeWindow, MaxAttempts: o.MaxAttempts, Backoff: o.Backoff, MaxWait: o.MaxWait, DeadLimit: o.DeadLimit,
		RecordOnly: o.Send == nil,
	}
}

// bot declares the bot, or with nil options takes what is there, and else
// declares one that records its replies. The replica is opened again for times of
// its own, which it must get before its first bot.
func (r *replica) bot(name string, o *options) *store.Bot {
	r.s.Helper()
	bot, err := r.tryBot(name, o)
	r.s.ok(err)
	return bot
}

func (r *replica) tryBot(name string, o *options) (*store.Bot, error) {
	r.s.Helper()
	if o == nil {
		bot, err := r.Bot(r.s.Context(), name, nil)
		if !errors.Is(err, session.ErrNotFound) {
			return bot, err
		}
		o = &options{}
	}
	if o.Lease != 0 && o.Lease != r.opts.Lease || o.MaxTurn != 0 && o.MaxTurn != r.opts.MaxTurn {
		if r.bots > 0 {
			r.s.Fatalf("a second bot of one replica, with another lease")
		}
		r.opts.Lease, r.opts.MaxTurn = o.Lease, o.MaxTurn
		r.open()
	}
	bot, err := r.Bot(r.s.Context(), name, o.settings())
	if err == nil {
		r.bots++
		r.s.brings.Store(bot, &store.ServeOptions{Send: o.Send, Dead: o.Dead, Grace: o.Grace, Concurrency: o.Concurrency, Eager: o.Eager || eagerly && !o.Lazy})
	}
	return bot, err
}

// eagerly is whether all replicas run their turns eagerly, which the project's own tests
// try, too.
var eagerly = os.Getenv("BOTSESSION_TEST_EAGER") == "1"

// with returns what a bot is served with.
func (s *scene) with(bot *store.Bot) *store.ServeOptions {
	if brings, ok := s.brings.Load(bot); ok {
		return brings.(*store.ServeOptions)
	}
	return nil
}

func newScene(t *testing.T, connect func(t testing.TB) redis.UniversalClient) *scene {
	s := &scene{T: t, connect: connect, space: "test-" + strings.ToLower(rand.Text()[:12])}
	t.Cleanup(s.sweep)
	return s
}

// replica joins the scene with a new client.
func (s *scene) replica() *replica {
	s.Helper()
	return s.replicaWith(store.Options{})
}

func (s *scene) replicaWith(opts store.Options) *replica {
	s.Helper()
	r := &replica{wire: &wire{}, s: s, client: s.connect(s.T)}
	s.Cleanup(func() { r.client.Close() })
	r.client.AddHook(r.wire)
	opts.Namespace = s.space
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Timeout == 0 {
		opts.Timeout = patience
	}
	if opts.Buckets == 0 {
		opts.Buckets = 8 // few, so that looking at all of them is cheap
	}
	r.opts = opts
	r.open()
	return r
}

func (r *replica) open() {
	r.s.Helper()
	st, err := store.New(r.s.Context(), r.client, &r.opts)
	r.s.ok(err)
	r.Store = st
	r.s.Cleanup(func() { st.Close() })
}

// bot is the bot of a replica that nothing special is asked of.
func (s *scene) bot() *store.Bot {
	s.Helper()
	return s.replica().bot("bot", nil)
}

// serve runs the bot until the test ends, or stop is called: then it returns
// when Serve has.
func (s *scene) serve(bot *store.Bot, handler store.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- bot.Serve(ctx, handler, s.with(bot)) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.Errorf("Serve ended with %v, want a clean shutdown", err)
			}
		case <-time.After(patience + patience):
			s.Errorf("Serve does not end")
		}
	})
	s.Cleanup(stop)
	return stop
}

// limited returns a context for calls that a broken store might never answer.
func (s *scene) limited() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	return ctx
}

func (s *scene) update(bot *store.Bot, id string, fn store.Handler) error {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	_, err := bot.Update(ctx, id, fn)
	return err
}

// replicas waits until so many replicas serve the bot.
func (s *scene) replicas(bot *store.Bot, n int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d replicas serve", n), func() bool {
		present := 0
		for _, r := range all(s, bot.Replicas(s.Context())) {
			if r.Present {
				present++
			}
		}
		return present == n
	})
}

// die kills a replica. Its Serve goes on, cut off from everything.
func (r *replica) die() {
	r.kill()
	r.client.Close()
}

// accept hands a message to the bot, under an event id that is its text.
func (s *scene) accept(bot *store.Bot, id, text string) *store.Receipt {
	s.Helper()
	r, err := bot.Accept(s.Context(), id, session.Event{ID: text, Text: text})
	s.ok(err)
	return r
}

// say accepts an event, has the caller's goroutine handle it, and returns what
// came of it.
func (s *scene) say(bot *store.Bot, id string, e session.Event, handler store.Handler) store.Outcome {
	s.Helper()
	if e.ID == "" {
		e.ID = rand.Text()
	}
	r, err := bot.Accept(s.Context(), id, e)
	s.ok(err)
	s.drain(bot, handler)
	return s.outcome(r)
}

func (s *scene) drain(bot *store.Bot, handler store.Handler) int {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	n, err := bot.Drain(ctx, handler, s.with(bot))
	s.ok(err)
	return n
}

// outcome waits until the event was handled.
func (s *scene) outcome(r *store.Receipt) store.Outcome {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	o, err := r.Wait(ctx)
	if err != nil {
		s.Fatalf("waiting for event %q of %s: %v", r.EventID, r.Ref, err)
	}
	return o
}

// handled waits until the event was handled, and not given up or dropped.
func (s *scene) handled(r *store.Receipt) []session.Message {
	s.Helper()
	o := s.outcome(r)
	if o.Status != session.Handled {
		s.Fatalf("event %q of %s: %s (%s), want it handled", r.EventID, r.Ref, o.Status, o.Reason)
	}
	return o.Replies
}

func (s *scene) create(sess *store.Session, o store.Origin) {
	s.Helper()
	created, err := sess.Create(s.Context(), o)
	s.ok(err)
	if !created {
		s.Fatalf("session %s was there already", sess.Ref())
	}
}

func (s *scene) load(sess *store.Session) session.Snapshot {
	s.Helper()
	snap, err := sess.Load(s.Context())
	s.ok(err)
	return snap
}

func (s *scene) status(sess *store.Session) session.Status {
	s.Helper()
	status, err := sess.Status(s.Context())
	s.ok(err)
	return status
}

func (s *scene) history(sess *store.Session, q session.Query) []session.Message {
	s.Helper()
	chat, err := sess.History(s.Context(), q)
	s.ok(err)
	return chat
}

// chat returns the whole history as lines: "u hello" from the user, "b hi" from
// the bot.
func (s *scene) chat(sess *store.Session) []string {
	s.Helper()
	return lines(s.history(sess, session.All()))
}

// gone checks that the session is not there.
func (s *scene) gone(sess *store.Session) {
	s.Helper()
	if snap, err := sess.Load(s.Context()); !errors.Is(err, session.ErrNotFound) {
		s.Errorf("session %s: %+v, %v; want %v", sess.Ref(), snap, err, session.ErrNotFound)
	}
}

// eventually waits until done says so.
func (s *scene) eventually(what string, done func() bool) {
	s.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(glance) {
		if time.Now().After(limit) {
			s.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

// happens waits for a signal.
func (s *scene) happens(what string, signal <-chan struct{}) {
	s.Helper()
	receive(s, what, signal)
}

// receive waits for what a goroutine sends.
func receive[T any](s *scene, what string, from <-chan T) (v T) {
	s.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		s.Fatalf("still not so after %v: %s", patience, what)
	}
	return v
}

// runsOut makes a call that has to wait for longer than its context lasts, and
// wants it to end as told. A slow machine gets more time: too little of it, and
// the call ends before it knows what it waits for.
func (s *scene) runsOut(what string, call func(ctx context.Context) error, told func(error) bool) {
	s.Helper()
	for limit := 100 * time.Millisecond; ; limit *= 2 {
		ctx, cancel := context.WithTimeout(s.Context(), limit)
		err := call(ctx)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && told(err):
			return
		case !errors.Is(err, context.DeadlineExceeded) || limit > patience:
			s.Fatalf("%s, with %v: %v", what, limit, err)
		}
	}
}

// ok ends the test unless err is nil.
func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// is reports an error that is not the wanted one.
func (s *scene) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error %v, want %v", err, want)
	}
}

// equal reports what differs.
func equal[T any](s *scene, what string, got, want T) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// lines prints messages one by one, by author and content.
func lines(chat []session.Message) []string {
	var out []string
	for _, m := range chat {
		out = append(out, string(m.From[:1])+" "+m.String())
	}
	return out
}

// echo replies to what the user said.
func echo(_ context.Context, t *store.Turn) error {
	t.Reply("re " + t.Event().Text)
	return nil
}

// A gate stops whoever comes to it until it is opened, or the test ends.
type gate struct {
	s       *scene
	arrived chan struct{}
	opened  chan struct{}
	once    sync.Once
	come    sync.Once
}

func (s *scene) gate() *gate {
	return &gate{s: s, arrived: make(chan struct{}), opened: make(chan struct{})}
}

func (g *gate) pass() {
	g.come.Do(func() { close(g.arrived) })
	select {
	case <-g.opened:
	case <-g.s.Context().Done():
	}
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// A record collects what happens on several goroutines.
type record[T any] struct {
	mu  sync.Mutex
	all []T
}

func (r *record[T]) add(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, v)
}

func (r *record[T]) list() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// together runs n functions at the same moment and waits for all of them.
func together(t testing.TB, n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	bounded.Wait(t, "all of them return", &wg)
}
