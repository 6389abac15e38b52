package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
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

// meta reads what the key of the store's settings holds, in one command: the
// number of buckets and the id. Both are zero if nothing is stored yet, the id
// alone if it is being written: layout comes first, and id last.
func (s *Store) meta(ctx context.Context) (buckets int, id string, err error) {
	key := (layout{namespace: s.opts.Namespace}).meta()
	meta := call.HGetAll(key)
	err = s.caller.Do(ctx, meta)
	if call.WrongType(err) {
		return 0, "", &session.CorruptError{Field: key, Reason: err}
	}
	fields := meta.Val
	if err != nil || len(fields) == 0 {
		return 0, "", err
	}
	if fields["layout"] == "" {
		return 0, "", &session.CorruptError{Field: key, Reason: errors.New("it has no layout: the data under it is of something else, or damaged")}
	}
	version, err := strconv.ParseInt(fields["layout"], 10, 64)
	if err != nil || version < 1 {
		return 0, "", &session.CorruptError{Field: key + " layout", Reason: errors.New("it is no number from 1")}
	}
	if err := stored.OtherLayout(version, layoutVersion); err != nil {
		return 0, "", fmt.Errorf("%s: %w", key, err)
	}
	if fields["buckets"] == "" && fields["id"] == "" {
		return 0, "", nil
	}
	buckets, err = strconv.Atoi(fields["buckets"])
	if err != nil || buckets < 1 || buckets > maxBuckets {
		return 0, "", &session.CorruptError{Field: key + " buckets", Reason: fmt.Errorf("it is no number from 1 to %d", maxBuckets)}
	}
	return buckets, fields["id"], nil
}

// putMeta writes what is missing of the settings, and returns what stands there
// then: of several who do so at once, one wins.
func (s *Store) putMeta(ctx context.Context, buckets int, id string) (int, string, error) {
	key := (layout{namespace: s.opts.Namespace}).meta()
	if err := s.caller.Do(ctx, call.HSetNX(key, "layout", layoutVersion), call.HSetNX(key, "buckets", buckets), call.HSetNX(key, "id", id)); err != nil {
		return 0, "", err
	}
	return s.meta(ctx)
}

// followEvery is how often a process looks at the identity of the stored data at
// most, however many bots it serves.
const followEvery = 900 * time.Millisecond

// followAtTimes does what follow does, unless this process has just done so.
func (s *Store) followAtTimes(ctx context.Context) error {
	last, now := s.followed.Load(), time.Now().UnixNano()
	if now-last < int64(followEvery) || !s.followed.CompareAndSwap(last, now) {
		return s.usable()
	}
	return s.follow(ctx)
}

// follow looks whether the stored data is still what this process opened. After a
// FLUSHALL or a restore its settings may be gone, and are put back; or be of other
// data, which is followed, so that processes go on to find each other; or that may
// be divided in another way, and then nothing may be read or written any more.
func (s *Store) follow(ctx context.Context) error {
	key, was, known := (layout{namespace: s.opts.Namespace}).meta(), s.identity().id, len(s.layout.tags)
	buckets, id, err := s.meta(ctx)
	if err == nil && id == "" && was != "" {
		if buckets, id, err = s.putMeta(ctx, known, was); err == nil {
			s.log.Warn("the store's settings were gone from the server, and were put back: was it flushed?", "key", key)
		}
	}
	if err == nil && buckets != known && buckets != 0 {
		err = fmt.Errorf("%w: it is divided into %d buckets, not %d", session.ErrUnsupported, buckets, known)
	}
	switch {
	case errors.Is(err, session.ErrUnsupported), errors.Is(err, session.ErrNewerLayout), errors.Is(err, session.ErrCorrupt):
		err = fmt.Errorf("the data under %q was replaced, restart this process: %w", s.opts.Namespace, err)
		if s.endWith(err) {
			s.log.Error("nothing is read or written any more", "error", err.Error())
		}
	case err != nil:
		return err
	case id != was && id != "":
		s.setIdentity(id)
		s.log.Warn("the stored data was replaced; this process goes on with what is there now", "key", key)
	}
	return s.usable()
}
