package redistest

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A Server is one server that can be ended and started again.
type Server struct {
	URL string // redis://, the same after every start

	t testing.TB
	server
}

// Restartable starts a server as [Single] does: its URL, and its directory,
// stay the same when it is stopped and started again. What it finds there again
// is for the arguments to say: "--appendonly", "yes".
func Restartable(t testing.TB, args ...string) *Server {
	t.Helper()
	started := startNode(t, args...)
	return &Server{URL: "redis://" + started.addr, t: t, server: started}
}

// Stop sends the server a signal that ends it, and waits until it has ended:
// os.Kill for a crash, syscall.SIGTERM for an orderly end.
func (s *Server) Stop(by os.Signal) {
	s.t.Helper()
	if err := s.process.cmd.Process.Signal(by); err != nil {
		s.t.Fatalf("ending the server at %s: %v", s.addr, err)
	}
	select {
	case <-s.process.ended:
	case <-time.After(startTimeout):
		s.t.Fatalf("the server at %s does not end by %v", s.addr, by)
	}
}

// Start starts the server again, with further arguments if there are any, and
// waits until it answers, if only that it is loading.
func (s *Server) Start(args ...string) {
	s.t.Helper()
	var last error
	for range startAttempts {
		s.process = launch(s.program, append(s.args[:len(s.args):len(s.args)], args...))
		if last = s.process.ready(s.addr); last == nil {
			s.t.Cleanup(s.process.kill)
			return
		}
		s.process.kill()
		if !strings.Contains(last.Error(), "in use") { // by whom? For a moment, by a client that was given this port
			break
		}
		time.Sleep(pollEvery)
	}
	s.t.Fatalf("the server at %s did not start again: %v", s.addr, last)
}
