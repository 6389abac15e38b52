//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
)

// Of a cluster with a master that does not reply, or is gone, each loop hands out what
// the others have, and then says that this is not all, and which master it is.
func TestLoopsHandOutWhatTheOtherMastersHave(t *testing.T) {
	t.Parallel()
	for what, signal := range map[string]os.Signal{"killed": os.Kill, "stopped": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			masterDown(t, signal)
		})
	}
}

// A trio is a cluster of three masters that share forty sessions, each with a dead
// letter and an event that waits; and with something that Check finds.
type trio struct {
	masters []node                // masters are in the order of their addresses
	of      [3][]string           // of has the ids of the sessions that each has
	url     string                // url is the cluster's, for a store that gives up on a master within a second or two
	store   *store.Store          // store gives up on a master within a second or two
	bot     *store.Bot            // bot is that of the sessions
	client  redis.UniversalClient // client is for the test
}

func newTrio(t *testing.T) (c trio) {
	t.Helper()
	url, ctx := redistest.Cluster(t, 3, "--cluster-require-full-coverage", "no"), t.Context()
	bot := botOf(t, open(t, url, &store.Options{Buckets: 24}), "bot", &store.BotOptions{MaxAttempts: 1, RecordOnly: true})
	for _, event := range []string{"fails", "waits"} {
		for i := range 40 {
			_, err := bot.Accept(ctx, fmt.Sprint(i), session.Event{ID: event, Text: event, User: "ann"})
			must(t, err)
		}
		if event == "fails" {
			_, err := bot.Drain(ctx, func(context.Context, *store.Turn) error { return errors.New("as it was told") }, nil)
			must(t, err)
		}
	}
	c.url = url + "?read_timeout=500ms&dial_timeout=500ms"
	c.store = open(t, c.url, nil)
	c.bot = botOf(t, c.store, "bot", nil)
	must(t, c.store.Whole(ctx))
	client, err := store.ParseURL(url)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	c.client = client
	c.masters = nodes(t, url)
	slices.SortFunc(c.masters, func(a, b node) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	for i, node := range c.masters {
		for keys := node.Scan(ctx, 0, "bs:{*:s:bot/*", 1000).Iterator(); keys.Next(ctx); {
			tag, id, _ := strings.Cut(keys.Val(), "s:bot/")
			c.of[i] = append(c.of[i], id)
			must(t, client.ZRem(ctx, tag+"ttl:bot", id).Err())
		}
		if len(c.of[i]) == 0 {
			t.Fatalf("the masters do not share the sessions: %v", c.of)
		}
	}
	return c
}

// check is one Check, which does something when it has found the first.
func (c trio) check(t *testing.T, first func()) iter.Seq2[store.Finding, error] {
	return func(yield func(store.Finding, error) bool) {
		once := first
		for f, err := range c.store.Check(t.Context()) {
			if once != nil {
				once()
				once = nil
			}
			if err == nil && !strings.Contains(f.Text, "the key expiry does not list it") {
				t.Errorf("found: %v", f)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

func masterDown(t *testing.T, signal os.Signal) {
	c, ctx := newTrio(t), t.Context()
	served := map[bool]*store.Bot{} // by whether the master that has the replicas of its namespace is down
	for i := 0; served[true] == nil || served[false] == nil; i++ {
		namespace := fmt.Sprint("served", i)
		line := fmt.Sprintf(`1 %d %d {"bots":{"bot":{"slots":1,"free":1}}}`, time.Now().UnixMilli(), time.Now().Add(25*time.Second).UnixMilli())
		must(t, c.client.HSet(ctx, namespace+":replicas", "replica", line).Err())
		down := c.masters[0].Exists(ctx, namespace+":replicas").Val() == 1
		served[down] = botOf(t, open(t, c.url, &store.Options{Namespace: namespace}), "bot", nil)
	}
	process := processOf(t, c.masters[0].Client)
	must(t, process.Signal(signal))
	defer func() { _ = process.Signal(syscall.SIGCONT) }()
	if replicas, err := store.Gather(served[false].Replicas(ctx)); err != nil || len(replicas) != 1 {
		t.Errorf("replicas that another master has: %v, %v", replicas, err)
	}
	if replicas, err := store.Gather(served[true].Replicas(ctx)); err == nil || errors.Is(err, session.ErrCorrupt) || len(replicas) > 0 {
		t.Errorf("replicas that this master has: %v, %v", replicas, err)
	}
	down := c.masters[0].Options().Addr
	_, err := store.Open(ctx, "redis+cluster://"+c.masters[1].Options().Addr+"?read_timeout=500ms&dial_timeout=500ms", &store.Options{ReadOnly: true})
	if err == nil || !strings.Contains(err.Error(), down) {
		t.Errorf("opened at another master: %v; %s is down", err, down)
	}
	others := slices.Concat(c.of[1], c.of[2])
	partly(t, down, "Waiting", c.bot.Waiting(ctx), func(s session.Status) string { return s.Ref.ID }, others)
	partly(t, down, "DeadLetters", c.bot.DeadLetters(ctx), func(l session.DeadLetter) string { return l.Ref.ID }, others)
	partly(t, down, "Sessions", c.bot.Sessions(ctx, store.Filter{}), func(s session.Status) string { return s.Ref.ID }, others)
	var loops sync.WaitGroup // each waits for the master until it gives up
	for _, f := range []store.Filter{
		{State: "start"}, {User: "ann"}, {IdleSince: time.Now().Add(time.Hour)}, {ActiveSince: time.Now().Add(-time.Hour)}, {Waiting: true}, {Dead: true},
	} {
		loops.Go(func() {
			partly(t, down, fmt.Sprintf("Sessions of %+v", f), c.bot.Sessions(ctx, f), func(s session.Status) string { return s.Ref.ID }, slices.Clone(others))
		})
	}
	loops.Wait()
	partly(t, down, "Check", c.check(t, nil), func(f store.Finding) string { return f.Ref.ID }, others)
}

func TestCheckHandsOutWhatItCanWhenAMasterGoesMeanwhile(t *testing.T) {
	t.Parallel()
	c := newTrio(t)
	kill := func() { must(t, processOf(t, c.masters[2].Client).Kill()) } // the last to be asked
	partly(t, c.masters[2].Options().Addr, "Check", c.check(t, kill), func(f store.Finding) string { return f.Ref.ID }, slices.Concat(c.of[0], c.of[1]))
}

// A cluster that replies nothing while one of its masters is down says which.
func TestWhatAClusterRefusesNamesTheMasterThatIsDown(t *testing.T) {
	t.Parallel()
	url, ctx := redistest.Cluster(t, 3), t.Context()
	st := open(t, url+"?read_timeout=500ms&dial_timeout=500ms", nil)
	bot := botOf(t, st, "bot", &store.BotOptions{RecordOnly: true})
	masters := nodes(t, url)
	down, living := masters[0], masters[1]
	must(t, processOf(t, down.Client).Kill())
	for !strings.Contains(living.ClusterInfo(ctx).Val(), "cluster_state:fail") {
		time.Sleep(20 * time.Millisecond)
	}
	brief, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, opening := store.Open(ctx, "redis+cluster://"+living.Options().Addr, &store.Options{Timeout: 2 * time.Second, ReadOnly: true})
	_, listing := st.Bots(brief)
	_, counting := bot.Counts(brief)
	for what, err := range map[string]error{"Open": opening, "Bots": listing, "Counts": counting} {
		if err == nil || !strings.Contains(err.Error(), down.Options().Addr) {
			t.Errorf("%s: %v; %s is down", what, err, down.Options().Addr)
		}
	}
}

// partly checks that a loop hands out the items with those ids, and then an error which
// comes with a zero value, is not about what is stored, and names the server that is down.
func partly[T comparable](t *testing.T, down, what string, loop iter.Seq2[T, error], id func(T) string, want []string) {
	t.Helper()
	var ids []string
	var last error
	for item, err := range loop {
		var zero T
		switch {
		case last != nil:
			t.Errorf("%s: behind the error comes %v, %v", what, item, err)
		case err == nil:
			ids = append(ids, id(item))
		case item != zero, errors.Is(err, session.ErrCorrupt), !strings.Contains(err.Error(), "partial: "), !strings.Contains(err.Error(), down):
			t.Errorf("%s: the error is %v, with %v", what, err, item)
		}
		last = err
	}
	if last == nil {
		t.Errorf("%s does not say that it is not all", what)
	}
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("%s hands out %v, the other masters have %v", what, ids, want)
	}
}
