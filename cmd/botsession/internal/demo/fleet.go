package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A fleet is the processes of the replicas.
type fleet struct {
	config     replicaConfig // of all; Name is set for each
	executable string        // the program that has the command replica
	verbose    io.Writer     // gets the replicas' logs; nil: they are dropped
	say        func(format string, args ...any)
	crashed    func(err error) // called when a replica ends that was neither killed nor stopped

	mu      sync.Mutex
	started int
	live    []*replica
	all     []*replica
	closing bool
}

// A replica is one of them.
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
	late := time.AfterFunc(30*time.Second, func() { r.cmd.Process.Kill() })
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
	if !late.Stop() || !interrupted() || err != nil {
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

// await waits for the end of a replica's process.
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

// pick returns a random live replica, another than avoid if there is another. It
// returns nil if none is live.
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
// finished after a few seconds. A second call does nothing.
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

// executable returns the path of this program.
func executable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program to start replicas of it: %w", err)
	}
	return path, nil
}
