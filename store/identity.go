package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/botsession/botsession/session"
)

// An identity is the id of the stored data, by which the channels of two stores
// on one server are told apart, and what tells that it was replaced.
type identity struct {
	id       string
	replaced chan struct{} // closed when there is another
}

func (s *Store) identity() *identity {
	if i := s.ident.Load(); i != nil {
		return i
	}
	return &identity{}
}

func (s *Store) setIdentity(id string) {
	if old := s.ident.Swap(&identity{id, make(chan struct{})}); old != nil {
		close(old.replaced)
	}
}

// follow looks whether the stored data is still what this process opened. After a
// FLUSHALL or a restore it may be gone, and is put back; or be another's, which is
// followed, so that processes go on to find each other; or be divided in another
// way, and then nothing may be written any more: see foreign.
func (s *Store) follow(ctx context.Context) error {
	key := (layout{namespace: s.opts.Namespace}).meta()
	read := func() (map[string]string, error) { return s.client.HGetAll(ctx, key).Result() }
	meta, err := read()
	if err != nil {
		return err
	}
	was, buckets := s.identity(), strconv.Itoa(len(s.layout.tags))
	if len(meta) == 0 && was.id != "" {
		pipe := s.client.Pipeline()
		pipe.HSetNX(ctx, key, "layout", layoutVersion)
		pipe.HSetNX(ctx, key, "buckets", buckets)
		pipe.HSetNX(ctx, key, "id", was.id)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		s.log.Warn("the store's settings were gone from the server, and were put back: was it flushed?", "key", key)
		if meta, err = read(); err != nil {
			return err
		}
	}
	if meta["layout"] == "" || meta["buckets"] == "" || meta["id"] == "" {
		return nil // somebody is writing it
	}
	if n, err := strconv.Atoi(meta["layout"]); err == nil && n > layoutVersion {
		s.makeForeign(fmt.Errorf("%w: the data under %q was replaced; restart this process", session.ErrNewerLayout, s.opts.Namespace))
		return nil
	}
	if meta["layout"] != strconv.Itoa(layoutVersion) || meta["buckets"] != buckets {
		s.makeForeign(fmt.Errorf("%w: the data under %q was replaced, and is divided into %s buckets, not %s; restart this process",
			session.ErrUnsupported, s.opts.Namespace, meta["buckets"], buckets))
		return nil
	}
	if meta["id"] != was.id {
		s.setIdentity(meta["id"])
		s.log.Warn("the stored data was replaced; this process goes on with what is there now", "key", key)
	}
	return nil
}

// makeForeign ends what this process may do with data that it would write into
// the wrong places.
func (s *Store) makeForeign(err error) {
	if s.foreign.CompareAndSwap(nil, &err) {
		s.log.Error("nothing is read or written any more", "error", err.Error())
	}
}
