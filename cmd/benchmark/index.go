package main

import (
	"context"
	"errors"
	"regexp"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store"
)

// An indexed is what many sessions take on a server that has nothing else:
// their own keys, and what is left when these are deleted. The index by state
// and activity is that of sessions that have no user and never expire.
type indexed struct {
	Sessions int     `json:"sessions"`
	Index    float64 `json:"index_bytes"`       // a session, by state and activity
	All      float64 `json:"whole_index_bytes"` // of sessions that have a user and expire
	Own      float64 `json:"own_bytes"`         // of their own keys
	Error    string  `json:"error,omitempty"`
}

// sessionID is what the ids of these sessions look like, as a platform's numbers
// do. A key with an id in its name is a session's own; all others are the index.
var sessionID = regexp.MustCompile(`1[0-9]{8}`)

func (b *bench) index(ctx context.Context) (*indexed, error) {
	i := &indexed{Sessions: b.config.index}
	var err error
	if i.Index, _, err = b.fillIndex(ctx, store.BotOptions{TTL: -1}, false); err == nil {
		i.All, i.Own, err = b.fillIndex(ctx, store.BotOptions{}, true)
	}
	if err != nil {
		i.Error = err.Error()
	}
	b.say("")
	return i, ctx.Err()
}

// fillIndex returns the bytes of the index and of the own keys, a session.
func (b *bench) fillIndex(ctx context.Context, opts store.BotOptions, withUser bool) (index, own float64, err error) {
	opts.Initial, opts.RecordOnly = states[0], true
	s, err := startServer(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	inner := newBench(s, b.data, b.config, b.progress)
	e := inner.env()
	// Once without sessions: for the connections, whose memory the server keeps.
	if err := createAll(ctx, e, opts, withUser, nil); err != nil {
		return 0, 0, err
	}
	before, err := inner.settled(ctx)
	if err != nil {
		return 0, 0, err
	}
	const most = 100_000
	for first := 0; first < b.config.index; first += most {
		b.say("index, %d of %d sessions", first, b.config.index)
		users := make([]string, min(most, b.config.index-first))
		for n := range users {
			users[n] = strconv.Itoa(100_000_000 + first + n)
		}
		if err := createAll(ctx, e, opts, withUser, users); err != nil {
			return 0, 0, err
		}
	}
	b.say("index, waiting for what expires soon")
	if err := inner.expired(ctx, e.prefix); err != nil {
		return 0, 0, err
	}
	full, err := inner.settled(ctx)
	if err != nil {
		return 0, 0, err
	}
	b.say("index, deleting the sessions' own keys")
	keys, err := s.deleteOwn(ctx)
	if err != nil {
		return 0, 0, err
	}
	if keys < b.config.index {
		return 0, 0, errors.New("fewer keys have a session's id in their name than there are sessions")
	}
	rest, err := inner.settled(ctx)
	if err != nil {
		return 0, 0, err
	}
	each := func(bytes int64) float64 { return float64(bytes) / float64(b.config.index) }
	return each(rest - before), each(full - rest), nil
}

// createAll makes sessions with a store that is closed afterwards.
func createAll(ctx context.Context, e env, opts store.BotOptions, withUser bool, users []string) error {
	st, err := store.Open(ctx, e.url, &store.Options{Namespace: e.prefix})
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := st.Bot(ctx, oursBot, &opts)
	if err != nil {
		return err
	}
	return inParallel(ctx, users, func(ctx context.Context, user string) error {
		from := store.Origin{Platform: "web"}
		if withUser {
			from.User = user
		}
		_, err := bot.Session(user).Create(ctx, from)
		return err
	})
}

// deleteOwn deletes every key with a session's id in its name, and returns how
// many there were.
func (s *server) deleteOwn(ctx context.Context) (deleted int, err error) {
	for cursor := uint64(0); ; {
		keys, next, err := s.control.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			return deleted, err
		}
		var own []string
		for _, key := range keys {
			if sessionID.MatchString(key) {
				own = append(own, key)
			}
		}
		_, err = s.control.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range own {
				pipe.Del(ctx, key)
			}
			return nil
		})
		if err != nil {
			return deleted, err
		}
		deleted += len(own)
		if cursor = next; cursor == 0 {
			return deleted, nil
		}
	}
}
