package store

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
)

// bots are those that this process uses, and when it last asked for their settings.
type bots struct {
	mu     sync.Mutex
	byName map[string]*Bot

	age    time.Duration // of a copy that may be used; settingsAge, but in tests
	turn   chan struct{} // one place, for who asks
	asked  atomic.Int64  // when the server was last asked, in ns, whether it replied or not
	unsure atomic.Bool   // that was after a long rest, and it has not replied yet
}

func newBots() bots {
	return bots{byName: map[string]*Bot{}, age: settingsAge, turn: make(chan struct{}, 1)}
}

const (
	// settingsAge is how old a copy of the settings may be when it is used.
	settingsAge = 5 * time.Second
	// settingsWait is how long a caller waits for a newer one: with a server that
	// does not reply it goes on with what it has.
	settingsWait = time.Second
	// settingsRest is how long a process may ask for nothing and still know better
	// than a server that has lost something.
	settingsRest = time.Minute
)

func (all *bots) since() time.Duration {
	return time.Duration(time.Now().UnixNano() - all.asked.Load())
}

// old reports whether what this process knows is too old to be used.
func (all *bots) old() bool { return all.since() > all.age }

// sure reports whether this process has followed the settings until now. One that
// rested does not know what has become of them meanwhile, until a server replies.
func (all *bots) sure() bool { return !all.unsure.Load() && all.since() < settingsRest }

// options returns what this process knows of the settings: one copy, for one turn.
func (b *Bot) options() *BotOptions { return &b.kept.Load().Options }

// current is options with a copy that is not too old. While the process serves the
// bot, settles sees to that; else the server is asked, at most once in a while and
// for all bots. One that does not reply stops nothing.
func (b *Bot) current(ctx context.Context) *BotOptions {
	if r := b.serving.Load(); (r == nil || r.isStopping()) && b.store.bots.old() {
		if err := b.store.askSettings(ctx, settingsWait); err != nil {
			b.store.log.InfoContext(ctx, "settings not read: this process goes on with those it knows", "bot", b.name, "error", err)
		}
	}
	return b.options()
}

// settles asks for the settings while the process serves. It returns why it can
// no longer serve, or nil when ctx ends.
func (r *runner) settles(ctx context.Context) error {
	b := r.bot
	for call.Sleep(ctx, 400*time.Millisecond+b.store.caller.Jitter(200*time.Millisecond, "settings "+b.name)) {
		if b.store.bots.old() {
			r.complain(ctx, "settings not read", b.store.askSettings(ctx, settingsAge/2))
		}
		if opts := b.options(); r.serve.Send == nil && !opts.RecordOnly {
			return opts.fits(r.serve)
		}
	}
	return nil
}

// askSettings reads the settings of all bots that this process uses, in one
// command, unless somebody has just done so. It waits so long at most.
func (s *Store) askSettings(ctx context.Context, wait time.Duration) error {
	ask, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case s.bots.turn <- struct{}{}:
		defer func() { <-s.bots.turn }()
	case <-ask.Done():
		return context.Cause(ask)
	}
	if !s.bots.old() {
		return nil
	}
	if err := s.usable(); err != nil {
		return err
	}
	sure := s.bots.sure()
	s.bots.unsure.Store(!sure)
	last := s.bots.asked.Swap(time.Now().UnixNano())
	err := s.agreeOnAll(ask, sure)
	if err != nil && ctx.Err() != nil { // it was the caller who gave up: the next one asks
		s.bots.asked.Store(last)
	}
	return err
}

func (s *Store) agreeOnAll(ctx context.Context, sure bool) error {
	s.bots.mu.Lock()
	used := maps.Clone(s.bots.byName)
	s.bots.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(used))
	knew := make([]*settings, len(names))
	for i, name := range names {
		knew[i] = used[name].kept.Load()
	}
	read := call.HMGet(s.layout.settings(), names)
	if err := s.caller.Do(ctx, read); err != nil {
		return s.noSettings(err)
	}
	var faults []error
	for i, name := range names {
		text, _ := read.Val[i].(string)
		if _, err := used[name].agree(ctx, knew[i], text, sure); err != nil {
			faults = append(faults, err)
		}
	}
	s.bots.unsure.Store(false)
	return causes.Join(faults...)
}

// agree compares the text that the server has of the bot's settings, empty for none,
// with what this process knew before it read that, and goes by what counts. Where
// the server has lost that, it puts it back: in the place of nothing, or, if this
// process is sure of what it knows, of what that outranks. It returns what is on the
// server then, nil for nothing.
func (b *Bot) agree(ctx context.Context, knew *settings, text string, sure bool) (*settings, error) {
	s := b.store
	for text != knew.text {
		if text != "" {
			has, err := readSettings(text)
			if err != nil {
				return nil, s.corruptSettings(b.name, err)
			}
			if s.opts.ReadOnly || !sure || !knew.outranks(has) {
				if b.kept.CompareAndSwap(knew, has) { // else somebody here knows more
					s.log.Info("settings changed", "bot", b.name, "old", knew.text, "new", text)
				}
				return has, nil
			}
		} else if s.opts.ReadOnly {
			return nil, nil
		}
		r, err := s.run(ctx, s.noBucket(), ask(lua.Settings, []string{"bot", b.name, "was", text, "text", knew.text}))
		if err != nil {
			return nil, err
		}
		if r.Status() == "OK" {
			if r.Int("wrote") == 1 {
				s.log.Warn("the bot's settings were gone from the server, and were put back: was it flushed?", "bot", b.name, "found", text, "put back", knew.text)
			}
			break
		}
		text = r.Text("found") // somebody was quicker
	}
	return knew, nil
}

// stored reads the bot's settings from the server, and goes by them.
func (b *Bot) stored(ctx context.Context) (*settings, error) {
	if err := b.store.usable(); err != nil {
		return nil, err
	}
	knew, sure := b.kept.Load(), b.store.bots.sure()
	text, err := b.store.readSettings(ctx, b.name)
	if err != nil {
		return nil, err
	}
	has, err := b.agree(ctx, knew, text, sure)
	if err == nil && has == nil {
		err = session.ErrNotFound
	}
	return has, err
}

// readSettings reads the text of one bot's settings, empty for none.
func (s *Store) readSettings(ctx context.Context, name string) (string, error) {
	read := call.HGet(s.layout.settings(), name)
	if err := s.read(ctx, read); err != nil {
		return "", s.noSettings(err)
	}
	return read.Val, nil
}

// putSettings writes options as the revision after was, which is nil if there is
// none. If something else is there by now it returns that text instead.
func (s *Store) putSettings(ctx context.Context, name string, was *settings, opts BotOptions) (wrote *settings, other string, err error) {
	at := s.noBucket()
	next, old := &settings{}, ""
	next.Changed = s.caller.Clock.Now(at.bucket).UTC().Truncate(time.Millisecond)
	if was != nil {
		old, next.Revision, next.unknown = was.text, was.Revision, was.unknown
		if !next.Changed.After(was.Changed) { // the server's clock was set back
			next.Changed = was.Changed.Add(time.Millisecond)
		}
	}
	next.Options, next.By = opts, s.name
	next.Revision++
	if err := next.write(); err != nil {
		return nil, "", err
	}
	r, err := s.run(ctx, at, ask(lua.Settings, []string{"bot", name, "was", old, "text", next.text}))
	if err != nil {
		return nil, "", err
	}
	if r.Status() == "OK" {
		return next, "", nil
	}
	return nil, r.Text("found"), nil
}

// noBucket is the place of keys that are in none.
func (s *Store) noBucket() place { return place{bucket: len(s.layout.tags)} }

func (s *Store) noSettings(err error) error {
	if call.WrongType(err) {
		return &session.CorruptError{Field: s.layout.settings(), Reason: err}
	}
	return call.NoRight(err)
}

func (s *Store) corruptSettings(name string, err error) error {
	return &session.CorruptError{Field: s.layout.settings() + " " + name, Reason: err}
}
