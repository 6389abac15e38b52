// Package redistest starts real Redis servers for tests: one server, one that can
// be restarted, a cluster, or a primary and its replica under Sentinel.
//
//	func TestStore(t *testing.T) {
//		st, err := store.Open(t.Context(), redistest.Single(t), nil)
//		…
//	}
//
// Each server listens on a port of its own at 127.0.0.1, keeps nothing, and is
// ended with the test that started it. It is a redis-server, or the program that
// BOTSESSION_TEST_SERVER names: valkey-server, or a path. Where that is not
// installed the test is skipped, or fails if REQUIRE_REDIS=1 is set.
package redistest

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Single starts a server and returns its redis:// URL. It keeps nothing on
// disk, evicts nothing, and keeps hashes compact up to values of 512 bytes,
// unless the arguments say otherwise: "--maxmemory", "8mb".
func Single(t testing.TB, args ...string) string {
	t.Helper()
	return "redis://" + startNode(t, args...).addr
}

// External returns the URL in BOTSESSION_TEST_URL, and skips the test where it
// is not set. It does so with REQUIRE_REDIS=1 too: that asks for the servers
// which tests start themselves, and this one comes on top of them.
func External(t testing.TB) string {
	t.Helper()
	url := os.Getenv("BOTSESSION_TEST_URL")
	if url == "" {
		t.Skip("BOTSESSION_TEST_URL is not set: no external server to test on")
	}
	return url
}

// startNode starts a server that holds keys.
func startNode(t testing.TB, args ...string) server {
	t.Helper()
	program := require(t, args)
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == Waitaof })
	return start(t, program, func(port int, dir string) []string {
		return append([]string{
			"--port", strconv.Itoa(port),
			"--bind", "127.0.0.1",
			"--dir", dir,
			"--save", "",
			"--appendonly", "no",
			"--maxmemory-policy", "noeviction",
			"--hash-max-listpack-value", "512",
			"--loglevel", "warning",
		}, args...)
	})
}

// dial returns a client of one server, closed with the test.
func dial(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(options(addr))
	t.Cleanup(func() { client.Close() })
	return client
}
