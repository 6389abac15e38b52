package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const clusterCallers = 32

// A clustered is our load on a cluster of so many masters.
type clustered struct {
	Masters    int     `json:"masters"`
	Users      int     `json:"users"`
	Turns      int     `json:"turns"`
	PerSecond  float64 `json:"turns_per_second"`
	Scripts    int64   `json:"script_calls"`
	Least      int64   `json:"least_script_calls"` // of a master
	Most       int64   `json:"most_script_calls"`
	Spread     float64 `json:"spread_percent"` // from least to most, of the mean
	Redirected int64   `json:"redirections"`
	Error      string  `json:"error,omitempty"`
}

func (b *bench) onClusters(ctx context.Context) (found []*clustered, err error) {
	for _, masters := range b.config.clusters {
		b.say("cluster of %d", masters)
		c := &clustered{Masters: masters, Users: b.config.users}
		found = append(found, c)
		if err := b.onCluster(ctx, c); err != nil {
			c.Error = err.Error()
		}
		if err := ctx.Err(); err != nil {
			return found, err
		}
	}
	b.say("")
	return found, nil
}

// onCluster has every user make the same number of turns. The first one, which
// makes the session, is not measured: with it the client learns where the slots
// are, and the nodes get the scripts.
func (b *bench) onCluster(ctx context.Context, c *clustered) (err error) {
	nodes, err := startCluster(ctx, c.Masters)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopAll(nodes)) }()
	addrs := make([]string, len(nodes))
	for i, node := range nodes {
		addrs[i] = node.control.Options().Addr
	}
	e := b.env()
	e.url = "redis+cluster://" + strings.Join(addrs, ",")
	o, err := newOurs(ctx, e, settings{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()

	users := randomUsers(c.Users)
	if err := b.rounds(ctx, o, users, 1); err != nil {
		return err
	}
	before, err := infos(ctx, nodes)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.rounds(ctx, o, users, b.config.rounds); err != nil {
		return err
	}
	c.Turns = len(users) * b.config.rounds
	c.PerSecond = float64(c.Turns) / time.Since(began).Seconds()
	after, err := infos(ctx, nodes)
	if err != nil {
		return err
	}
	scripts := make([]int64, len(nodes))
	for i := range nodes {
		d := after[i].since(before[i])
		scripts[i] = d.scripts()
		c.Scripts += scripts[i]
		c.Redirected += d.redirected
	}
	c.Least, c.Most, c.Spread = imbalance(scripts)
	return nil
}

// rounds makes n turns of each user, by many callers with users of their own.
func (b *bench) rounds(ctx context.Context, o *ours, users []string, n int) error {
	script := b.data.flat()
	failures := make([]error, clusterCallers)
	var wg sync.WaitGroup
	for caller := range clusterCallers {
		wg.Go(func() {
			for range n {
				for i := caller; i < len(users); i += clusterCallers {
					if failures[caller] = o.turn(ctx, users[i], script[i%len(script)]); failures[caller] != nil {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

// randomUsers are users with numbers as a platform gives them, the same at each
// run. They have to be many, since chance alone puts more of them on one master
// than on another: of n users on six masters, the most is above the least by
// about 2.53·√(5/n) of the mean.
func randomUsers(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	users := make([]string, n)
	for i := range users {
		users[i] = strconv.Itoa(100_000_000 + random.IntN(900_000_000))
	}
	return users
}

// imbalance returns the extremes, and how far they are apart in percent of the
// mean.
func imbalance(counts []int64) (least, most int64, percent float64) {
	sum := int64(0)
	for _, n := range counts {
		sum += n
	}
	if sum == 0 {
		return 0, 0, 0
	}
	least, most = slices.Min(counts), slices.Max(counts)
	return least, most, 100 * float64(most-least) * float64(len(counts)) / float64(sum)
}

func infos(ctx context.Context, nodes []*server) ([]info, error) {
	all := make([]info, len(nodes))
	for i, node := range nodes {
		var err error
		if all[i], err = node.info(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// startCluster starts masters that share all slots evenly, and waits until each
// of them calls the cluster whole.
func startCluster(ctx context.Context, masters int) (nodes []*server, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, stopAll(nodes))
		}
	}()
	const slots = 16384
	for i := range masters {
		node, err := startServer(ctx, "--cluster-enabled", "yes")
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, node)
		// Epochs that differ from the start: nodes that share one settle it
		// between them first, and hand slots about while they do.
		if err := node.control.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return nodes, err
		}
		if err := node.control.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return nodes, err
		}
		for _, other := range nodes[:i] {
			host, port, _ := strings.Cut(other.control.Options().Addr, ":")
			if err := node.control.ClusterMeet(ctx, host, port).Err(); err != nil {
				return nodes, err
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, node := range nodes {
		for {
			state, err := node.control.ClusterInfo(ctx).Result()
			if err != nil {
				return nodes, fmt.Errorf("form a cluster of %d: %w", masters, err)
			}
			if strings.Contains(state, "cluster_state:ok\r\n") && strings.Contains(state, fmt.Sprintf("cluster_size:%d\r\n", masters)) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nodes, nil
}

func stopAll(nodes []*server) (err error) {
	for _, node := range nodes {
		err = errors.Join(err, node.stop())
	}
	return err
}
