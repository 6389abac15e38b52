package call

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store/internal/bounded"
)

// airport is a sender with a server, and a gate in front of each flight.
type airport struct {
	sender
	server *miniredis.Miniredis
	gate   chan struct{} // closed: all may take off
	held   string        // until then no echo that begins so may
	groups chan int      // how many commands each flight had
}

func newAirport(t *testing.T) *airport {
	t.Helper()
	a := &airport{server: miniredis.RunT(t), gate: make(chan struct{}), groups: make(chan int, 1000)}
	client := redis.NewClient(&redis.Options{Addr: a.server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	client.AddHook(a)
	a.client = client
	a.patience = time.Hour // nobody flies alone because the machine is slow
	return a
}

func (a *airport) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (a *airport) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		a.takeOff(cmd)
		return next(ctx, cmd)
	}
}

func (a *airport) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		a.takeOff(cmds...)
		return next(ctx, cmds)
	}
}

// takeOff counts a flight. Those of the client itself, which make a connection,
// are none.
func (a *airport) takeOff(cmds ...redis.Cmder) {
	if cmds[0].Name() != "echo" {
		return
	}
	for _, cmd := range cmds {
		if strings.HasPrefix(cmd.Args()[1].(string), a.held) {
			<-a.gate
		}
	}
	a.groups <- len(cmds)
}

// await waits until so many fly and so many wait.
func (a *airport) await(t *testing.T, flying, waiting int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		a.mu.Lock()
		fly, wait := a.flying, len(a.queue)
		a.mu.Unlock()
		if fly == flying && wait == waiting {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d fly and %d wait, want %d and %d", fly, wait, flying, waiting)
		}
	}
}

func (a *airport) echo(ctx context.Context, text string) (string, error) {
	cmd := redis.NewCmd(ctx, "echo", text)
	if err := a.send(ctx, once{Cmd: cmd}); err != nil {
		return "", err
	}
	return cmd.Text()
}

// crowd has n callers come one after the other while nothing takes off, and then
// opens the gate: each must get the answer to its own text.
func (a *airport) crowd(t *testing.T, n int, text func(i int) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			want := text(i)
			if got, err := a.echo(ctx, want); got != want || err != nil {
				t.Errorf("the answer to %d bytes of caller %d: %d bytes, %v", len(want), i, len(got), err)
			}
		})
		a.await(t, min(i+1, maxFlying), max(0, i+1-maxFlying))
	}
	close(a.gate)
	bounded.Wait(t, "all callers return", &callers)
}

func TestCommandsOfManyCallersShareAFlight(t *testing.T) {
	t.Parallel()
	a := newAirport(t)
	a.crowd(t, maxFlying+maxPassengers+10, strconv.Itoa)
	flights := map[int]int{}
	for range len(a.groups) {
		flights[<-a.groups]++
	}
	if flights[1] != maxFlying || flights[maxPassengers] != 1 || flights[10] != 1 {
		t.Errorf("flights by their passengers: %v", flights)
	}
	a.await(t, 0, 0)
}

func TestMuchLuggageIsSpreadOverFlights(t *testing.T) {
	t.Parallel()
	a := newAirport(t)
	a.crowd(t, maxFlying+4, func(i int) string { return strings.Repeat("x", maxLuggage/2-10+i) })
	for range len(a.groups) {
		if n := <-a.groups; n > 2 {
			t.Errorf("a flight with %d commands of half the luggage each", n)
		}
	}
}

func TestWhoGivesUpInTheQueueIsNeverSent(t *testing.T) {
	t.Parallel()
	a := newAirport(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var callers sync.WaitGroup
	for i := range maxFlying {
		callers.Go(func() { _, _ = a.echo(ctx, strconv.Itoa(i)) })
	}
	a.await(t, maxFlying, 0)
	impatient, stop := context.WithCancel(ctx)
	stop()
	cmd := redis.NewCmd(impatient, "set", "key", "value")
	err := a.send(impatient, once{Cmd: cmd})
	if !errors.Is(err, errNeverSent) || !errors.Is(err, context.Canceled) || judge(err) != notNow {
		t.Errorf("the error of one that gave up: %v", err)
	}
	close(a.gate)
	bounded.Wait(t, "all callers return", &callers)
	if a.server.Exists("key") {
		t.Error("it was sent")
	}
}

func TestHungFlightsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	a := newAirport(t)
	a.held, a.patience = "hung", usualPatience
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var hung, others sync.WaitGroup
	for i := range maxFlying {
		hung.Go(func() { _, _ = a.echo(ctx, fmt.Sprint("hung ", i)) })
	}
	a.await(t, maxFlying, 0)
	for i := range 20 {
		others.Go(func() {
			want := fmt.Sprint("other ", i)
			if got, err := a.echo(ctx, want); got != want || err != nil {
				t.Errorf("the answer to %s: %q, %v", want, got, err)
			}
		})
	}
	bounded.Wait(t, "the others return", &others) // while those hang
	close(a.gate)
	bounded.Wait(t, "who hung returns", &hung)
	a.await(t, 0, 0)
}
