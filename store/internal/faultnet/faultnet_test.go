package faultnet

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// through starts a server with a proxy before it, and returns a client of each.
// That of the proxy asks once.
func through(t *testing.T, protocol int) (p *Proxy, far, near *redis.Client) {
	t.Helper()
	addr := strings.TrimPrefix(redistest.Single(t), "redis://")
	connect := func(addr string, read time.Duration) *redis.Client {
		client := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol, MaxRetries: -1, ReadTimeout: read, DisableIdentity: true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
		t.Cleanup(func() { client.Close() })
		return client
	}
	p = New(t, addr)
	return p, connect(p.Addr(), 500*time.Millisecond), connect(addr, time.Minute)
}

const script = "return redis.call('INCR', 'n')"

func TestEachFaultDoesWhatItSays(t *testing.T) {
	t.Parallel()
	p, far, near := through(t, 3)
	ctx := t.Context()
	timeout := func(err error) bool { var e net.Error; return errors.As(err, &e) && e.Timeout() }
	lost := func(err error) bool { return errors.Is(err, io.EOF) || err != nil && !timeout(err) }
	for _, c := range []struct {
		fault       Fault
		fails       func(error) bool
		once, later int // how often the script has run when its caller knows, and when all has settled
	}{
		{Fault{}, func(err error) bool { return err == nil }, 1, 1},
		{CutBefore, lost, 0, 0},
		{CutHalfway, lost, 0, 0},
		{CutAfter, lost, 1, 1},
		{DropRequest, timeout, 0, 0},
		{DropReply, timeout, 1, 1},
		{Hold, timeout, 0, 1},
		{Delay(time.Millisecond), func(err error) bool { return err == nil }, 1, 1},
		{Delay(1500 * time.Millisecond), timeout, 0, 1},
		{Refuse("OOM no"), func(err error) bool { return redis.HasErrorPrefix(err, "OOM no") }, 0, 0},
	} {
		near.Set(ctx, "n", 0, 0)
		p.Strike(Rule{At: 2, Fault: c.fault})
		if err := errors.Join(far.Set(ctx, "other", 1, 0).Err(), far.Eval(ctx, "return 1", nil).Err()); err != nil {
			t.Errorf("%v, before it: %v", c.fault, err)
		}
		if err := far.Eval(ctx, script, nil).Err(); !c.fails(err) {
			t.Errorf("%v: the client gets %v", c.fault, err)
		}
		if n, err := near.Get(ctx, "n").Int(); n != c.once {
			t.Errorf("%v: the script has run %d times, %v; want %d", c.fault, n, err, c.once)
		}
		if err := p.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := near.Get(ctx, "n").Int(); n != c.later {
			t.Errorf("%v: the script has run %d times in the end, %v; want %d", c.fault, n, err, c.later)
		}
		if err := far.Eval(ctx, script, nil).Err(); err != nil {
			t.Errorf("%v, after it: %v", c.fault, err)
		}
		if got := p.Counts(); got.Scripts != 3 || got.Held != 0 || got.Open != 0 || (got.Struck == 1) != (c.fault != Fault{}) {
			t.Errorf("%v: %+v", c.fault, got)
		}
	}
}

func TestRulesCountWhatTheyMatch(t *testing.T) {
	t.Parallel()
	p, far, _ := through(t, 3)
	p.Strike(Rule{Fault: Refuse("MINE"), Match: "ann", At: 2, Every: true}, Rule{Fault: Refuse("OTHER"), At: 4})
	var got []string
	for _, key := range strings.Fields("ann bob ann bob ann bob") {
		said := "OK"
		if err := far.Eval(t.Context(), "return 1", []string{key}).Err(); err != nil {
			said = err.Error()
		}
		got = append(got, said)
	}
	if want := strings.Fields("OK OK MINE OTHER MINE OK"); !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

func TestASeedMakesTheSameChoices(t *testing.T) {
	t.Parallel()
	p, far, _ := through(t, 2)
	draw := func(seed uint64) (drawn string) {
		p.Random(seed, 0.5, Refuse("a"), Refuse("b"))
		for range 50 {
			if err := far.Eval(t.Context(), "return 1", nil).Err(); err != nil {
				drawn += err.Error()
			} else {
				drawn += "-"
			}
		}
		return drawn
	}
	if a, b, c := draw(1), draw(1), draw(2); a != b || a == c {
		t.Errorf("seed 1: %s, again: %s, seed 2: %s", a, b, c)
	}
}

func TestOtherCommandsPassUntouched(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		p, far, near := through(t, protocol)
		ctx := t.Context()
		p.Strike(Rule{Fault: CutBefore, Every: true})
		sub := far.Subscribe(ctx, "a", "b")
		defer sub.Close()
		messages := sub.Channel()
		for limit := time.Now().Add(20 * time.Second); near.Publish(ctx, "b", "hello").Val() == 0; {
			if time.Now().After(limit) {
				t.Fatal("nobody listens")
			}
		}
		if m := bounded.Receive(t, "a message comes", messages); m.Payload != "hello" {
			t.Errorf("received %v", m)
		}
		if err := sub.Ping(ctx); err != nil {
			t.Error(err)
		}
		pipe := far.TxPipeline()
		big := pipe.Echo(ctx, strings.Repeat("0123456789\r\n", 100000))
		hash := pipe.HGetAll(ctx, "none")
		pipe.HSet(ctx, "h", "k", "v")
		full := pipe.HGetAll(ctx, "h")
		if _, err := pipe.Exec(ctx); err != nil || len(big.Val()) != 1200000 || len(hash.Val()) != 0 || full.Val()["k"] != "v" {
			t.Errorf("a transaction: %v, %d bytes, %v, %v", err, len(big.Val()), hash.Val(), full.Val())
		}
		if err := far.Get(ctx, "none").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("a missing key: %v", err)
		}
		if err := p.Settle(ctx); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseEndsWhatIsHeldBackAndWhoWaits(t *testing.T) {
	t.Parallel()
	p, far, near := through(t, 3)
	p.Strike(Rule{Fault: Hold, Every: true})
	done := make(chan error, 1)
	go func() { done <- far.Eval(t.Context(), script, nil).Err() }()
	if err := p.Await(t.Context(), func(n Counts) bool { return n.Held == 1 }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() { waits <- p.Await(ctx, func(n Counts) bool { return n.Held == 9 }) }()
	cancel()
	if err := bounded.Receive(t, "Await ends with its context", waits); !errors.Is(err, context.Canceled) {
		t.Errorf("Await: %v", err)
	}
	p.Close() // returns when its goroutines have ended
	if err := bounded.Receive(t, "what was held back ends", done); err == nil {
		t.Error("what was held back was answered")
	}
	if n := near.Exists(t.Context(), "n").Val(); n != 0 {
		t.Error("what was held back was executed")
	}
	if counts := p.Counts(); counts.Open != 0 || counts.Held != 0 {
		t.Errorf("left: %+v", counts)
	}
}

func TestMessagesEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	const all = "+OK\r\n-ERR no\r\n:1\r\n$3\r\n\r\n1\r\n$-1\r\n$0\r\n\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$1\r\nx\r\n" +
		"_\r\n#t\r\n,1.5\r\n(12\r\n!5\r\nERR x\r\n=5\r\ntxt:x\r\n~1\r\n:1\r\n%1\r\n+k\r\n*1\r\n:1\r\n|1\r\n+a\r\n:1\r\n:2\r\n>2\r\n+x\r\n+y\r\n"
	in := bufio.NewReader(strings.NewReader(all))
	var got []string
	for {
		m, err := readMessage(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, string(m))
	}
	if len(got) != 19 || strings.Join(got, "") != all {
		t.Errorf("%d messages: %q", len(got), got)
	}
	for _, bad := range []string{"\r\n", "x\r\n", "$x\r\n", "*2\r\n:1\r\n", "$5\r\nab"} {
		if m, err := readMessage(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q is read as %q", bad, m)
		}
	}
}
