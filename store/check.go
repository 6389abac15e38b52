package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// A Finding is one thing that is wrong in what is stored.
type Finding struct {
	Ref  session.Ref // Ref names the session. Its ID is empty if the key belongs to a whole bot, and its Bot too if it belongs to none.
	Key  string      // Key is the Redis key that is wrong.
	Text string      // Text says in one sentence what is wrong with it. It has no content of a session.
}

// String returns the Finding in one line.
func (f Finding) String() string {
	whose := ""
	switch {
	case f.Ref.ID != "":
		whose = f.Ref.String() + ": "
	case f.Ref.Bot != "":
		whose = f.Ref.Bot + ": "
	}
	return fmt.Sprintf("%s%s (key %q)", whose, f.Text, f.Key)
}

// Check is a loop over what is wrong in the stored data: keys that this
// version does not know, of another type or in the wrong bucket; keys that
// Redis would delete too early, or never; sessions, lists and settings that
// cannot be read; and what does not fit together, such as a session that is
// missing in an index, an index entry without a session, work of which no
// replica is told, or a wrong count. It calls the keys as layout.go does. If
// it yields nothing, all is well.
//
// An error is never about the data: it says that something could not be read,
// as when a server of a cluster is down. It is the last item, after everything
// that could be checked.
//
// Check writes nothing, and works with [Options.ReadOnly]. It reads all data
// under the namespace, a little at a time, and so takes long where there is
// much. The bots may be served meanwhile: Check looks twice before it reports,
// so a change between two reads is not taken for damage.
func (s *Store) Check(ctx context.Context) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		c := &checker{store: s, yield: yield, seed: maphash.MakeSeed(), told: map[uint64]struct{}{}, settled: map[string]bool{}}
		err := c.run(ctx)
		if err != nil && !errors.Is(err, errStop) {
			yield(Finding{}, fmt.Errorf("check: %w", call.NoRight(err)))
		}
	}
}

// errStop ends a check whose reader has stopped.
var errStop = errors.New("the reader has stopped")

// A checker goes through the keys as SCAN returns them, which is in no order. It
// checks each by itself and with what it leads to: the index by the session, the
// session by the index. So it holds no more than a page of keys, of an index, or of
// a session's list, and hashes of what it found.
type checker struct {
	store   *Store
	yield   func(Finding, error) bool
	seed    maphash.Seed
	told    map[uint64]struct{} // told holds the hashes of the findings that were handed out
	settled map[string]bool     // settled is whether a bot has settings; nil if those cannot be read
	fault   error               // fault is the first reason why something could not be read
}

// The most that is read at once: keys of a scan, and elements of a session's lists.
const (
	keysAtOnce     = 1000
	elementsAtOnce = 50
)

// run checks what those servers have that can be asked, and returns why others cannot.
func (c *checker) run(ctx context.Context) error {
	if err := c.store.usable(); err != nil {
		return err
	}
	for _, first := range []func(context.Context) error{c.reach, c.meta, c.settle} {
		if err := first(ctx); err != nil {
			return err
		}
	}
	servers, err := c.servers(ctx)
	if err != nil {
		return err
	}
	failed, why := 0, error(nil)
	for _, server := range servers {
		switch err := c.scan(ctx, server); {
		case errors.Is(err, errStop):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			failed, why = failed+1, cmp.Or(why, err)
		}
	}
	if failed > 0 && failed < len(servers) {
		why = fmt.Errorf("partial: %d of %d servers cannot be read to the end: %w", failed, len(servers), c.store.caller.Blame(why))
	}
	return cmp.Or(c.fault, why)
}

// reach asks for a key of each bucket: of a server that is down, or of slots that no
// server has, no scan would tell. If none can be asked it returns why.
func (c *checker) reach(ctx context.Context) error {
	types := make([]*call.Value[string], len(c.store.layout.tags))
	commands := make([]call.Command, len(types))
	for bucket := range types {
		types[bucket] = call.Type(c.store.layout.key("bots", place{bucket: bucket}))
		commands[bucket] = types[bucket]
	}
	_ = c.store.read(ctx, commands...) // each has its own error
	failed, why := 0, error(nil)
	for _, t := range types {
		if t.Err != nil {
			failed, why = failed+1, cmp.Or(why, t.Err)
		}
	}
	c.fault = c.store.partly(failed, why)
	if failed == len(types) {
		return c.fault
	}
	return nil
}

// servers returns those that may have keys, in the order of their addresses.
func (c *checker) servers(ctx context.Context) (all []call.Server, err error) {
	var mu sync.Mutex
	err = c.store.caller.EachServer(ctx, func(_ context.Context, server call.Server) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, server)
		return nil
	})
	slices.SortFunc(all, func(a, b call.Server) int { return cmp.Compare(a.Addr, b.Addr) })
	return all, err
}

// scan checks what one server has.
func (c *checker) scan(ctx context.Context, server call.Server) error {
	for keys, err := range server.Scan(ctx, c.store.layout.namespace+":*", keysAtOnce) {
		if err == nil && len(keys) > 0 {
			slices.Sort(keys) // a scan may show a key twice
			err = c.page(ctx, slices.Compact(keys))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// page checks some keys and what they lead to.
func (c *checker) page(ctx context.Context, keys []string) error {
	if err := c.look(ctx, func(ctx context.Context) ([]Finding, error) { return c.keys(ctx, keys) }); err != nil {
		return err
	}
	layout := c.store.layout
	var sessions []place // whose hash is there, or gone while something else is not
	hashes := map[place]*call.Value[string]{}
	var asked []call.Command
	for _, key := range keys {
		name, at, known := layout.parse(key)
		switch {
		case !known || forms[name].of != ofSession || layout.place(at.ref) != at:
		case name == "session":
			sessions = append(sessions, at)
		case hashes[at] == nil:
			hashes[at] = call.Type(layout.key("session", at))
			asked = append(asked, hashes[at])
		}
	}
	if err := c.store.read(ctx, asked...); err != nil {
		return err
	}
	for at, hash := range hashes {
		if hash.Val == "none" {
			sessions = append(sessions, at)
		}
	}
	for _, at := range sessions {
		if err := c.session(ctx, at); err != nil {
			return err
		}
	}
	for _, key := range keys {
		if name, at, known := layout.parse(key); known {
			if err := c.whole(ctx, name, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// keys says which keys are not what the layout has.
func (c *checker) keys(ctx context.Context, keys []string) (found []Finding, err error) {
	layout := c.store.layout
	types, lives := make([]*call.Value[string], len(keys)), make([]*call.Value[time.Duration], len(keys))
	var commands []call.Command
	for i, key := range keys {
		types[i], lives[i] = call.Type(key), call.PTTL(key)
		commands = append(commands, types[i], lives[i])
	}
	if err := c.store.read(ctx, commands...); err != nil {
		return nil, err
	}
	for i, key := range keys {
		name, at, known := layout.parse(key)
		form := forms[name]
		switch typ, expires := types[i].Val, lives[i].Val >= 0; {
		case typ == "none":
			continue
		case !known:
			found = append(found, Finding{Key: key, Text: "this version has no such key"})
			continue
		case form.of == ofSession && layout.place(at.ref) != at:
			found = append(found, c.finding(name, at, "its %s is in bucket %d, and belongs in bucket %d", name, at.bucket, layout.place(at.ref).bucket))
		case typ != form.typ:
			found = append(found, c.finding(name, at, "the key %s is a %s, not a %s", name, typ, form.typ))
		case form.life == stays && expires:
			found = append(found, c.finding(name, at, "the key %s has an expiry: Redis would drop it", name))
		case form.life == ends && lives[i].Val == -1:
			found = append(found, c.finding(name, at, "the key %s has no expiry: it would stay for ever", name))
		}
		if at.ref.Bot != "" && !c.hasSettings(ctx, at.ref.Bot) {
			found = append(found, c.finding("settings", place{ref: session.Ref{Bot: at.ref.Bot}}, "the bot has no settings, and something of it is stored"))
		}
	}
	return found, nil
}

// looks is how often the same must be found in a row.
const looks = 3

// look hands out what see finds. What is not found each time it changed meanwhile.
func (c *checker) look(ctx context.Context, see func(context.Context) ([]Finding, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	found, err := see(ctx)
	for n := 1; n < looks && err == nil && len(found) > 0; n++ {
		var more []Finding
		more, err = see(ctx)
		again := make(map[Finding]bool, len(more))
		for _, f := range more {
			again[f] = true
		}
		found = slices.DeleteFunc(found, func(f Finding) bool { return !again[f] })
	}
	if call.WrongType(err) { // which keys finds
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range found {
		hash := maphash.Comparable(c.seed, f)
		if _, told := c.told[hash]; told {
			continue
		}
		c.told[hash] = struct{}{}
		if !c.yield(f, nil) {
			return errStop
		}
	}
	return nil
}

// finding says what is wrong with the key that is called name.
func (c *checker) finding(name string, at place, format string, args ...any) Finding {
	return Finding{Ref: at.ref, Key: c.store.layout.key(name, at), Text: fmt.Sprintf(format, args...)}
}

// because returns why something cannot be read, without saying again that it cannot.
func because(err error) string {
	var of *session.CorruptError
	if errors.As(err, &of) {
		err = of.Reason
	}
	return strings.TrimPrefix(err.Error(), session.ErrCorrupt.Error()+": ")
}
