package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// A fleet is the replicas that the demo started, each a process.
type fleet struct {
	config     replicaConfig // of all; Name is set for each
	executable string
	verbose    io.Writer // gets the replicas' logs; nil: they are dropped
	say        func(format string, args ...any)
	crashed    func(err error) // a replica ended that nobody had killed or stopped

	mu      sync.Mutex
	started int
	live    []*replica
	all     []*replica
	closing bool
}

// A replica is one process of the fleet.
type replica struct {
	number int
	url    string // of its webhook
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *tail
	doomed atomic.Bool   // to be killed as soon as it accepts a message
	ended  chan struct{} // closed when the process is gone
}

func (r *replica) String() string {
	return fmt.Sprintf("replica %d (pid %d)", r.number, r.cmd.Process.Pid)
}

// join starts a replica and waits until it serves.
func (f *fleet) join(ctx context.Context) (*replica, error) {
	f.mu.Lock()
	f.started++
	r := &replica{number: f.started, ended: make(chan struct{})}
	f.mu.Unlock()

	r.cmd = exec.Command(f.executable, "replica")
	r.cmd.WaitDelay = 2 * time.Second
	r.stderr = &tail{prefix: fmt.Sprintf("replica %d: ", r.number), through: f.verbose}
	r.cmd.Stderr = r.stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r.stdin = stdin
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	f.mu.Lock()
	f.all = append(f.all, r)
	f.mu.Unlock()

	// Whatever goes wrong from here on, the process must not stay.
	unhappy := time.AfterFunc(30*time.Second, func() { r.cmd.Process.Kill() })
	interrupted := context.AfterFunc(ctx, func() { r.cmd.Process.Kill() })
	config := f.config
	config.Name = fmt.Sprintf("replica-%d", r.number)
	err = json.NewEncoder(stdin).Encode(config)
	var hello replicaHello
	if err == nil {
		var line []byte
		if line, err = bufio.NewReader(stdout).ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &hello)
		}
	}
	if !unhappy.Stop() || !interrupted() || err != nil {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		close(r.ended)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("replica %d did not start: %s", r.number, r.stderr.last())
	}
	r.url = "http://" + hello.Address + "/webhook"

	f.mu.Lock()
	f.live = append(f.live, r)
	f.mu.Unlock()
	go f.await(r)
	return r, nil
}

// await reaps the process of a replica.
func (f *fleet) await(r *replica) {
	err := r.cmd.Wait()
	f.mu.Lock()
	expected := f.closing || !slices.Contains(f.live, r)
	f.remove(r)
	f.mu.Unlock()
	close(r.ended)
	if !expected {
		if err == nil {
			err = errors.New("it ended by itself")
		}
		f.crashed(fmt.Errorf("%s crashed: %w: %s", r, err, r.stderr.last()))
	}
}

func (f *fleet) remove(r *replica) bool {
	i := slices.Index(f.live, r)
	if i >= 0 {
		f.live = slices.Delete(f.live, i, i+1)
	}
	return i >= 0
}

// pick picks a live replica at random; another one than avoid if there is one.
// It answers nil while there is none.
func (f *fleet) pick(rng *rand.Rand, avoid *replica) *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) == 0 {
		return nil
	}
	i := rng.IntN(len(f.live))
	if f.live[i] == avoid && len(f.live) > 1 {
		i = (i + 1 + rng.IntN(len(f.live)-1)) % len(f.live)
	}
	return f.live[i]
}

func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.live)
}

// kill kills a replica with SIGKILL. It reports false if it was gone already.
func (f *fleet) kill(r *replica) bool {
	f.mu.Lock()
	mine := f.remove(r)
	f.mu.Unlock()
	if mine {
		r.cmd.Process.Kill()
		<-r.ended
		f.say("%s killed", r)
	}
	return mine
}

// stop ends all replicas: it asks them to finish, and kills those that have not
// done so after a few seconds.
func (f *fleet) stop() {
	f.mu.Lock()
	f.closing = true
	all := slices.Clone(f.all)
	f.mu.Unlock()
	for _, r := range all {
		r.cmd.Process.Signal(syscall.SIGTERM)
		r.stdin.Close()
	}
	patience := time.After(5 * time.Second)
	for _, r := range all {
		select {
		case <-r.ended:
			continue
		case <-patience:
		}
		r.cmd.Process.Kill()
		<-r.ended
		closed := make(chan time.Time)
		close(closed)
		patience = closed
	}
}

// executable finds this program, for the replicas.
func executable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program to start replicas of it: %w", err)
	}
	return path, nil
}

// tail keeps the last of what a replica logs, and may pass all of it on.
type tail struct {
	prefix  string
	through io.Writer

	mu   sync.Mutex
	kept []byte
}

const tailSize = 4096

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = slices.Delete(t.kept, 0, over)
	}
	if t.through != nil {
		for line := range bytes.Lines(p) {
			fmt.Fprintf(t.through, "%s%s\n", t.prefix, text.Clean(strings.TrimRight(string(line), "\r\n")))
		}
	}
	return len(p), nil
}

// last is the last thing that was logged, on one line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	if n := len(lines); n > 1 && strings.HasPrefix(lines[n-1], "hint:") {
		lines = lines[:n-1]
	}
	text := strings.TrimPrefix(lines[len(lines)-1], "error: ")
	if text == "" {
		return "it said nothing"
	}
	return text
}
