package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// meta checks the key of the store's settings.
func (c *checker) meta(ctx context.Context) error {
	err := c.look(ctx, func(ctx context.Context) ([]Finding, error) {
		buckets, id, err := c.store.meta(ctx)
		var corrupt *session.CorruptError
		switch {
		case call.WrongType(err):
		case errors.As(err, &corrupt):
			return []Finding{c.finding("meta", place{}, "the store's settings cannot be read: %s", because(err))}, nil
		case err == nil && id == "" && c.store.identity().id != "":
			return []Finding{c.finding("meta", place{}, "the store's settings are gone, or some of them")}, nil
		case err == nil && id != "" && buckets != len(c.store.layout.tags):
			err = fmt.Errorf("%w: the data is divided into %d buckets, not %d", session.ErrUnsupported, buckets, len(c.store.layout.tags))
		}
		return nil, err
	})
	return c.goOn(ctx, err)
}

// settle notes which bots have settings.
func (c *checker) settle(ctx context.Context) error {
	names := call.HKeys(c.store.layout.settings())
	err := c.store.read(ctx, names)
	if err != nil {
		c.settled = nil
	}
	for _, name := range names.Val {
		c.settled[name] = true
	}
	return c.goOn(ctx, err)
}

// hasSettings reports whether a bot has settings, or it is not known.
func (c *checker) hasSettings(ctx context.Context, bot string) bool {
	if has, known := c.settled[bot]; known || c.settled == nil {
		return has || c.settled == nil
	}
	text := call.HGet(c.store.layout.settings(), bot) // since settle asked
	if err := c.store.read(ctx, text); err != nil {
		c.settled = nil
		_ = c.goOn(ctx, err)
		return true
	}
	c.settled[bot] = text.Val != ""
	return c.settled[bot]
}

// goOn notes why something could not be read, if the check goes on without it; else
// it returns that.
func (c *checker) goOn(ctx context.Context, err error) error {
	switch {
	case err == nil, call.WrongType(err): // which keys finds
		return nil
	case errors.Is(err, errStop), unreadable(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.fault == nil:
		c.fault = err
	}
	return nil
}

// whole checks what is in a key that is not a session's.
func (c *checker) whole(ctx context.Context, name string, at place) error {
	switch name {
	case "expiry", "due":
		if err := c.look(ctx, func(ctx context.Context) ([]Finding, error) { return c.rings(ctx, name, at) }); err != nil {
			return err
		}
		return c.pages(ctx, name, at, c.listed)
	case "dead", "waits":
		return c.pages(ctx, name, at, c.listed)
	case "bells":
		return c.pages(ctx, name, at, c.bells)
	case "index":
		if err := c.look(ctx, func(ctx context.Context) ([]Finding, error) { return c.count(ctx, at, at.ref.Bot) }); err != nil {
			return err
		}
		return c.pages(ctx, name, at, c.listed)
	case "users":
		return c.pages(ctx, name, at, c.ofUsers)
	case "replicas":
		return c.fields(ctx, name, at, c.present)
	case "moves":
		return c.fields(ctx, name, at, c.moved)
	case "bots":
		return c.fields(ctx, name, at, c.counted)
	case "settings":
		return c.fields(ctx, name, at, c.set)
	}
	return nil
}

// pages goes through a sorted set. Of what see cannot find the session it is checked
// what else is left of that.
func (c *checker) pages(ctx context.Context, name string, at place, see func(context.Context, string, place, []call.Member) ([]Finding, []place, error)) error {
	for from := int64(0); ; from += pageSize {
		var page []call.Member
		var gone []place
		err := c.look(ctx, func(ctx context.Context) (found []Finding, err error) {
			read := call.Ranked(c.store.layout.key(name, at), from, from+pageSize-1)
			if err = c.store.read(ctx, read); err == nil {
				page = read.Val
				found, gone, err = see(ctx, name, at, page)
			}
			return found, err
		})
		if err != nil {
			return err
		}
		for _, at := range gone {
			if err := c.session(ctx, at); err != nil {
				return err
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
}

// fields goes through a hash.
func (c *checker) fields(ctx context.Context, name string, at place, see func(ctx context.Context, at place, field, value string) ([]Finding, error)) error {
	for from := uint64(0); ; {
		var next uint64
		err := c.look(ctx, func(ctx context.Context) (found []Finding, err error) {
			read := call.HScan(c.store.layout.key(name, at), from, pageSize)
			if err := c.store.read(ctx, read); err != nil {
				return nil, err
			}
			next = read.Val.Next
			for i := 0; i+1 < len(read.Val.Pairs); i += 2 {
				some, err := see(ctx, at, read.Val.Pairs[i], read.Val.Pairs[i+1])
				if err != nil {
					return nil, err
				}
				found = append(found, some...)
			}
			return found, nil
		})
		if err != nil || next == 0 {
			return err
		}
		from = next
	}
}

// here says which session an entry of a list of sessions is of, or what is wrong with
// that.
func (c *checker) here(name string, at place, id string) (place, []Finding) {
	of := place{session.Ref{Bot: at.ref.Bot, ID: id}, at.bucket}
	if of.ref.Validate() != nil {
		return of, []Finding{c.finding(name, at, "the key %s lists %.40q, and no session can have this id", name, id)}
	}
	if want := c.store.layout.place(of.ref); want != of {
		return of, []Finding{c.finding(name, of, "the key %s of bucket %d lists it, and it belongs in bucket %d", name, at.bucket, want.bucket)}
	}
	return of, nil
}

// listed checks the entries of a list of sessions. Those of them that are there are
// checked by their hash.
func (c *checker) listed(ctx context.Context, name string, at place, page []call.Member) (found []Finding, gone []place, err error) {
	var places []place
	var hashes []*call.Value[string]
	var commands []call.Command
	for _, entry := range page {
		of, wrong := c.here(name, at, entry.Name)
		if found = append(found, wrong...); len(wrong) == 0 {
			hash := call.Type(c.store.layout.key("session", of))
			places, hashes, commands = append(places, of), append(hashes, hash), append(commands, hash)
		}
	}
	if err := c.store.read(ctx, commands...); err != nil {
		return nil, nil, err
	}
	for i, hash := range hashes {
		if hash.Val == "none" {
			gone = append(gone, places[i])
		}
	}
	return found, gone, nil
}

// rings checks that a bell of the bucket rings for a list of a bot in time.
func (c *checker) rings(ctx context.Context, name string, at place) ([]Finding, error) {
	kind := bellDue
	if name == "expiry" {
		kind = bellExpiry
	}
	bell, list := call.ZScore(c.store.layout.key("bells", at), kind+at.ref.Bot), call.Ranked(c.store.layout.key(name, at), 0, 0)
	if err := c.store.read(ctx, bell, list); err != nil || len(list.Val) == 0 {
		return nil, err
	}
	due := max(int64(list.Val[0].Score), c.store.caller.Clock.At(at.bucket, time.Now()))
	switch rings := int64(bell.Val); {
	case rings == 0:
		return []Finding{c.finding("bells", at, "no bell rings for the key %s of the bot: nobody looks at it", name)}, nil
	case rings > due+2*slack.Milliseconds(): // one that nobody hears is put off for ten seconds
		return []Finding{c.finding("bells", at, "the bell for the key %s of the bot rings at %s, later than it should", name, moment(rings))}, nil
	}
	return nil, nil
}

// bells checks the entries of a bucket's bells.
func (c *checker) bells(ctx context.Context, name string, at place, page []call.Member) (found []Finding, gone []place, err error) {
	byBot := map[string][]call.Member{}
	for _, entry := range page {
		kind, bot, id := splitBell(entry.Name)
		if kind == "" {
			found = append(found, c.finding(name, at, "the bells have the entry %.40q, which is of no kind", entry.Name))
		} else if kind == bellHanded {
			byBot[bot] = append(byBot[bot], call.Member{Name: id, Score: entry.Score})
		}
	}
	for _, bot := range slices.Sorted(maps.Keys(byBot)) {
		some, left, err := c.listed(ctx, name, place{session.Ref{Bot: bot}, at.bucket}, byBot[bot])
		if err != nil {
			return nil, nil, err
		}
		found, gone = append(found, some...), append(gone, left...)
	}
	return found, gone, nil
}

// ofUsers checks the entries by user.
func (c *checker) ofUsers(ctx context.Context, name string, at place, page []call.Member) (found []Finding, _ []place, err error) {
	type entry struct {
		at     place
		user   string
		fields *call.Value[[]any]
	}
	var entries []entry
	var commands []call.Command
	for _, m := range page {
		user, id, split := strings.Cut(m.Name, "\x00")
		if !split || user == "" {
			found = append(found, c.finding(name, at, "the key users has the entry %.40q, which is of no user", m.Name))
			continue
		}
		of, wrong := c.here(name, at, id)
		if len(wrong) == 0 && m.Score != 0 {
			wrong = []Finding{c.finding(name, of, "the key users lists it with a score other than 0")}
		}
		if found = append(found, wrong...); len(wrong) > 0 {
			continue
		}
		fields := call.HMGet(c.store.layout.key("session", of), []string{stored.FieldUser, stored.FieldState, stored.FieldRecord})
		entries, commands = append(entries, entry{of, user, fields}), append(commands, fields)
	}
	_ = c.store.read(ctx, commands...) // each has its own error
	for _, e := range entries {
		switch err := e.fields.Err; {
		case call.WrongType(err): // which keys finds
			continue
		case err != nil:
			return nil, nil, err
		}
		user, _ := e.fields.Val[0].(string)
		_, hasState := e.fields.Val[1].(string)
		_, hasHead := e.fields.Val[2].(string)
		switch {
		case !hasState && !hasHead:
			found = append(found, c.gone(e.at))
		case !hasState: // the hash is found to be damaged
		case e.user != user:
			found = append(found, c.finding(name, e.at, "the key users lists it under another user than its own"))
		}
	}
	return found, nil, nil
}

// count compares how many sessions a bucket counts of a bot with how many it lists.
func (c *checker) count(ctx context.Context, at place, bot string) ([]Finding, error) {
	at.ref = session.Ref{Bot: bot}
	l := c.store.layout
	counted, listed := call.HGet(l.key("bots", at), bot), call.ZCard(l.key("index", at))
	_ = c.store.read(ctx, counted, listed) // each has its own error
	for _, err := range []error{counted.Err, listed.Err} {
		if err != nil && !call.WrongType(err) {
			return nil, err
		}
	}
	if cmp.Or(counted.Err, listed.Err) != nil { // which keys finds
		return nil, nil
	}
	if n := listed.Val; counted.Val == strconv.FormatInt(n, 10) && n > 0 || counted.Val == "" && n == 0 {
		return nil, nil
	}
	if _, err := strconv.ParseInt(cmp.Or(counted.Val, "0"), 10, 64); err != nil {
		return []Finding{c.finding("bots", at, "the count of its sessions is no number")}, nil
	}
	return []Finding{c.finding("bots", at, "%s sessions are counted, and the index lists %d", cmp.Or(counted.Val, "no"), listed.Val)}, nil
}

// counted checks a field of the hash that counts a bucket's sessions.
func (c *checker) counted(ctx context.Context, at place, bot, _ string) ([]Finding, error) {
	if session.ValidBot(bot) != nil {
		return []Finding{c.finding("bots", at, "sessions of %.40q are counted, and no bot can have this name", bot)}, nil
	}
	return c.count(ctx, at, bot)
}

// moved checks a counter of moves.
func (c *checker) moved(_ context.Context, at place, pair, count string) ([]Finding, error) {
	from, to, split := strings.Cut(pair, "\x00")
	n, err := strconv.ParseInt(count, 10, 64)
	if !split || (from != "" || to != "") && (session.ValidState(from) != nil || session.ValidState(to) != nil) {
		return []Finding{c.finding("moves", at, "moves are counted under %.40q, which is no pair of states", pair)}, nil
	}
	if err != nil || n < 1 {
		return []Finding{c.finding("moves", at, "the count of the moves from %q to %q is no number from 1", from, to)}, nil
	}
	return nil, nil
}

// set checks the settings of a bot.
func (c *checker) set(_ context.Context, at place, bot, text string) ([]Finding, error) {
	if session.ValidBot(bot) != nil {
		return []Finding{c.finding("settings", at, "settings are stored for %.40q, and no bot can have this name", bot)}, nil
	}
	at.ref.Bot = bot
	if _, err := readSettings(text); err != nil {
		return []Finding{c.finding("settings", at, "its settings cannot be read: %s", because(err))}, nil
	}
	return nil, nil
}

// present checks the line of a replica.
func (c *checker) present(_ context.Context, at place, name, line string) ([]Finding, error) {
	latest := c.store.caller.Clock.Now(at.bucket).Add(3*longestBeat + slack).UnixMilli()
	p, err := readPresence(name, line)
	switch {
	case name == "" || strings.ContainsAny(name, "#\x00 \t\n\v\f\r"):
		return []Finding{c.finding("replicas", at, "the replicas have the name %.40q, and none can have it", name)}, nil
	case err != nil:
		return []Finding{c.finding("replicas", at, "the line of the replica %q cannot be read: %s", name, because(err))}, nil
	case p.until > latest:
		return []Finding{c.finding("replicas", at, "the replica %q is taken to be alive for longer than one that is", name)}, nil
	}
	return nil, nil
}
