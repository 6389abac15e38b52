// Package bounded has the waits of tests: long enough for a slow machine, and
// never without an end.
package bounded

import (
	"sync"
	"testing"
	"time"
)

const (
	limit      = time.Minute
	groupLimit = 20 * time.Minute // a group does many things, each with an end of its own
)

// Receive returns what a goroutine sends, and fails the test where nothing comes.
func Receive[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	return within(t, limit, what, from)
}

func within[T any](t testing.TB, limit time.Duration, what string, from <-chan T) (v T) {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v = <-from:
	case <-timer.C:
		t.Fatalf("still not so after %v: %s", limit, what)
	}
	return v
}

// Wait waits until all of a group have returned, and fails the test where they do
// not.
func Wait(t testing.TB, what string, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	within(t, groupLimit, what, done)
}
