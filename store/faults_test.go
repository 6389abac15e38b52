package store_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/faultnet"
	"github.com/botsession/botsession/store/internal/redistest"
)

// What these tests enumerate: each call that writes, and each stage of a turn,
// by each request that it sends, by each fault of the network that may strike
// that request, or it and its retry, or it and all that follow.
//
// None of them needs to know what a call does: it is made once without a fault,
// and what that changed is what "applied once" means. So there are three
// verdicts on a session: it is as before, it is as after the call, or wrong.
//
// This file is the stage; faults_calls_test.go has the calls, faults_late_test.go
// what arrives when nobody waits for it any more, faults_turns_test.go the turns,
// and faults_random_test.go a fleet, with faults drawn by a seed.

// Times of the store behind the faults. They decide how long the tests take, and
// which faults a store meets: on a slow machine more than it was given. The
// verdict on each outcome is the same.
const (
	callTimeout = 250 * time.Millisecond // of a call, retries included
	readTimeout = 40 * time.Millisecond  // of one request
	overtaken   = 80 * time.Millisecond  // so late that the retry comes first
	tooLate     = 350 * time.Millisecond // so late that the caller has given up
	lease       = 200 * time.Millisecond // which what is lost is waited for
	patience    = 20 * time.Second       // for what must come
)

var (
	noMemory  = faultnet.Refuse("OOM command not allowed when used memory > 'maxmemory'.")
	loading   = faultnet.Refuse("LOADING Redis is loading the dataset in memory")
	allFaults = []faultnet.Fault{faultnet.CutBefore, faultnet.CutHalfway, faultnet.CutAfter, faultnet.DropRequest, faultnet.DropReply,
		faultnet.Hold, faultnet.Delay(overtaken), faultnet.Delay(tooLate), noMemory, loading}
	// After these the request was executed, or still may be.
	unsure = []faultnet.Fault{faultnet.CutAfter, faultnet.DropReply, faultnet.Hold, faultnet.Delay(overtaken)}
	// Where each costs the time of a lease, or many calls.
	turnFaults  = append([]faultnet.Fault{faultnet.DropRequest, faultnet.DropReply, faultnet.Hold, faultnet.Delay(overtaken), noMemory}, faultnet.Cuts...)
	deathFaults = []faultnet.Fault{faultnet.CutBefore, faultnet.CutAfter}
)

// A lab is a store behind a proxy, and one beside it that nothing disturbs.
// Sub-tests use it one after the other, each with a bot of its own.
type lab struct {
	net       *faultnet.Proxy
	far, near *store.Store
	client    *redis.Client // near's
	lease     time.Duration // of the replica behind the proxy
	bots      *atomic.Int64
}

// newLabs makes n of them on one server and in one namespace, which is checked at
// the test's end, and one more, calm, whose store behind the proxy is patient:
// there things happen as they do without faults, however slow the machine is.
func newLabs(t *testing.T, n int, space string, timeout time.Duration) (labs []*lab, calm *lab) {
	t.Helper()
	addr, bots := strings.TrimPrefix(redistest.Single(t), "redis://"), new(atomic.Int64)
	lab := func(read, timeout, lease time.Duration) *lab {
		l := &lab{net: faultnet.New(t, addr), lease: lease, bots: bots}
		l.far, _ = openLab(t, l.net.Addr(), space, read, timeout, lease)
		l.near, l.client = openLab(t, addr, space, patience, patience, patience) // nothing happens to it
		return l
	}
	for range n {
		labs = append(labs, lab(readTimeout, timeout, lease))
	}
	calm = lab(patience, patience, patience)
	t.Cleanup(func() {
		if err := calm.near.Whole(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("what is stored in the end: %v", err)
		}
	})
	return labs, calm
}

func openLab(t *testing.T, addr, space string, read, timeout, lease time.Duration) (*store.Store, *redis.Client) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, ReadTimeout: read, ContextTimeoutEnabled: true, DisableIdentity: true, PoolSize: 8,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { client.Close() })
	// One bucket, so that a Drain looks at it with one request.
	opts := &store.Options{Namespace: space, Buckets: 1, Timeout: timeout, Lease: lease}
	st := patiently(t, func() (*store.Store, error) { return store.New(t.Context(), client, opts) })
	st.AskForSettings(time.Hour)
	return st, client
}

// runEach runs a sub-test for each case, as many at once as there are labs.
func runEach[C any](t *testing.T, labs []*lab, cases []C, name func(C) string, run func(t *testing.T, l *lab, c C)) {
	next := make(chan C)
	var wg sync.WaitGroup
	for _, l := range labs {
		wg.Go(func() {
			for c := range next {
				t.Run(name(c), func(t *testing.T) { run(t, l, c) })
			}
		})
	}
	for _, c := range cases {
		next <- c
	}
	close(next)
	bounded.Wait(t, "all cases are done", &wg)
}

// A scene is one sub-test's bot and its one session.
type scene struct {
	*testing.T
	*lab
	name   string
	opts   store.BotOptions
	brings store.ServeOptions // of replicas behind the proxy
	bot    *store.Bot         // behind the proxy
	eye    *store.Bot         // undisturbed
	sent   *deliveries
	refuse func(reply string) error // answers why it is not sent
	inHand func()                   // called when the undisturbed replica is about to send
}

const theID = "1"

func (l *lab) scene(t *testing.T, opts store.BotOptions) *scene {
	return l.sceneWith(t, opts, store.ServeOptions{})
}

func (l *lab) sceneWith(t *testing.T, opts store.BotOptions, brings store.ServeOptions) *scene {
	s := &scene{
		T: t, lab: l, name: fmt.Sprint("bot", l.bots.Add(1)), sent: &deliveries{},
		refuse: func(string) error { return nil }, inHand: func() {},
	}
	opts.Backoff, opts.Initial, brings.Grace = 20*time.Millisecond, "s0", time.Second
	brings.Send = func(_ context.Context, d store.Delivery) error {
		if err := s.refuse(d.Message.String()); err != nil {
			return err
		}
		s.sent.add(d)
		return nil
	}
	l.net.Strike()
	brings.Eager = true // as far as this replica knows a session
	s.opts, s.brings = opts, brings
	near := brings
	near.Send = func(ctx context.Context, d store.Delivery) error { s.inHand(); return brings.Send(ctx, d) }
	s.eye = botWith(t, l.near, s.name, opts, near)
	s.bot = botWith(t, l.far, s.name, opts, brings)
	l.net.Strike()
	return s
}

// deliveries are what reached the platform.
type deliveries struct {
	mu  sync.Mutex
	all []store.Delivery
}

func (d *deliveries) add(one store.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

// texts returns what was sent to a session's user, each reply once, by its key.
func (d *deliveries) texts(id string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var texts []string
	seen := map[string]bool{}
	for _, one := range d.all {
		if one.Ref.ID == id && !seen[id+one.Key] {
			texts = append(texts, one.Message.String())
		}
		seen[one.Ref.ID+one.Key] = true
	}
	return texts
}

func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *scene) session() *store.Session { return s.eye.Session(theID) }

// eventually waits until done says so.
func (s *scene) eventually(what string, done func() bool) {
	s.Helper()
	for limit := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			s.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

// settle lets everything arrive that is on its way.
func (s *scene) settle() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	s.net.Strike()
	s.ok(s.net.Settle(ctx))
}

// A view is all that can be seen of a session, but for who holds it.
type view struct {
	Session         session.Snapshot
	Chat            []session.Message // with what waits
	File            string
	Waiting, Unsent int64
	Letters         []string
	Sent            []string // to the platform, each reply once
}

// look reads the session undisturbed. It is zero if there is none.
func (s *scene) look() (v view) {
	s.Helper()
	sess := s.session()
	for {
		status, err := sess.Status(s.Context())
		if err == nil {
			v.Waiting, v.Unsent = status.Waiting, status.Unsent
			v.Session, err = sess.Load(s.Context())
		}
		if err == nil {
			v.Chat, err = sess.History(s.Context(), session.All().WithWaiting())
		}
		if err == nil && v.Session.File != nil {
			file, e := sess.File(s.Context())
			if err = e; err == nil {
				v.File = string(file.Data)
			}
		}
		letters, err2 := sess.DeadLetters(s.Context())
		s.ok(err2)
		for _, l := range letters {
			v.Letters = append(v.Letters, l.Error)
		}
		v.Sent = s.sent.texts(theID)
		if errors.Is(err, session.ErrNotFound) {
			return view{Letters: v.Letters, Sent: v.Sent}
		}
		s.ok(err)
		// Every change from here on must show in the session's times.
		if status.Now.After(v.Session.Active) {
			return v
		}
		v = view{}
	}
}

// since leaves out what differs from one run to the next, and keeps how the
// session differs from before.
func (v view) since(before view) view {
	s := &v.Session
	if s.Ref = (session.Ref{}); s.Life != 0 {
		s.Expires = time.Time{}.Add(s.Expires.Sub(s.Active)) // for ever is a number of its own
		s.Created, s.Active = moved(s.Created, before.Session.Created), moved(s.Active, before.Session.Active)
		if s.Life == before.Session.Life {
			s.Life = 1
		} else {
			s.Life = 2
		}
	}
	v.Chat = slices.Clone(v.Chat)
	for i := range v.Chat {
		v.Chat[i].Time = time.Time{}
	}
	return v
}

func moved(t, from time.Time) time.Time {
	if t.Equal(from) {
		return time.Time{}
	}
	return time.Unix(1, 0)
}

// differ says how two values differ, or nothing.
func differ(want, got any) string {
	if reflect.DeepEqual(want, got) { // faster
		return ""
	}
	return cmp.Diff(want, got)
}
