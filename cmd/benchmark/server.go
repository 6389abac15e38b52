package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server is the Redis that everything is measured on.
type server struct {
	url     string
	control *redis.Client // for what is not measured; RESP2, so that a reply's length is known
	pid     int           // of the process, if it is ours
	stop    func() error
}

// useServer connects to a Redis that somebody else runs.
func useServer(ctx context.Context, url string) (*server, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	opts.Protocol = 2
	opts.DisableIdentity = true
	opts.ReadTimeout, opts.WriteTimeout = time.Minute, time.Minute
	s := &server{url: url, control: redis.NewClient(opts)}
	s.stop = s.control.Close
	if err := s.control.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("no Redis answers at %s: %w", opts.Addr, err), s.stop())
	}
	return s, nil
}

// errNoServer is the answer where a server is not installed.
var errNoServer = errors.New("not installed")

// startServer starts a Redis of our own, with any more settings that are given.
func startServer(ctx context.Context, more ...string) (*server, error) {
	return startProgram(ctx, []string{"redis-server"}, more...)
}

// startProgram starts a server of our own on a free port of the loopback, with
// the recommended settings but for the append-only file, since the disk is not
// measured in most parts, and with any more that are given.
func startProgram(ctx context.Context, program []string, more ...string) (*server, error) {
	if _, err := exec.LookPath(program[len(program)-1]); err != nil {
		return nil, fmt.Errorf("%s is %w", program[len(program)-1], errNoServer)
	}
	dir, err := os.MkdirTemp("", "benchmark-redis-")
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		s, err := tryServer(ctx, program, dir, more)
		if err == nil {
			return s, nil
		}
		if attempt == 4 || ctx.Err() != nil {
			os.RemoveAll(dir)
			return nil, fmt.Errorf("start %s: %w", strings.Join(program, " "), err)
		}
	}
}

func tryServer(ctx context.Context, program []string, dir string, more []string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := slices.Concat(program[1:], []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--appendonly", "no", "--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "512"}, more)
	cmd := exec.Command(program[0], args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for {
		if s, err := listening(ctx, address); err == nil {
			s.pid = cmd.Process.Pid
			s.stop = func() error {
				s.control.Close()
				err := cmd.Process.Signal(syscall.SIGTERM)
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					err = cmd.Process.Kill()
					<-ended
				}
				return errors.Join(err, os.RemoveAll(dir))
			}
			return s, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("it ended: %s", strings.TrimSpace(output.String()))
		case <-ctx.Done():
			cmd.Process.Kill()
			<-ended
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listening connects to a server of our own, if it is ready.
func listening(ctx context.Context, address string) (*server, error) {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil, err // a client would say so aloud, and try again by itself
	}
	conn.Close()
	return useServer(ctx, "redis://"+address)
}

// freePort returns a port that nobody listens on. A node of a cluster also
// listens 10,000 above it: that has to be a port, too.
func freePort() (int, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port+10000 < 1<<16 {
			return port, nil
		}
	}
}

// sweep deletes every key that a contender left, and waits until their memory
// is given back. Nothing else on the server is touched.
func (s *server) sweep(ctx context.Context, prefix string) error {
	scan := s.control.Scan(ctx, 0, "*"+prefix+"*", 1000).Iterator()
	var keys []string
	for scan.Next(ctx) {
		keys = append(keys, scan.Val())
	}
	if err := scan.Err(); err != nil {
		return err
	}
	for part := keys; len(part) > 0; part = part[min(500, len(part)):] {
		if err := s.control.Del(ctx, part[:min(500, len(part))]...).Err(); err != nil {
			return err
		}
	}
	return nil
}
