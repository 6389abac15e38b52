package store

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// quickWatch makes the store's watches short-lived for a test, which so may not
// run beside others.
func quickWatch(t *testing.T) {
	t.Helper()
	life := watchLife
	watchLife = 300 * time.Millisecond
	t.Cleanup(func() { watchLife = life })
}

// watched runs a watch beside the test. It returns its notices, and the function
// that ends it.
func watched(t *testing.T, bot *Bot, c redis.UniversalClient) (notices <-chan Notice, end func()) {
	t.Helper()
	all := make(chan Notice, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for n, err := range bot.Watch(ctx) {
			if err != nil {
				t.Error(err)
			}
			all <- n
		}
	})
	eventually(t, "somebody watches", func() bool { return c.Exists(ctx, watchKey(bot)).Val() == 1 })
	end = sync.OnceFunc(func() { cancel(); bounded.Wait(t, "the watch ends", &running) })
	t.Cleanup(end)
	return all, end
}

func watchKey(bot *Bot) string {
	return bot.store.layout.key("watch", place{ref: session.Ref{Bot: bot.name}})
}

// firstOf changes a session until a notice comes, and returns that.
func firstOf(t *testing.T, bot *Bot, notices <-chan Notice) (n Notice) {
	t.Helper()
	eventually(t, "a notice comes", func() bool {
		noError(t, bot.Session("1").Set(t.Context(), "key", "value"))
		select {
		case n = <-notices:
			return true
		default:
			return false
		}
	})
	return n
}

func TestAWatchThatTheServerForgotTellsOfAGapBeforeWhatComesNext(t *testing.T) {
	quickWatch(t)
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, &Options{Buckets: 1})
	bot := botOf(t, st, "bot", nil)
	var down atomic.Bool
	st.client.AddHook(pipes{fails: func(cmd redis.Cmder) error {
		if cmd.Name() == "set" && down.Load() {
			return errors.New("that server is down")
		}
		return nil
	}})
	sessionsOf(t, bot, "s", 1)
	_, err := bot.Session("1").Create(t.Context(), Origin{})
	noError(t, err)
	notices, _ := watched(t, bot, c)
	if n := firstOf(t, bot, notices); n.Kind != "changed" {
		t.Errorf("the first notice is %+v, want a change", n)
	}
	down.Store(true)
	eventually(t, "the server has forgotten the watch", func() bool { return c.Exists(t.Context(), watchKey(bot)).Val() == 0 })
	for len(notices) > 0 {
		<-notices
	}
	noError(t, bot.Session("1").Set(t.Context(), "key", "nobody is told"))
	down.Store(false)
	if n := firstOf(t, bot, notices); n.Kind != "gap" || n.Ref != (session.Ref{Bot: "bot"}) {
		t.Errorf("the first notice after that is %+v, want a gap", n)
	}
}

// deaf is a way to a server whose connections may go dead without a word: they
// stay, and nothing comes through any more.
type deaf struct {
	listener net.Listener
	server   string
	muted    atomic.Int64 // muted is how many of the first connections are dead
	made     atomic.Int64
}

func deafWay(t *testing.T, server string) *deaf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	t.Cleanup(func() { l.Close() })
	d := &deaf{listener: l, server: server}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				return
			}
			n := d.made.Add(1)
			pass := func(to, from net.Conn) {
				defer to.Close()
				defer from.Close()
				buffer := make([]byte, 4096)
				for {
					got, err := from.Read(buffer)
					if err != nil {
						return
					}
					if n > d.muted.Load() {
						if _, err := to.Write(buffer[:got]); err != nil && !errors.Is(err, io.EOF) {
							return
						}
					}
				}
			}
			go pass(near, far)
			go pass(far, near)
		}
	}()
	return d
}

func TestAWatchLeavesAConnectionThatIsDeadWithoutAWord(t *testing.T) {
	quickWatch(t)
	url := redistest.Single(t)
	c := client(t, url)
	way := deafWay(t, strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0"))
	through := redis.NewClient(&redis.Options{Addr: way.listener.Addr().String(), ReadTimeout: 50 * time.Millisecond, ContextTimeoutEnabled: true})
	defer through.Close()
	st, err := New(t.Context(), through, &Options{Buckets: 1})
	noError(t, err)
	bot := botOf(t, opened(t, url, &Options{Buckets: 1}), "bot", nil)
	_, err = bot.Session("1").Create(t.Context(), Origin{})
	noError(t, err)
	notices, _ := watched(t, botOf(t, st, "bot", nil), c)
	if n := firstOf(t, bot, notices); n.Kind != "changed" {
		t.Errorf("the first notice is %+v, want a change", n)
	}
	way.muted.Store(way.made.Load())
	eventually(t, "a gap is told", func() bool {
		select {
		case n := <-notices:
			return n.Kind == "gap"
		default:
			return false
		}
	})
	if n := firstOf(t, bot, notices); n.Kind != "changed" && n.Kind != "gap" {
		t.Errorf("what comes after the gap is %+v", n)
	}
}

func TestNothingIsLeftOfAWatchThatEnded(t *testing.T) {
	quickWatch(t)
	url := redistest.Single(t)
	c := client(t, url)
	bot := botOf(t, opened(t, url, &Options{Buckets: 1}), "bot", nil)
	_, err := bot.Session("1").Create(t.Context(), Origin{})
	noError(t, err)
	ends := map[string]func(cancel func()) (goOn bool){
		"the caller leaves the loop":  func(func()) bool { return false },
		"the caller's ctx is over":    func(cancel func()) bool { cancel(); return true },
		"the caller's code panics":    func(func()) bool { panic("in the loop") },
		"the caller's goroutine ends": func(func()) bool { runtime.Goexit(); return true },
	}
	for what, end := range ends {
		var running sync.WaitGroup
		running.Go(func() {
			defer func() { _ = recover() }()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range bot.Watch(ctx) {
				if !end(cancel) {
					break
				}
			}
		})
		ended := make(chan struct{})
		go func() { running.Wait(); close(ended) }()
		eventually(t, what, func() bool {
			_ = bot.Session("1").Set(t.Context(), "key", "value") // somebody to tell of
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		stacks := make([]byte, 1<<20)
		if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), "store.(*watcher)") {
			t.Errorf("%s: a goroutine of the watch is left:\n%s", what, stacks)
		}
		eventually(t, "the server has no subscriber: "+what, func() bool {
			return len(c.PubSubChannels(t.Context(), "bs:*").Val()) == 0
		})
	}
}
