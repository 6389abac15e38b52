package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// sweep ends a test: what its replicas left behind must fit together. Then it
// is deleted.
func (s *scene) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	client := s.connect(s.T)
	defer client.Close()
	st, err := store.New(ctx, client, &store.Options{Namespace: s.space})
	if err != nil {
		s.Errorf("opening a store for the sweep: %v", err)
		return
	}
	defer st.Close()
	if err := whole(ctx, st); err != nil && !s.Skipped() {
		s.Errorf("what is stored does not fit together: %v", err)
	}
	s.clear(ctx, client)
}

// whole returns an error that says what is wrong in what is stored, or why that cannot
// be read; nil means that nothing is wrong.
func whole(ctx context.Context, st *store.Store) error {
	found, err := gather(st.Check(ctx))
	for _, f := range found {
		err = errors.Join(err, errors.New(f.String()))
	}
	return err
}

// clear deletes all keys of the scene.
func (s *scene) clear(ctx context.Context, client redis.UniversalClient) {
	keys, err := scan(ctx, client, s.space+":*")
	for some := range slices.Chunk(keys, 500) {
		if e := wipe(ctx, client, some); e != nil {
			err = e
		}
	}
	if err != nil {
		s.Errorf("clearing the namespace %s: %v", s.space, err)
	}
}

// wipe deletes keys, wherever they are.
func wipe(ctx context.Context, client redis.UniversalClient, keys []string) error {
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, key := range keys {
			pipe.Del(ctx, key)
		}
		return nil
	})
	return err
}

// scan lists the keys that match a pattern, on whatever server they are.
func scan(ctx context.Context, client redis.UniversalClient, pattern string) ([]string, error) {
	var mu sync.Mutex
	var keys []string
	one := func(ctx context.Context, node *redis.Client) error {
		for cursor := uint64(0); ; {
			page, next, err := node.Scan(ctx, cursor, pattern, 1000).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			keys = append(keys, page...)
			mu.Unlock()
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	var err error
	switch c := client.(type) {
	case *redis.Client:
		err = one(ctx, c)
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, one)
	default:
		err = fmt.Errorf("connect made a %T, want a *redis.Client or a *redis.ClusterClient", client)
	}
	slices.Sort(keys) // a scan may show a key twice
	return slices.Compact(keys), err
}

// keys lists the stored keys of one session, by kind: "s" is its hash. See the
// stored layout in package store.
func (s *scene) keys(client redis.UniversalClient, ref session.Ref) map[string]string {
	s.Helper()
	all, err := scan(s.Context(), client, s.space+":*")
	s.ok(err)
	kinds := map[string]string{}
	for _, key := range all {
		if head, ok := strings.CutSuffix(key, ":"+ref.String()); ok {
			kinds[head[strings.LastIndexByte(head, ':')+1:]] = key
		}
	}
	return kinds
}

// bucketKeys lists all keys that the session with that hash may have, and those
// of its bucket, whether they are there or not. It saves a scan.
func bucketKeys(hash string, ref session.Ref) []string {
	tag, _ := strings.CutSuffix(hash, "s:"+ref.String())
	keys := []string{tag + "b", tag + "bells"}
	for _, kind := range []string{"s", "h", "q", "o", "e", "p", "x", "f"} {
		keys = append(keys, tag+kind+":"+ref.String())
	}
	for _, kind := range []string{"i", "u", "g", "ttl", "due", "waits", "dead", "w"} {
		keys = append(keys, tag+kind+":"+ref.Bot)
	}
	return keys
}

// dump reads all keys of the scene's sessions, to compare.
func (s *scene) dump(client redis.UniversalClient) map[string]any {
	s.Helper()
	keys, err := scan(s.Context(), client, s.space+":{*")
	s.ok(err)
	return s.dumpOf(client, keys)
}

// dumpOf reads those of the keys that are there.
func (s *scene) dumpOf(client redis.UniversalClient, keys []string) map[string]any {
	s.Helper()
	ctx := s.Context()
	kinds, values := make([]*redis.StatusCmd, len(keys)), make([]redis.Cmder, len(keys))
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			kinds[i] = pipe.Type(ctx, key)
		}
		return nil
	})
	s.ok(err)
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			switch kinds[i].Val() {
			case "string":
				values[i] = pipe.Get(ctx, key)
			case "hash":
				values[i] = pipe.HGetAll(ctx, key)
			case "list":
				values[i] = pipe.LRange(ctx, key, 0, -1)
			case "zset":
				values[i] = pipe.ZRangeWithScores(ctx, key, 0, -1)
			}
		}
		return nil
	})
	s.ok(err)
	dump := map[string]any{}
	for i, key := range keys {
		switch v := values[i].(type) {
		case *redis.StringCmd:
			dump[key] = v.Val()
		case *redis.MapStringStringCmd:
			dump[key] = v.Val()
		case *redis.StringSliceCmd:
			dump[key] = v.Val()
		case *redis.ZSliceCmd:
			dump[key] = v.Val()
		}
	}
	return dump
}

// restore makes the keys what they were when they were dumped.
func (s *scene) restore(client redis.UniversalClient, keys []string, dump map[string]any) {
	s.Helper()
	ctx := s.Context()
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, key := range keys {
			pipe.Del(ctx, key)
			switch v := dump[key].(type) {
			case string:
				pipe.Set(ctx, key, v, 0)
			case map[string]string:
				pipe.HSet(ctx, key, v)
			case []string:
				pipe.RPush(ctx, key, v)
			case []redis.Z:
				pipe.ZAdd(ctx, key, v...)
			}
		}
		return nil
	})
	s.ok(err)
}

// swap puts a string in the place of a key, and returns what puts back what was there.
func (s *scene) swap(client redis.UniversalClient, key string) (back func()) {
	s.Helper()
	was := s.dumpOf(client, []string{key})
	life, err := client.PTTL(s.Context(), key).Result()
	s.ok(err)
	s.ok(client.Set(s.Context(), key, "of another type", 0).Err())
	return func() {
		s.Helper()
		s.restore(client, []string{key}, was)
		if life > 0 {
			s.ok(client.PExpire(s.Context(), key, life).Err())
		}
	}
}
