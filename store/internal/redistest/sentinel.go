package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	sentinels = 3
	quorum    = 2
)

// Sentinel starts a primary, a replica of it and three sentinels, which call
// the primary "main", and returns their redis+sentinel:// URL once the replica
// is in step and every sentinel knows all the others.
func Sentinel(t testing.TB, args ...string) string {
	t.Helper()
	primary, _ := pair(t, args...)
	addrs := make([]string, sentinels)
	for i := range addrs {
		addrs[i] = start(t, primary.program, func(port int, dir string) []string {
			return []string{watcherConfig(t, port, dir, primary.port), "--sentinel"}
		}).addr
	}
	for _, addr := range addrs {
		watcher := redis.NewSentinelClient(options(addr))
		t.Cleanup(func() { watcher.Close() })
		await(t, "sentinel "+addr+" knows the others", func(ctx context.Context) error {
			got, err := watcher.Master(ctx, "main").Result()
			if err != nil {
				return err
			}
			return equal(got, map[string]string{
				"flags":               "master",
				"num-slaves":          "1",
				"num-other-sentinels": strconv.Itoa(sentinels - 1),
			})
		})
	}
	return "redis+sentinel://" + strings.Join(addrs, ",") + "/main"
}

// pair starts a primary and a replica of it, and waits until that is in step.
func pair(t testing.TB, args ...string) (primary server, follower *redis.Client) {
	t.Helper()
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	primary = startNode(t, args...)
	replica := startNode(t, append(args, "--replicaof", "127.0.0.1", strconv.Itoa(primary.port))...)
	follower = dial(t, replica.addr)
	await(t, "the replica is in step", func(ctx context.Context) error {
		info, err := follower.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up\r\n") {
			err = fmt.Errorf("replication is %q", info)
		}
		return err
	})
	return primary, follower
}

// watcherConfig writes a sentinel's configuration into its directory: sentinels
// rewrite theirs, so it has to be a file.
func watcherConfig(t testing.TB, port int, dir string, primary int) (path string) {
	t.Helper()
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %q
loglevel warning
sentinel monitor main 127.0.0.1 %d %d
sentinel down-after-milliseconds main 5000
sentinel failover-timeout main 10000
`, port, dir, primary, quorum)
	path = filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// equal reports the first of the wanted values that differs.
func equal(got, want map[string]string) error {
	for name, value := range want {
		if got[name] != value {
			return fmt.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	return nil
}

// Pair starts a primary and a replica of it, and returns the primary's redis://
// URL and a client of the replica, which is in step.
func Pair(t testing.TB, args ...string) (url string, replica *redis.Client) {
	t.Helper()
	primary, follower := pair(t, args...)
	return "redis://" + primary.addr, follower
}
