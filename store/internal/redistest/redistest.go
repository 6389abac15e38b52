// Package redistest starts real Redis servers for tests: one server, one that can
// be restarted, a cluster, or a primary and its replica under Sentinel.
//
//	func TestStore(t *testing.T) {
//		st, err := store.Open(t.Context(), redistest.Single(t), nil)
//		…
//	}
//
// Each server listens on a port of its own at 127.0.0.1, keeps nothing, and is
// ended with the test that started it. Where no redis-server is installed the
// test is skipped, or fails if REQUIRE_REDIS=1 is set.
package redistest

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Single starts a redis-server and returns its redis:// URL. It keeps nothing
// on disk, evicts nothing, and keeps hashes compact up to values of 512 bytes,
// unless the arguments say otherwise: "--maxmemory", "8mb".
func Single(t testing.TB, args ...string) string {
	t.Helper()
	return "redis://" + start(t, func(port int, dir string) []string { return append(dataNode(port, dir), args...) }).addr
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

// dataNode is the configuration of every server that holds keys.
func dataNode(port int, dir string) []string {
	return []string{
		"--port", strconv.Itoa(port),
		"--bind", "127.0.0.1",
		"--dir", dir,
		"--save", "",
		"--appendonly", "no",
		"--maxmemory-policy", "noeviction",
		"--hash-max-listpack-value", "512",
		"--loglevel", "warning",
	}
}

// require finds the program, and skips or fails the test where it is missing.
func require(t testing.TB) (program string) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
		return program
	case os.Getenv("REQUIRE_REDIS") == "1":
		t.Fatal("redis-server is not in PATH and REQUIRE_REDIS=1 is set: install the Debian package redis-server")
	default:
		t.Skip("redis-server is not in PATH: install the Debian package redis-server to run this test (REQUIRE_REDIS=1 makes this a failure)")
	}
	return ""
}

// dial returns a client of one server, closed with the test.
func dial(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(options(addr))
	t.Cleanup(func() { client.Close() })
	return client
}
