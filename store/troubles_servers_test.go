//go:build unix

package store_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// The troubles that befall a server, and how each is made.
var troubles = []trouble{
	{name: "killed, append-only file synced always", begin: restart(os.Kill, "--appendonly", "yes", "--appendfsync", "always")},
	{name: "killed, append-only file synced always, Fsync", fsync: true, begin: restart(os.Kill, safest...)},
	{name: "killed, append-only file synced every second", loses: true, begin: restart(os.Kill, "--appendonly", "yes")},
	{name: "ended by SIGTERM, append-only file", begin: restart(syscall.SIGTERM, "--appendonly", "yes")},
	{name: "loading its append-only file", begin: slowToLoad},
	{name: "out of memory, noeviction", begin: configured("maxmemory", "1", "0")},
	{name: "busy with an endless script", begin: busy},
	{name: "a replica for a moment", begin: demoted},
	{name: "its snapshot fails", begin: snapshotFails},
	{name: "script cache flushed, 50 times", begin: flushed},
	{name: "connections cut, and no more than one allowed", begin: crowded},
	{name: "stopped for a moment (SIGSTOP)", begin: frozen},
	{name: "its user lacks one right after the other", heard: "no permission", begin: rightLost},
	{name: "cluster, slots migrated", begin: migrated},
	{name: "cluster, slots migrated at once", begin: migratedAtOnce},
	{name: "cluster, master killed", loses: true, begin: masterKilled(0)},
	{name: "cluster, master killed, Acks: 1", acks: 1, begin: masterKilled(1)},
	{name: "Sentinel, fail-over asked for", loses: true, begin: failOver(false, 0)},
	{name: "Sentinel, fail-over asked for, Acks: 1", acks: 1, begin: failOver(false, 1)},
	{name: "Sentinel, fail-over asked for, Acks: 1, Fsync", acks: 1, fsync: true, begin: failOver(false, 1, safest...)},
	{name: "Sentinel, primary killed", loses: true, begin: failOver(true, 0)},
	{name: "Sentinel, primary killed, Acks: 1", acks: 1, begin: failOver(true, 1)},
	{name: "Sentinel, primary killed, Acks: 1, Fsync", acks: 1, fsync: true, begin: failOver(true, 1, safest...)},
}

func restart(by os.Signal, args ...string) func(*testing.T) (string, func()) {
	return func(t *testing.T) (string, func()) {
		server := redistest.Restartable(t, args...)
		return server.URL, func() {
			server.Stop(by)
			time.Sleep(lasting)
			server.Start()
		}
	}
}

// slowToLoad restarts a server with so much in its file, and such a delay at every
// command in it, that it loads until it is told to make haste.
func slowToLoad(t *testing.T) (string, func()) {
	server := redistest.Restartable(t, "--appendonly", "yes", "--appendfsync", "always")
	client := observer(t, server.URL)
	must(t, client.Eval(t.Context(), "for i = 1, 40000 do redis.call('SET', 'filler' .. i, i) end return 1", nil).Err())
	return server.URL, func() {
		server.Stop(os.Kill)
		server.Start("--key-load-delay", "100")
		time.Sleep(lasting)
		if info := client.Info(t.Context(), "persistence").Val(); !strings.Contains(info, "loading:1") {
			t.Errorf("it has loaded already: %s", info)
		}
		must(t, client.ConfigSet(t.Context(), "key-load-delay", "0").Err())
	}
}

func configured(name, bad, good string) func(*testing.T) (string, func()) {
	return func(t *testing.T) (string, func()) {
		url := redistest.Single(t)
		client := observer(t, url)
		return url, func() {
			must(t, client.ConfigSet(t.Context(), name, bad).Err())
			time.Sleep(lasting)
			must(t, client.ConfigSet(t.Context(), name, good).Err())
		}
	}
}

func busy(t *testing.T) (string, func()) {
	url := redistest.Single(t, "--lua-time-limit", "100") // in Redis 7 also busy-reply-threshold
	client, other := observer(t, url), observer(t, url+"?max_retries=-1&read_timeout=-1")
	return url, func() {
		ended := make(chan error, 1)
		go func() { ended <- other.Eval(t.Context(), "while true do end", nil).Err() }()
		time.Sleep(lasting)
		until(t, "the script is killed", func() bool { return client.ScriptKill(t.Context()).Err() == nil })
		bounded.Receive(t, "the script that was killed returns", ended)
	}
}

// demoted makes the server the replica of nobody, so that it keeps its keys.
func demoted(t *testing.T) (string, func()) {
	url := redistest.Single(t)
	client := observer(t, url)
	return url, func() {
		must(t, client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
		time.Sleep(lasting)
		must(t, client.ReplicaOf(t.Context(), "NO", "ONE").Err())
	}
}

// snapshotFails puts a directory where the snapshot has to go.
func snapshotFails(t *testing.T) (string, func()) {
	dir := t.TempDir()
	url := redistest.Single(t, "--dir", dir, "--save", "3600 1000000")
	client := observer(t, url)
	save := func(want string) {
		until(t, "BGSAVE ends: "+want, func() bool {
			_ = client.BgSave(t.Context()).Err() // one may be under way
			return strings.Contains(client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:"+want)
		})
	}
	return url, func() {
		must(t, os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700))
		save("err")
		time.Sleep(lasting)
		must(t, os.Remove(filepath.Join(dir, "dump.rdb")))
		save("ok")
	}
}

func flushed(t *testing.T) (string, func()) {
	url := redistest.Single(t)
	client := observer(t, url)
	return url, func() {
		for range 50 {
			must(t, client.ScriptFlush(t.Context()).Err())
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func crowded(t *testing.T) (string, func()) {
	url := redistest.Single(t)
	client := observer(t, url+"?pool_size=1")
	return url, func() {
		must(t, client.ConfigSet(t.Context(), "maxclients", "1").Err())
		must(t, client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
		must(t, client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
		time.Sleep(lasting)
		must(t, client.ConfigSet(t.Context(), "maxclients", "1000").Err())
	}
}

func rightLost(t *testing.T) (string, func()) {
	url := redistest.Single(t)
	root := observer(t, url)
	return asUser(t, url, "replica", append(rights(t, "replica"), "+scan")...), func() {
		for _, command := range neededByScripts(t) {
			must(t, root.Do(t.Context(), "ACL", "SETUSER", "replica", "-"+command).Err())
			time.Sleep(lasting / 20)
			must(t, root.Do(t.Context(), "ACL", "SETUSER", "replica", "+"+command).Err())
		}
	}
}

func frozen(t *testing.T) (string, func()) {
	url := redistest.Single(t)
	process := processOf(t, observer(t, url))
	return url, func() {
		must(t, process.Signal(syscall.SIGSTOP))
		time.Sleep(lasting)
		must(t, process.Signal(syscall.SIGCONT))
	}
}

// processOf finds the process of a server that this test has started.
func processOf(t *testing.T, client *redis.Client) *os.Process {
	t.Helper()
	_, rest, _ := strings.Cut(client.Info(t.Context(), "server").Val(), "process_id:")
	id, _, _ := strings.Cut(rest, "\r\n")
	pid, err := strconv.Atoi(id)
	must(t, err)
	process, err := os.FindProcess(pid)
	must(t, err)
	return process
}

// failOver has the Sentinels promote the replica. A primary that was killed
// takes with it the only one who could acknowledge what the new one writes, so a
// further replica is started where that is asked for.
func failOver(kill bool, acks int, args ...string) func(*testing.T) (string, func()) {
	return func(t *testing.T) (string, func()) {
		url := redistest.Sentinel(t, args...)
		list, _, _ := strings.Cut(strings.TrimPrefix(url, "redis+sentinel://"), "/")
		var sentinels []*redis.SentinelClient
		for addr := range strings.SplitSeq(list, ",") {
			s := redis.NewSentinelClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { s.Close() })
			must(t, s.Set(t.Context(), "main", "down-after-milliseconds", "1000").Err())
			sentinels = append(sentinels, s)
		}
		primary := func() string {
			return strings.Join(sentinels[0].GetMasterAddrByName(t.Context(), "main").Val(), ":")
		}
		old := primary()
		return url, func() {
			if kill {
				must(t, processOf(t, observer(t, "redis://"+old)).Kill())
			} else {
				must(t, sentinels[0].Failover(t.Context(), "main").Err())
			}
			until(t, "the replica is promoted", func() bool { now := primary(); return now != "" && now != old })
			if kill && acks > 0 {
				host, port, err := net.SplitHostPort(primary())
				must(t, err)
				redistest.Single(t, append(args[:len(args):len(args)], "--replicaof", host, port)...)
			}
		}
	}
}

// A node is a server of a cluster.
type node struct {
	*redis.Client
	host, port, id string
}

func nodes(t *testing.T, url string) []node {
	t.Helper()
	var all []node
	for addr := range strings.SplitSeq(strings.TrimPrefix(url, "redis+cluster://"), ",") {
		n := node{Client: observer(t, "redis://"+addr)}
		n.host, n.port, _ = net.SplitHostPort(addr)
		n.id = n.Do(t.Context(), "CLUSTER", "MYID").Val().(string)
		must(t, n.ConfigSet(t.Context(), "cluster-node-timeout", "1000").Err())
		all = append(all, n)
	}
	return all
}

// migrated moves all slots in use from the first master to the second, and
// stops for a while when half of their keys are there.
func migrated(t *testing.T) (string, func()) {
	url := redistest.Cluster(t, 3)
	all := nodes(t, url)
	from, to := all[0], all[1]
	ctx := context.Background()
	return url, func() {
		bySlot := slotsOf(t, from)
		migrate := func(keys []string) {
			must(t, from.Do(ctx, append([]any{"MIGRATE", to.host, to.port, "", 0, 5000, "KEYS"}, anys(keys)...)...).Err())
		}
		for slot, keys := range bySlot {
			must(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.id).Err())
			must(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.id).Err())
			migrate(keys[:len(keys)/2])
		}
		time.Sleep(lasting)
		for slot := range bySlot {
			until(t, fmt.Sprint("slot ", slot, " is empty"), func() bool {
				keys := from.ClusterGetKeysInSlot(ctx, int(slot), 100).Val()
				if len(keys) > 0 {
					migrate(keys)
				}
				return len(keys) == 0
			})
			for _, n := range []node{to, from, all[2]} {
				must(t, n.Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", to.id).Err())
			}
		}
		t.Logf("%d slots moved", len(bySlot))
	}
}

// migratedAtOnce has the first master hand all slots in use to the second by itself, as
// Valkey does from 9.0 on: it copies them while it goes on with them, and then they
// change hands in one moment. No client is told ASK.
func migratedAtOnce(t *testing.T) (string, func()) {
	url := redistest.Cluster(t, 3)
	all := nodes(t, url)
	from, to := all[0], all[1]
	ctx := context.Background()
	if err := from.Do(ctx, "CLUSTER", "GETSLOTMIGRATIONS").Err(); err != nil {
		t.Skip("SKIPPED, the server does not know CLUSTER MIGRATESLOTS, as Valkey 9 does: ", err)
	}
	return url, func() {
		bySlot := slotsOf(t, from)
		command := []any{"CLUSTER", "MIGRATESLOTS", "SLOTSRANGE"}
		for slot := range bySlot {
			command = append(command, slot, slot)
		}
		must(t, from.Do(ctx, append(command, "NODE", to.id)...).Err())
		until(t, "the slots have changed hands", func() bool {
			jobs, err := from.Do(ctx, "CLUSTER", "GETSLOTMIGRATIONS").Result()
			said := fmt.Sprint(jobs)
			if must(t, err); strings.Contains(said, "failed") || strings.Contains(said, "cancelled") {
				t.Fatalf("the migration: %s", said)
			}
			return strings.Contains(said, "success")
		})
		t.Logf("%d slots moved", len(bySlot))
	}
}

// slotsOf returns the keys of sessions that a node has, by their slots.
func slotsOf(t *testing.T, n node) map[int64][]string {
	t.Helper()
	ctx, bySlot := context.Background(), map[int64][]string{}
	for keys := n.Scan(ctx, 0, "bs:{*", 1000).Iterator(); keys.Next(ctx); {
		slot := n.ClusterKeySlot(ctx, keys.Val()).Val()
		bySlot[slot] = append(bySlot[slot], keys.Val())
	}
	if len(bySlot) == 0 {
		t.Fatal("no session lives on the first node")
	}
	return bySlot
}

func anys(texts []string) []any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = text
	}
	return values
}

// masterKilled kills the first master of a cluster whose replica then takes its
// place. With Acks every master needs a replica, and so does the new one.
func masterKilled(acks int) func(*testing.T) (string, func()) {
	return func(t *testing.T) (string, func()) {
		url := redistest.Cluster(t, 3)
		all := nodes(t, url)
		first := follow(t, all, all[0])
		if acks > 0 {
			follow(t, all, all[1])
			follow(t, all, all[2])
		}
		return url, func() {
			must(t, processOf(t, all[0].Client).Kill())
			until(t, "the replica is promoted", func() bool {
				return strings.Contains(first.Info(t.Context(), "replication").Val(), "role:master")
			})
			if acks > 0 {
				follow(t, slices.Concat([]node{first}, all[1:]), first)
			}
		}
	}
}

// follow starts a replica of a cluster's master, and waits until it is in step
// and every master knows it.
func follow(t *testing.T, masters []node, master node) node {
	t.Helper()
	replica := nodes(t, "redis+cluster://"+strings.TrimPrefix(redistest.Single(t, "--cluster-enabled", "yes"), "redis://"))[0]
	ctx := t.Context()
	must(t, replica.ClusterMeet(ctx, master.host, master.port).Err())
	until(t, "the replica knows its master", func() bool { return replica.ClusterReplicate(ctx, master.id).Err() == nil })
	until(t, "the replica is in step", func() bool {
		return strings.Contains(replica.Info(ctx, "replication").Val(), "master_link_status:up")
	})
	for _, m := range masters {
		until(t, "all know the replica", func() bool {
			return strings.Contains(m.ClusterNodes(ctx).Val(), fmt.Sprintf("%s %s:%s", replica.id, replica.host, replica.port))
		})
	}
	return replica
}
