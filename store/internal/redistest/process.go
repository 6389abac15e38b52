package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A cluster's nodes also listen at their port plus busOffset. Both ranges stay
// below the ports that systems give to outgoing connections.
const (
	lowestPort  = 12000
	highestPort = 21999
	busOffset   = 10000
)

const (
	startAttempts = 20               // ports tried before the test fails
	startTimeout  = 20 * time.Second // generous: the machine may be busy
	pollEvery     = 10 * time.Millisecond
)

// A server is one running server process.
type server struct {
	addr    string // host:port
	port    int
	program string
	args    []string
	process *process
}

// start runs a server with the arguments that config makes for a free port and
// a directory of its own. The process ends with the test.
func start(t testing.TB, program string, config func(port int, dir string) []string) server {
	t.Helper()
	var last error
	for range startAttempts {
		port := freePort()
		s := server{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), port: port, program: program, args: config(port, t.TempDir())}
		s.process = launch(program, s.args)
		if last = s.process.ready(s.addr); last != nil { // another process may have taken the port since we looked
			s.process.kill()
			continue
		}
		t.Cleanup(s.process.kill)
		return s
	}
	t.Fatalf("%s did not start at any of %d ports: %v", program, startAttempts, last)
	return server{}
}

// freePort returns a port that was free, with its bus port, a moment ago.
func freePort() int {
	for {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if free(port) && free(port+busOffset) {
			return port
		}
	}
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// A process is a started program and what it printed.
type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer  // complete once ended is closed
	ended  chan struct{} // closed when the process is gone
	once   sync.Once
}

func launch(program string, args []string) *process {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	endWithParent(p.cmd)
	started := make(chan struct{})
	go func() {
		// The system ends the child with the thread that made it, so that
		// thread has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		close(started)
		if err != nil {
			fmt.Fprintln(&p.output, err)
		} else {
			_ = p.cmd.Wait() // it is killed: the status says only that
		}
		close(p.ended)
	}()
	<-started
	return p
}

// ready waits until the server at addr answers and is this process, not
// another that took the port first.
func (p *process) ready(addr string) error {
	client := redis.NewClient(options(addr))
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		info, err := client.Info(ctx, "server").Result()
		if err == nil {
			if !strings.Contains(info, "process_id:"+strconv.Itoa(p.cmd.Process.Pid)+"\r\n") {
				return fmt.Errorf("another server listens at %s", addr)
			}
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("the server ended: %s", strings.TrimSpace(p.output.String()))
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer at %s: %w", addr, err)
		case <-time.After(pollEvery):
		}
	}
}

func (p *process) kill() {
	p.once.Do(func() {
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill() // an error means that it has ended already
		}
		<-p.ended
	})
}

// options are those of a client that sends nothing but its commands.
func options(addr string) *redis.Options {
	return &redis.Options{
		Addr:                     addr,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// await polls until done says so, and fails the test with the reason that it
// gave last.
func await(t testing.TB, what string, done func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := done(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, err)
		case <-time.After(pollEvery):
		}
	}
}
