package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// safest are the arguments of a server whose every write is in its file on disk
// before it counts.
var safest = []string{redistest.Waitaof, "--appendonly", "yes", "--appendfsync", "always"}

// notAcked tells whether a call says all that is promised of a write that is
// done, and not as safe as was asked.
func notAcked(err error, missing string) bool {
	return errors.Is(err, session.ErrUnknownOutcome) && errors.Is(err, session.ErrNotAcked) && strings.Contains(err.Error(), missing)
}

func TestTheAppendOnlyFileIsWaitedFor(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t, safest...)
	server := observer(t, url)
	ctx := t.Context()
	fsync := func(when string) {
		t.Helper()
		if err := server.ConfigSet(ctx, "appendfsync", when).Err(); err != nil {
			t.Fatal(err)
		}
	}
	hasty := func() *store.Bot {
		return botOf(t, open(t, url, &store.Options{Fsync: true, Timeout: 2 * time.Second}), "bot", nil)
	}
	bot := botOf(t, open(t, url, &store.Options{Fsync: true, Timeout: 20 * time.Second}), "bot", nil)
	s := bot.Session("1")
	if _, err := s.Create(ctx, store.Origin{}); err != nil {
		t.Fatal(err)
	}

	fsync("no")
	const missing = "not in the server's append-only file"
	if err := hasty().Session("1").Set(ctx, "k", "v"); !notAcked(err, missing) {
		t.Errorf("a write that is on no disk: %v", err)
	}
	if _, found, err := s.Get(ctx, "k"); !found || err != nil {
		t.Errorf("that write is done, and reads wait for nothing: %v, %v", found, err)
	}
	// Delivered again, elsewhere, it is a duplicate, and still on no disk.
	for range 2 {
		if receipt, err := hasty().Accept(ctx, "1", session.Event{ID: "e", Text: "hi"}); !notAcked(err, missing) {
			t.Errorf("an event that is on no disk: %v, %v", receipt, err)
		}
	}

	// A call that waits gets its answer when the file is synced, and applies once:
	// a second time its guard would refuse it.
	moved := make(chan error, 1)
	go func() { moved <- s.Move(ctx, session.Transition{From: "start", To: "there"}) }()
	until(t, "the move has happened", func() bool {
		snap, err := s.Load(ctx)
		must(t, err)
		return snap.State == "there"
	})
	select {
	case err := <-moved:
		t.Errorf("a move that is on no disk: %v", err)
	default:
	}
	fsync("always")
	if err := bounded.Receive(t, "the move returns", moved); err != nil {
		t.Errorf("the same move, when it is on disk: %v", err)
	}
	if receipt, err := bot.Accept(ctx, "1", session.Event{ID: "e", Text: "hi"}); err != nil || !receipt.Duplicate {
		t.Errorf("the same event, when it is on disk: %v, %v", receipt, err)
	}
	if n, err := bot.Drain(ctx, func(context.Context, *store.Turn) error { return nil }, nil); n != 1 || err != nil {
		t.Errorf("%d events were handled, want 1: %v", n, err)
	}
}

func TestTheFilesOfReplicasAreWaitedFor(t *testing.T) {
	t.Parallel()
	url, replica := redistest.Pair(t, safest...)
	appendOnly := func(value string) {
		t.Helper()
		if err := replica.ConfigSet(t.Context(), "appendonly", value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	patient := botOf(t, open(t, url, &store.Options{Fsync: true, Acks: 1, Timeout: 20 * time.Second}), "bot", nil)
	hasty := botOf(t, open(t, url, &store.Options{Fsync: true, Acks: 1, Timeout: 2 * time.Second}), "bot", nil)
	if _, err := patient.Session("1").Create(ctx, store.Origin{}); err != nil {
		t.Fatal(err)
	}
	appendOnly("no")
	// The last attempt before its time is over may be too short to hear of the replica at all.
	if err := hasty.Session("1").Set(ctx, "k", "v"); !notAcked(err, "0 of 1 replicas have it") {
		t.Errorf("a write that is in no replica's file: %v", err)
	}
	own := botOf(t, open(t, url, &store.Options{Fsync: true, Timeout: 20 * time.Second}), "bot", nil)
	if err := own.Session("1").Set(ctx, "k", "v"); err != nil {
		t.Errorf("a write that needs no replica: %v", err)
	}
	acks := botOf(t, open(t, url, &store.Options{Acks: 1, Timeout: 20 * time.Second}), "bot", nil)
	if err := acks.Session("1").Set(ctx, "k", "v"); err != nil {
		t.Errorf("a write that needs no file: %v", err)
	}
	appendOnly("yes")
	if err := patient.Session("1").Set(ctx, "k", "v"); err != nil {
		t.Errorf("a write that is in the replica's file: %v", err)
	}
}

// Callers share pipelines, and a pipeline may go to several servers: each caller
// hears of the file that its own session is in.
func TestEachCallerHearsOfItsOwnFile(t *testing.T) {
	t.Parallel()
	url := redistest.Cluster(t, 3, safest...)
	st := open(t, url, &store.Options{Fsync: true, Timeout: 3 * time.Second})
	bot := botOf(t, st, "bot", nil)
	ctx := t.Context()
	const sessions = 24 // on one server fewer than it has connections for
	for i := range sessions {
		if _, err := bot.Session(fmt.Sprint(i)).Create(ctx, store.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(url, "redis+cluster://"), ",")
	node := observer(t, "redis://"+first)
	if err := node.ConfigSet(ctx, "appendfsync", "no").Err(); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	unsafe := 0
	for i := range sessions {
		id := fmt.Sprint(i)
		keys, err := node.Keys(ctx, st.Key("session", bot.Session(id).Ref())).Result()
		if err != nil {
			t.Fatal(err)
		}
		unsafe += len(keys)
		callers.Go(func() {
			err := bot.Session(id).Set(ctx, "k", "v")
			if here := len(keys) == 1; here && !notAcked(err, "append-only file") || !here && err != nil {
				t.Errorf("session %s, on the server that does not sync: %v; Set: %v", id, here, err)
			}
		})
	}
	bounded.Wait(t, "all callers return", &callers)
	if unsafe == 0 || unsafe == sessions {
		t.Errorf("%d of %d sessions are on the server that does not sync: this test shows nothing", unsafe, sessions)
	}
}

func TestOpenRefusesFsyncWhereItCannotBeHad(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, url, why string
	}{
		{"the usual server, without a file", redistest.Single(t), "WAITAOF"},
		{"no file", redistest.Single(t, redistest.Waitaof), "appendonly is disabled"},
		{"a server that does not know WAITAOF", redistest.Single(t, append(safest, "--rename-command", "WAITAOF", "")...), "unknown command"},
		{"a user without the right", asUser(t, redistest.Single(t, safest...), "a", rights(t, "replica")...), "no permissions"},
		{"one of a cluster's servers", oneWithoutFile(t), "appendonly is disabled"},
	} {
		_, err := store.Open(t.Context(), test.url, &store.Options{Fsync: true})
		if !errors.Is(err, session.ErrUnsupported) || !strings.Contains(err.Error(), "Redis 7.2 or Valkey, appendonly yes") || !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %v", test.name, err)
		}
		open(t, test.url, nil)
		open(t, test.url, &store.Options{Fsync: true, ReadOnly: true})
	}
	url := redistest.Single(t, safest...)
	open(t, asUser(t, url, "b", append(rights(t, "replica"), "+waitaof")...), &store.Options{Fsync: true})
}

func oneWithoutFile(t *testing.T) (url string) {
	t.Helper()
	url = redistest.Cluster(t, 3, safest...)
	last := url[strings.LastIndex(url, ",")+1:]
	client := observer(t, "redis://"+last)
	if err := client.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
		t.Fatal(err)
	}
	return url
}

// Where one bucket's slot is on its way to another node, those who share its
// flights are answered as ever.
func TestASlotOnTheMoveSpoilsNoNeighbour(t *testing.T) {
	t.Parallel()
	url := redistest.Cluster(t, 2, safest...)
	st := open(t, url, &store.Options{Fsync: true, Timeout: 2 * time.Second})
	bot := botOf(t, st, "bot", nil)
	ctx := t.Context()
	addrs := strings.Split(strings.TrimPrefix(url, "redis+cluster://"), ",")
	from, to := observer(t, "redis://"+addrs[0]), observer(t, "redis://"+addrs[1])
	var here []string // sessions on the first node
	key := ""         // of the first of them
	for i := 0; len(here) < 4; i++ {
		id := fmt.Sprint(i)
		_, err := bot.Session(id).Create(ctx, store.Origin{})
		must(t, err)
		if keys := from.Keys(ctx, st.Key("session", bot.Session(id).Ref())).Val(); len(keys) == 1 {
			here = append(here, id)
			key = cmp.Or(key, keys[0])
		}
	}
	slot := from.ClusterKeySlot(ctx, key).Val()
	must(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(ctx, "CLUSTER", "MYID").Val()).Err())
	must(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(ctx, "CLUSTER", "MYID").Val()).Err())
	tag, _, _ := strings.Cut(key, "}:")
	host, port, _ := strings.Cut(addrs[1], ":")
	must(t, from.Do(ctx, "MIGRATE", host, port, tag+"}:ack", 0, 5000).Err())

	var stop atomic.Bool
	var stuck, neighbours sync.WaitGroup
	for i := range 16 {
		stuck.Go(func() {
			for !stop.Load() {
				_ = bot.Session(here[0]).Set(ctx, "k", i)
			}
		})
	}
	for i := range 24 {
		neighbours.Go(func() {
			for range 100 {
				err := bot.Session(here[1+i%3]).Move(ctx, session.Transition{From: "nowhere", To: "x"})
				if !errors.Is(err, session.ErrWrongState) || errors.Is(err, session.ErrUnknownOutcome) {
					t.Errorf("a neighbour: %v", err)
					return
				}
			}
		})
	}
	bounded.Wait(t, "the neighbours return", &neighbours)
	stop.Store(true)
	bounded.Wait(t, "who was stuck returns", &stuck)
}
