package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const slots = 16384

// Cluster starts a cluster of that many masters, which share all slots evenly,
// and returns its redis+cluster:// URL once every node calls it whole.
func Cluster(t testing.TB, masters int, args ...string) string {
	t.Helper()
	nodes := make([]server, masters)
	clients := make([]*redis.Client, masters)
	for i := range nodes {
		nodes[i] = startNode(t, append([]string{"--cluster-enabled", "yes"}, args...)...)
		clients[i] = dial(t, nodes[i].addr)
	}
	ctx := t.Context()
	for i, client := range clients {
		// Epochs that differ from the start: nodes that share one settle it
		// between them first, and hand slots about while they do.
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatalf("setting the epoch of node %d: %v", i, err)
		}
		first, last := i*slots/masters, (i+1)*slots/masters-1
		if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			t.Fatalf("giving slots %d to %d to node %d: %v", first, last, i, err)
		}
		for _, other := range nodes[:i] {
			if err := client.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(other.port)).Err(); err != nil {
				t.Fatalf("introducing node %d: %v", i, err)
			}
		}
	}
	for i, client := range clients {
		await(t, fmt.Sprintf("node %d calls the cluster whole", i), func(ctx context.Context) error {
			return whole(ctx, client, masters)
		})
	}
	addrs := make([]string, masters)
	for i, node := range nodes {
		addrs[i] = node.addr
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// whole reports why the node does not see the whole cluster yet.
func whole(ctx context.Context, client *redis.Client, masters int) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok",
		fmt.Sprintf("cluster_slots_ok:%d", slots),
		fmt.Sprintf("cluster_known_nodes:%d", masters),
		fmt.Sprintf("cluster_size:%d", masters),
	} {
		if !strings.Contains(info, want+"\r\n") {
			return fmt.Errorf("no %q in %q", want, info)
		}
	}
	return nil
}
