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
// their own keys, and what is left when these are deleted.
type indexed struct {
	Sessions int     `json:"sessions"`
	Keys     int     `json:"own_keys"` // of all sessions
	Own      float64 `json:"own_bytes"`
	Index    float64 `json:"index_bytes"` // a session
	Error    string  `json:"error,omitempty"`
}

// sessionID is what the ids of these sessions look like, as a platform's numbers
// do. A key with an id in its name is a session's own; all others are the index.
var sessionID = regexp.MustCompile(`1[0-9]{8}`)

func (b *bench) index(ctx context.Context) (*indexed, error) {
	i := &indexed{Sessions: b.config.index}
	if err := b.fillIndex(ctx, i); err != nil {
		i.Error = err.Error()
	}
	b.say("")
	return i, ctx.Err()
}

func (b *bench) fillIndex(ctx context.Context, i *indexed) (err error) {
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	inner := newBench(s, b.data, b.config, b.progress)
	e := inner.env()
	// Once without sessions: for the connections, whose memory the server keeps.
	if err := createAll(ctx, e, nil); err != nil {
		return err
	}
	before, err := inner.settled(ctx)
	if err != nil {
		return err
	}
	const most = 100_000
	for first := 0; first < i.Sessions; first += most {
		b.say("index, %d of %d sessions", first, i.Sessions)
		users := make([]string, min(most, i.Sessions-first))
		for n := range users {
			users[n] = strconv.Itoa(100_000_000 + first + n)
		}
		if err := createAll(ctx, e, users); err != nil {
			return err
		}
	}
	b.say("index, waiting for what expires soon")
	if err := inner.expired(ctx, e.prefix); err != nil {
		return err
	}
	full, err := inner.settled(ctx)
	if err != nil {
		return err
	}
	b.say("index, deleting the sessions' own keys")
	if i.Keys, err = s.deleteOwn(ctx); err != nil {
		return err
	}
	if i.Keys < i.Sessions {
		return errors.New("fewer keys have a session's id in their name than there are sessions")
	}
	rest, err := inner.settled(ctx)
	if err != nil {
		return err
	}
	i.Index = float64(rest-before) / float64(i.Sessions)
	i.Own = float64(full-rest) / float64(i.Sessions)
	return nil
}

// createAll makes sessions with a store that is closed afterwards.
func createAll(ctx context.Context, e env, users []string) error {
	st, err := store.Open(ctx, e.url, &store.Options{Namespace: e.prefix})
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := st.Bot(ctx, oursBot, &store.BotOptions{Initial: states[0], RecordOnly: true})
	if err != nil {
		return err
	}
	return inParallel(ctx, users, func(ctx context.Context, user string) error {
		_, err := bot.Session(user).Create(ctx, store.Origin{Platform: "web", User: user})
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
