package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// Check reads every key of the namespace and compares sessions with their
// index: each session listed once, in its state and under its user; the counts
// right; whatever has work listed as due; no list without its session; all keys
// of a session expiring with it. It returns what it finds, joined. It is for
// tests and for peace of mind: run it while nothing changes, and not on a
// production server in a hurry, because it reads all of it.
func (s *Store) Check(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	c := &check{store: s, bots: map[string]*botCheck{}}
	if err := c.scan(ctx); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, b := range c.bots {
		if err := c.read(ctx, b); err != nil {
			return fmt.Errorf("check %s: %w", b.name, err)
		}
		c.compare(b)
	}
	return causes.Join(c.findings...)
}

type check struct {
	store    *Store
	mu       sync.Mutex
	bots     map[string]*botCheck // by bucket NUL bot
	findings []error
}

// botCheck is one bot's part of one bucket.
type botCheck struct {
	name     string
	at       place
	keys     map[string]map[string]bool // kind -> ids
	sessions map[string]*sessionCheck
	activity map[string]bool
	names    map[string]bool
	expiry   map[string]float64
	due      map[string]float64
	living   string
}

type sessionCheck struct {
	rec *stored.Record
	ttl map[string]time.Duration // kind -> until Redis itself drops it; negative: never
}

func (c *check) found(format string, args ...any) {
	c.findings = append(c.findings, fmt.Errorf(format, args...))
}

func (c *check) bot(bucket int, name string) *botCheck {
	key := strconv.Itoa(bucket) + "\x00" + name
	if c.bots[key] == nil {
		c.bots[key] = &botCheck{name: name, at: place{ref: session.Ref{Bot: name}, bucket: bucket}, keys: map[string]map[string]bool{}, sessions: map[string]*sessionCheck{}}
	}
	return c.bots[key]
}

// scan sorts the keys of all servers by bucket, bot and kind.
func (c *check) scan(ctx context.Context) error {
	buckets := map[string]int{}
	for i, tag := range c.store.layout.tags {
		buckets[tag] = i
	}
	return c.store.caller.EachServer(ctx, func(ctx context.Context, server call.Server) error {
		return server.Scan(ctx, c.store.layout.namespace+":{*", func(key string) {
			tag, rest, _ := strings.Cut(key, "}:")
			bucket, ok := buckets[tag+"}:"]
			kind, rest, _ := strings.Cut(rest, ":")
			c.mu.Lock()
			if !ok {
				c.found("%q is in no bucket of ours", key)
			} else if bot, id, perSession := strings.Cut(rest, "/"); perSession {
				b := c.bot(bucket, bot)
				if b.keys[kind] == nil {
					b.keys[kind] = map[string]bool{}
				}
				b.keys[kind][id] = true
				if want := c.store.layout.place(session.Ref{Bot: bot, ID: id}).bucket; want != bucket {
					c.found("%q is in bucket %d, and belongs into %d", key, bucket, want)
				}
			} else if rest != "" {
				c.bot(bucket, rest)
			}
			c.mu.Unlock()
		})
	})
}

func (c *check) read(ctx context.Context, b *botCheck) error {
	l, caller := c.store.layout, c.store.caller
	activity, names, living := call.ZRange(l.key("activity", b.at)), call.ZRange(l.key("names", b.at)), call.HGet(l.key("bots", b.at), b.name)
	expiry, due := call.Scores(l.key("expiry", b.at)), call.Scores(l.key("due", b.at))
	if err := caller.Do(ctx, activity, names, living, expiry, due); err != nil {
		return err
	}
	b.activity, b.names, b.living, b.expiry, b.due = setOf(activity.Val), setOf(names.Val), living.Val, expiry.Val, due.Val
	for id := range b.keys["s"] {
		at := place{ref: session.Ref{Bot: b.name, ID: id}, bucket: b.at.bucket}
		sc := &sessionCheck{ttl: map[string]time.Duration{}}
		hash := call.HGetAll(l.key("session", at))
		err := caller.Do(ctx, hash)
		if err == nil {
			var pairs []string
			for field, value := range hash.Val {
				pairs = append(pairs, field, value)
			}
			sc.rec, err = stored.ReadRecord(at.ref, pairs)
		}
		if err != nil {
			c.found("%s: %w", at.ref, err)
			continue
		}
		for kind, name := range map[string]string{"s": "session", "h": "history", "f": "file"} {
			if b.keys[kind][id] {
				ttl := call.PTTL(l.key(name, at))
				if err := caller.Do(ctx, ttl); err != nil {
					return err
				}
				sc.ttl[kind] = ttl.Val
			}
		}
		b.sessions[id] = sc
	}
	return nil
}

func setOf(members []string) map[string]bool {
	set := make(map[string]bool, len(members))
	for _, m := range members {
		set[m] = true
	}
	return set
}

func (c *check) compare(b *botCheck) {
	names, living := map[string]bool{}, 0
	for id, sc := range b.sessions {
		ref := session.Ref{Bot: b.name, ID: id}
		held, ended := sc.rec.Held(), sc.rec.Ended()
		work := held || b.keys["q"][id] || b.keys["o"][id]
		if _, due := b.due[id]; (work || ended) != due {
			c.found("%s is due: %t (held: %t, inbox: %t, outbox: %t, ended: %t)", ref, due, held, b.keys["q"][id], b.keys["o"][id], ended)
		}
		for kind, ttl := range sc.ttl {
			if gap := ttl - sc.ttl["s"]; (ttl < 0) != (sc.ttl["s"] < 0) || gap.Abs() > 10*time.Second {
				c.found("%s: Redis drops its key %q in %v, the hash in %v", ref, kind, ttl, sc.ttl["s"])
			}
		}
		if ended { // out of the index; its hash only carries the lease
			continue
		}
		living++
		names["s"+sc.rec.State()+"\x00"+id] = true
		if user := sc.rec.User(); user != "" {
			names["u"+user+"\x00"+id] = true
		}
		if !b.activity[id] {
			c.found("%s is not among the sessions by activity", ref)
		}
		exp := float64(sc.rec.Expires())
		if score, listed := b.expiry[id]; exp > 0 && (!listed || score > exp && !work) {
			c.found("%s expires at %.0f, and is listed for %.0f (listed: %t)", ref, exp, score, listed)
		}
	}
	for id := range b.activity {
		if b.sessions[id] == nil {
			c.found("%s is listed by activity and is not there", session.Ref{Bot: b.name, ID: id})
		}
	}
	for id := range b.expiry {
		if b.sessions[id] == nil {
			c.found("%s is listed by expiry and is not there", session.Ref{Bot: b.name, ID: id})
		}
	}
	for member := range names {
		if !b.names[member] {
			c.found("%s: %q is not among the names", b.name, member)
		}
	}
	for member := range b.names {
		if !names[member] {
			c.found("%s: %q is among the names and should not be", b.name, member)
		}
	}
	if living > 0 && b.living != strconv.Itoa(living) || living == 0 && b.living != "" {
		c.found("%s: %d sessions live, counted are %q", b.name, living, b.living)
	}
	for _, kind := range []string{"h", "f"} {
		for id := range b.keys[kind] {
			if !b.keys["s"][id] {
				c.found("%s: a key %q without its session", session.Ref{Bot: b.name, ID: id}, kind)
			}
		}
	}
	for _, kind := range []string{"q", "o"} {
		for id := range b.keys[kind] {
			if _, due := b.due[id]; !due {
				c.found("%s: a key %q and nobody is told to look", session.Ref{Bot: b.name, ID: id}, kind)
			}
		}
	}
}
