package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// bots are those that this process uses, and what it knows of their settings.
type bots struct {
	mu     sync.Mutex
	byName map[string]*Bot

	age   time.Duration // of a copy that may be used; settingsAge, but in tests
	turn  chan struct{} // one place: for who asks the server, or puts down what it wrote
	asked atomic.Int64  // when the server was last asked, in ns, whether it replied or not
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
)

// Bot returns the bot of that name. Its settings are kept on the server, and are
// the same for all processes. If the bot is not there it is made with opts, of
// two at once by one of them; nil opts then return [session.ErrNotFound]. If it is
// there, what is stored counts, and a field of opts that is set and differs is
// logged as a warning: [Bot.Configure] changes it.
//
// A second call with the same name on the same Store returns the same Bot, with
// no I/O, unless its options differ from those that were given before: that is
// [session.ErrInvalid], with the field's name. So are a bad name and bad options.
// A Store with [Options.ReadOnly] makes no bot. There is nothing to close.
func (s *Store) Bot(ctx context.Context, name string, opts *BotOptions) (*Bot, error) {
	b, err := s.bot(ctx, name, opts)
	if err != nil {
		return nil, fmt.Errorf("bot %q: %w", name, err)
	}
	return b, nil
}

func (s *Store) bot(ctx context.Context, name string, opts *BotOptions) (*Bot, error) {
	if err := session.ValidBot(name); err != nil {
		return nil, err
	}
	given, err := opts.resolved()
	if err != nil {
		return nil, err
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	if known, err := s.bots.known(name, opts, &given); known != nil || err != nil {
		return known, err
	}
	kept, err := s.readSettings(ctx, name)
	if err == nil && kept == nil {
		if opts == nil || s.opts.ReadOnly {
			return nil, fmt.Errorf("%w: nobody has declared it", session.ErrNotFound)
		}
		kept, _, err = s.putSettings(ctx, name, nil, given)
	}
	if err != nil {
		return nil, err
	}
	b := &Bot{store: s, name: name}
	b.kept.Store(kept)
	if opts != nil {
		b.given = &given
	}
	known, first, err := s.bots.add(b, opts, &given)
	if first && opts != nil {
		b.compare(opts)
	}
	return known, err
}

// known returns the bot that this process has under the name, if it does.
func (all *bots) known(name string, opts, given *BotOptions) (*Bot, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	b := all.byName[name]
	if b == nil || opts == nil {
		return b, nil
	}
	if b.given == nil {
		b.given = given
		b.compare(opts)
		return b, nil
	}
	if fields := differs(b.given, given); len(fields) > 0 {
		f := fields[0]
		return nil, fmt.Errorf("%w: this process has the bot already, with BotOptions.%s %s, not %s", session.ErrInvalid, f.name, f.text(b.given), f.text(given))
	}
	return b, nil
}

// add keeps a bot, unless another call of this process came before.
func (all *bots) add(b *Bot, opts, given *BotOptions) (known *Bot, first bool, err error) {
	all.mu.Lock()
	if all.byName[b.name] == nil {
		if len(all.byName) == 0 { // what is known of the only one is new
			all.asked.Store(time.Now().UnixNano())
		}
		all.byName[b.name] = b
		first = true
	}
	all.mu.Unlock()
	known, err = all.known(b.name, opts, given)
	return known, first, err
}

// compare warns of what the program says otherwise than the server.
func (b *Bot) compare(opts *BotOptions) {
	kept := b.options()
	var say, change []string
	for _, f := range settingTable {
		if f.zero(opts) || f.value(opts) == f.value(kept) {
			continue
		}
		say = append(say, fmt.Sprintf("%s is %s, this program says %s", f.name, f.text(kept), f.text(opts)))
		change = append(change, strings.ToLower(f.name)+"="+f.text(opts))
	}
	if len(say) > 0 {
		b.store.log.Warn(b.name + ": " + strings.Join(say, ", ") + "; to change it: Bot.Configure, or botsession settings " + b.name + " " + strings.Join(change, " "))
	}
}

// options returns what this process knows of the settings: one copy, for one turn.
func (b *Bot) options() *BotOptions { return &b.kept.Load().Options }

// current is options with a copy that is not too old. While the process serves the
// bot, settles sees to that; else the server is asked, at most once in a while and
// for all bots. One that does not reply stops nothing.
func (b *Bot) current(ctx context.Context) *BotOptions {
	if b.serving.Load() == nil && b.store.bots.old() {
		ask, cancel := context.WithTimeout(ctx, settingsWait)
		defer cancel()
		if err := b.store.askSettings(ask); err != nil {
			if ctx.Err() != nil { // it was this caller who gave up: the next one asks
				b.store.bots.asked.Store(0)
			}
			b.store.log.Info("settings not read: this process goes on with those it knows", "bot", b.name, "error", err)
		}
	}
	return b.options()
}

func (all *bots) old() bool {
	return time.Now().UnixNano()-all.asked.Load() > int64(all.age)
}

// settles asks for the settings while the process serves. It returns why it can
// no longer serve, or nil when ctx ends.
func (r *runner) settles(ctx context.Context) error {
	b := r.bot
	for call.Sleep(ctx, 400*time.Millisecond+b.store.caller.Jitter(200*time.Millisecond, "settings "+b.name)) {
		if b.store.bots.old() {
			ask, cancel := context.WithTimeout(ctx, settingsAge/2)
			r.complain(ctx, "settings not read", b.store.askSettings(ask))
			cancel()
		}
		if opts := b.options(); r.serve.Send == nil && !opts.RecordOnly {
			return opts.fits(r.serve)
		}
	}
	return nil
}

// askSettings reads the settings of all bots that this process uses, in one
// command, unless somebody has just done so. What is gone from the server it puts
// back.
func (s *Store) askSettings(ctx context.Context) error {
	select {
	case s.bots.turn <- struct{}{}:
		defer func() { <-s.bots.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if !s.bots.old() {
		return nil
	}
	s.bots.asked.Store(time.Now().UnixNano())
	if err := s.usable(); err != nil {
		return err
	}
	var names []string
	used := map[string]*Bot{}
	s.bots.mu.Lock()
	for name, b := range s.bots.byName {
		names, used[name] = append(names, name), b
	}
	s.bots.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	read := call.HMGet(s.layout.settings(), names)
	if err := s.caller.Do(ctx, read); err != nil {
		return s.noSettings(err)
	}
	for i, name := range names {
		b := used[name]
		text, found := read.Val[i].(string)
		if !found {
			if err := b.putBack(ctx); err != nil {
				return err
			}
			continue
		}
		b.take(text)
	}
	return nil
}

// take goes by a text from now on, if it can be read.
func (b *Bot) take(text string) {
	was := b.kept.Load()
	if was.text == text {
		return
	}
	now, err := readSettings(text)
	if err != nil {
		b.store.log.Error("the bot's settings cannot be read: this process goes on with those it knows", "bot", b.name, "error", err)
		return
	}
	b.kept.Store(now)
	b.store.log.Info("settings changed", "bot", b.name, "old", was.text, "new", text)
}

// putBack writes the settings that this process knows where there are none.
func (b *Bot) putBack(ctx context.Context) error {
	if b.store.opts.ReadOnly {
		return nil
	}
	r, err := b.store.run(ctx, lua.Settings, b.store.noBucket(), b.name, "", b.kept.Load().text)
	switch {
	case err != nil:
		return err
	case r.Status() == "EXISTS":
		b.take(r.Text(2))
	case r.Int(2) == 1:
		b.store.log.Warn("the bot's settings were gone from the server, and were put back: was it flushed?", "bot", b.name)
	}
	return nil
}

// noBucket is the place of keys that are in none.
func (s *Store) noBucket() place { return place{bucket: len(s.layout.tags)} }

// readSettings reads those of one bot; nil if there are none.
func (s *Store) readSettings(ctx context.Context, name string) (*settings, error) {
	read := call.HGet(s.layout.settings(), name)
	if err := s.read(ctx, read); err != nil {
		return nil, s.noSettings(err)
	}
	if read.Val == "" {
		return nil, nil
	}
	kept, err := readSettings(read.Val)
	if err != nil {
		return nil, &session.CorruptError{Field: s.layout.settings() + " " + name, Reason: err}
	}
	return kept, nil
}

func (s *Store) noSettings(err error) error {
	if call.WrongType(err) {
		return &session.CorruptError{Field: s.layout.settings(), Reason: err}
	}
	return call.NoRight(err)
}

// putSettings writes the options as the revision after was, or returns what
// another one has written meanwhile.
func (s *Store) putSettings(ctx context.Context, name string, was *settings, opts BotOptions) (kept *settings, wrote bool, err error) {
	at := s.noBucket()
	next, old := &settings{}, ""
	if was != nil {
		old, next.Revision, next.unknown = was.text, was.Revision, was.unknown
	}
	next.Options, next.By, next.Changed = opts, s.name, s.caller.Clock.Now(at.bucket).UTC()
	next.Revision++
	if err := next.write(); err != nil {
		return nil, false, err
	}
	r, err := s.run(ctx, lua.Settings, at, name, old, next.text)
	if err != nil {
		return nil, false, err
	}
	if status := r.Status(); status != "EXISTS" && status != "OTHER" {
		return next, true, refusal(r, at.ref)
	}
	if r.Text(2) == "" { // gone meanwhile
		return nil, false, nil
	}
	kept, err = readSettings(r.Text(2))
	if err != nil {
		err = &session.CorruptError{Field: s.layout.settings() + " " + name, Reason: err}
	}
	return kept, false, err
}

// Configure changes the bot's settings for all processes, whole and at once:
// change gets them as they stand on the server, and what it leaves is stored. If
// somebody else has changed them meanwhile it runs again, on what is there then.
// What it sets to zero gets the default. Every process goes by the new settings
// within ten seconds; a turn that runs goes on with those it began with.
//
// It returns [session.ErrInvalid] for settings that cannot be, with the field's
// name, and nothing is changed then; [session.ErrReadOnly];
// [session.ErrUnknownOutcome].
func (b *Bot) Configure(ctx context.Context, change func(*BotOptions)) error {
	err := b.configure(ctx, change)
	if err != nil {
		return fmt.Errorf("configure %s: %w", b.name, err)
	}
	return nil
}

func (b *Bot) configure(ctx context.Context, change func(*BotOptions)) error {
	s := b.store
	if change == nil {
		return fmt.Errorf("%w: the function is nil", session.ErrInvalid)
	}
	if s.opts.ReadOnly {
		return session.ErrReadOnly
	}
	for try := 0; ; try++ {
		was, err := b.stored(ctx)
		if err != nil {
			return err
		}
		opts := was.Options
		change(&opts)
		if opts, err = opts.resolved(); err != nil {
			return err
		}
		if len(differs(&opts, &was.Options)) == 0 {
			return nil
		}
		next, wrote, err := s.putSettings(ctx, b.name, was, opts)
		if err != nil {
			return err
		}
		if wrote {
			b.goBy(next)
			s.log.Info("settings changed by this process", "bot", b.name, "old", was.text, "new", next.text)
			return nil
		}
		if !call.Sleep(ctx, s.caller.Backoff(try, b.name)) {
			return context.Cause(ctx)
		}
	}
}

// goBy goes by what this process has written, unless it knows of a later change.
func (b *Bot) goBy(next *settings) {
	b.store.bots.turn <- struct{}{}
	defer func() { <-b.store.bots.turn }()
	if next.Revision > b.kept.Load().Revision {
		b.kept.Store(next)
	}
}

// stored reads the settings from the server. Those that are gone it puts back.
func (b *Bot) stored(ctx context.Context) (*settings, error) {
	if err := b.store.usable(); err != nil {
		return nil, err
	}
	kept, err := b.store.readSettings(ctx, b.name)
	if err == nil && kept == nil {
		if err = b.putBack(ctx); err == nil {
			kept, err = b.store.readSettings(ctx, b.name)
		}
	}
	if err == nil && kept == nil {
		err = session.ErrNotFound
	}
	return kept, err
}

// Settings returns the bot's settings as they stand on the server now, with the
// defaults filled in.
func (b *Bot) Settings(ctx context.Context) (Settings, error) {
	kept, err := b.stored(ctx)
	if err != nil {
		return Settings{}, fmt.Errorf("settings of %s: %w", b.name, err)
	}
	return kept.Settings, nil
}
