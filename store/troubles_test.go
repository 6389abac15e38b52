//go:build unix

package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
)

// A trouble befalls a server in the middle of a load.
type trouble struct {
	name  string
	acks  int                                            // Options.Acks
	fsync bool                                           // Options.Fsync
	heard string                                         // a kind of error that some caller must have seen
	loses bool                                           // Redis itself may lose what it has answered for
	begin func(t *testing.T) (url string, strike func()) // starts the server; strike returns when the trouble is over
}

const (
	patienceOfCalls = time.Second             // Options.Timeout
	lasting         = 1500 * time.Millisecond // a trouble that ends when we say so: longer than a call, so that callers see it
)

func TestServersInTrouble(t *testing.T) {
	t.Parallel()
	reports := make(map[string]string)
	var mu sync.Mutex
	t.Cleanup(func() {
		for _, name := range slices.Sorted(maps.Keys(reports)) {
			t.Logf("%-52s | %s", name, reports[name])
		}
	})
	places := make(chan struct{}, 3) // so many at once, however many processors there are
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			report := trouble.endure(t)
			mu.Lock()
			defer mu.Unlock()
			reports[trouble.name] = report
		})
	}
}

// endure lets callers deliver events all the time, before the trouble, through
// it and after it, and a replica handle them. Then it compares what was accepted
// with what is in the sessions.
func (tr trouble) endure(t *testing.T) (report string) {
	url, strike := tr.begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	opts, botOpts := &store.Options{Acks: tr.acks, Fsync: tr.fsync, Timeout: patienceOfCalls, Lease: time.Second}, &store.BotOptions{RecordOnly: true}
	replica := botOf(t, open(t, url, opts), "bot", botOpts)
	const count store.Key[int] = "count"
	serve(t, replica, func(_ context.Context, turn *store.Turn) error {
		n, _ := count.Get(turn)
		count.Set(turn, n+1)
		return nil
	})
	st := open(t, url, opts)
	bot := botOf(t, st, "bot", botOpts)

	const users, callersEach = 4, 2
	callers := make([]*caller, users*callersEach)
	for i := range callers {
		callers[i] = &caller{bot: bot, user: fmt.Sprint("user ", i%users), name: string(rune('a' + i)), errs: map[string]int{}}
	}
	var stop atomic.Bool
	var running sync.WaitGroup
	for _, c := range callers {
		running.Go(func() { c.deliver(ctx, &stop) })
	}
	allDeliver := func() { // some more events each
		goals := make([]int64, len(callers))
		for i, c := range callers {
			goals[i] = c.accepted.Load() + 50
		}
		for i, c := range callers {
			for c.accepted.Load() < goals[i] && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
	}
	allDeliver()
	strike()
	allDeliver()
	stop.Store(true)
	bounded.Wait(t, "all who deliver end", &running)
	if ctx.Err() != nil {
		t.Fatalf("the callers got nowhere: %v", callers[0].errs)
	}

	kept, lost, wrong := 0, 0, 0
	fault := func(format string, args ...any) {
		wrong++
		t.Errorf(format, args...)
	}
	for i := range users {
		user := fmt.Sprint("user ", i)
		atRest(ctx, t, bot, user)
		chat, err := bot.Session(user).History(ctx, session.All())
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := count.Load(ctx, bot.Session(user))
		if err != nil || n != len(chat) {
			fault("%s: %d events counted, %v, and %d in the chat", user, n, err, len(chat))
		}
		handled := map[string]bool{}
		last := map[string]int{}
		for _, m := range chat {
			text := fmt.Sprint(m.Content)
			if handled[text] {
				fault("%s: %q was handled twice", user, text)
			}
			handled[text] = true
			var by string
			var n int
			if _, err := fmt.Sscan(text, &by, &n); err != nil || n <= last[by] {
				fault("%s: %q was handled after %d", user, text, last[by])
			}
			last[by] = n
		}
		kept += len(handled)
		for _, c := range callers {
			for n := range int(c.accepted.Load()) {
				if c.user == user && !handled[c.text(n+1)] {
					lost++
				}
			}
		}
	}
	if err := st.Whole(ctx); err != nil {
		fault("Check: %v", err)
	}
	if lost > 0 && !tr.loses {
		fault("%d events were accepted, and lost", lost)
	}
	total, errs, gap, slowest := int64(0), map[string]int{}, time.Duration(0), time.Duration(0)
	for _, c := range callers {
		total += c.accepted.Load()
		gap, slowest = max(gap, c.gap), max(slowest, c.slowest)
		for kind, n := range c.errs {
			errs[kind] += n
		}
	}
	if tr.heard != "" && errs[tr.heard] == 0 {
		t.Errorf("no caller heard %q of it", tr.heard)
	}
	seen := "no error"
	if len(errs) > 0 {
		kinds := slices.SortedFunc(maps.Keys(errs), func(a, b string) int { return cmp.Compare(errs[b], errs[a]) })
		for i, kind := range kinds {
			kinds[i] = fmt.Sprintf("%d× %s", errs[kind], kind)
		}
		seen = strings.Join(kinds, ", ")
	}
	report = fmt.Sprintf("%s | longest without an accept %.1f s, slowest accept %.1f s | %d accepted, %d kept, %d lost, %d things wrong",
		seen, gap.Seconds(), slowest.Seconds(), total, kept, lost, wrong)
	for _, text := range callers[0].samples {
		t.Logf("%q", text)
	}
	return report
}

// atRest waits until nothing waits for the session and nobody holds it.
func atRest(ctx context.Context, t *testing.T, bot *store.Bot, id string) {
	t.Helper()
	for {
		st, err := bot.Session(id).Status(ctx)
		switch {
		case err == nil && st.Waiting+st.Unsent == 0 && st.Lease.Work == session.WorkNone:
			return
		case ctx.Err() != nil:
			t.Fatalf("%s is not at rest: %+v, %v", id, st, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A caller is the webhook of a platform: it delivers events one by one, each
// until it is accepted.
type caller struct {
	bot        *store.Bot
	user, name string
	accepted   atomic.Int64 // numbered from 1

	errs         map[string]int
	samples      []string // the text of the first of each kind
	gap, slowest time.Duration
}

func (c *caller) text(n int) string { return fmt.Sprint(c.name, " ", n) }

func (c *caller) deliver(ctx context.Context, stop *atomic.Bool) {
	last := time.Now()
	for ctx.Err() == nil && !stop.Load() {
		text := c.text(int(c.accepted.Load()) + 1)
		for began := time.Now(); ; began = time.Now() {
			_, err := c.bot.Accept(ctx, c.user, session.Event{ID: text, Text: text})
			if err == nil {
				c.gap, c.slowest = max(c.gap, time.Since(last)), max(c.slowest, time.Since(began))
				last = time.Now()
				break
			}
			if ctx.Err() != nil {
				return
			}
			if c.errs[kind(err)]++; c.errs[kind(err)] == 1 {
				c.samples = append(c.samples, err.Error())
			}
			time.Sleep(20 * time.Millisecond)
		}
		c.accepted.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
}

// kind names an error in a word or two.
func kind(err error) string {
	var fromServer redis.Error
	var network *net.OpError
	var number syscall.Errno
	name := err.Error()
	switch {
	case errors.Is(err, session.ErrNotAcked):
		name = "not acknowledged"
	case errors.Is(err, session.ErrNoPermission):
		name = "no permission"
	case errors.As(err, &fromServer):
		code, text, _ := strings.Cut(fromServer.Error(), " ")
		if name = code; code == "ERR" {
			name = text
		}
	case errors.As(err, &network) && errors.As(err, &number):
		name = network.Op + ": " + number.Error()
	case errors.Is(err, io.EOF):
		name = "EOF"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		name = "no answer"
	}
	if errors.Is(err, session.ErrUnknownOutcome) {
		return "unknown outcome (" + name + ")"
	}
	return name
}
