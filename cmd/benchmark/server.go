package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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

// errNoServer is the answer where no redis-server is installed.
var errNoServer = errors.New("redis-server is not installed, and no --redis is given")

// startServer starts a Redis of our own on a free port of the loopback, with
// the recommended settings but for the append-only file, since the disk is not
// measured here, and with any more that are given.
func startServer(ctx context.Context, more ...string) (*server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNoServer
	}
	dir, err := os.MkdirTemp("", "benchmark-redis-")
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		s, err := tryServer(ctx, path, dir, more)
		if err == nil {
			return s, nil
		}
		if attempt == 4 || ctx.Err() != nil {
			os.RemoveAll(dir)
			return nil, fmt.Errorf("start redis-server: %w", err)
		}
	}
}

func tryServer(ctx context.Context, path, dir string, more []string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--appendonly", "no", "--maxmemory-policy", "noeviction", "--hash-max-listpack-value", "512"}, more...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if s, err := useServer(ctx, "redis://127.0.0.1:"+strconv.Itoa(port)); err == nil {
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
