package redistest

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestASingleServerAnswers(t *testing.T) {
	t.Parallel()
	answers(t, redis.NewClient(options(hosts(t, Single(t))[0])))
}

func TestAClusterAnswersForEverySlot(t *testing.T) {
	t.Parallel()
	answers(t, redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                    hosts(t, Cluster(t, 3)),
		MaintNotificationsConfig: options("").MaintNotificationsConfig,
	}))
}

func TestSentinelsLeadToThePrimary(t *testing.T) {
	t.Parallel()
	answers(t, redis.NewFailoverClient(&redis.FailoverOptions{
		SentinelAddrs: hosts(t, Sentinel(t)),
		MasterName:    "main",
	}))
}

// hosts returns the addresses in a URL that net/url does not read: it takes one.
func hosts(t *testing.T, server string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(server, "://")
	if !ok {
		t.Fatalf("%q is no URL", server)
	}
	list, _, _ := strings.Cut(rest, "/")
	return strings.Split(list, ",")
}

func answers(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	defer client.Close()
	ctx := t.Context()
	if err := client.Ping(ctx).Err(); err != nil {
		t.Fatalf("PING: %v", err)
	}
	for _, key := range strings.Split("a b c d e f g h i j k l", " ") { // on every node of a cluster
		if err := client.Set(ctx, key, "value of "+key, 0).Err(); err != nil {
			t.Fatalf("SET %s: %v", key, err)
		}
		if got, err := client.Get(ctx, key).Result(); err != nil || got != "value of "+key {
			t.Errorf("GET %s: %q, %v", key, got, err)
		}
	}
}

func TestARestartedServerFindsItsFileAgain(t *testing.T) {
	t.Parallel()
	server := Restartable(t, "--appendonly", "yes", "--appendfsync", "always")
	client := dial(t, hosts(t, server.URL)[0])
	if err := client.Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, by := range []os.Signal{os.Kill, syscall.SIGTERM} {
		server.Stop(by)
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("it answers after %v", by)
		}
		server.Start("--maxclients", "100")
		if got, err := client.Get(t.Context(), "key").Result(); err != nil || got != "value" {
			t.Errorf("after %v: %q, %v", by, got, err)
		}
	}
}
