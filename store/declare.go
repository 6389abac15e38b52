package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// Bot returns the bot of that name, which needs no closing. The first call of
// any process declares the bot: it stores opts, with the defaults filled in.
// From then on what is stored counts for all processes; where a field of opts
// is set and differs, a warning is logged, and [Bot.Configure] can change the
// setting.
//
// With nil opts Bot declares nothing, and returns [session.ErrNotFound] for a
// bot that was never declared; so does a store with [Options.ReadOnly]. It
// returns [session.ErrInvalid] for a bad name, for bad options, and for
// options that differ from those of an earlier call on the same Store, which
// otherwise gets the same Bot without I/O.
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
	b, first, err := s.bots.get(name, nil, opts, &given)
	if b == nil && err == nil {
		var kept *settings
		if kept, err = s.declared(ctx, name, opts, given); err != nil {
			return nil, err
		}
		made := &Bot{store: s, name: name}
		made.kept.Store(kept)
		b, first, err = s.bots.get(name, made, opts, &given)
	}
	if err != nil {
		return nil, err
	}
	if first {
		b.compare(opts)
	}
	return b, nil
}

// declared reads a bot's settings, and makes them with given if there are none.
func (s *Store) declared(ctx context.Context, name string, opts *BotOptions, given BotOptions) (*settings, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	text, err := s.readSettings(ctx, name)
	if err != nil {
		return nil, err
	}
	if text == "" {
		if opts == nil || s.opts.ReadOnly {
			return nil, fmt.Errorf("%w: no program has declared it: call Store.Bot with BotOptions, on a Store that is not read-only", session.ErrNotFound)
		}
		var made *settings
		if made, text, err = s.putSettings(ctx, name, nil, given); made != nil || err != nil {
			return made, err
		}
	}
	kept, err := readSettings(text)
	if err != nil {
		return nil, s.corruptSettings(name, err)
	}
	return kept, nil
}

// get returns the bot that this process has under the name, or else made, which may
// be nil. It reports whether this is the first call with options for it, and refuses
// other options than those of the first.
func (all *bots) get(name string, made *Bot, opts, given *BotOptions) (b *Bot, first bool, err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if b = all.byName[name]; b == nil {
		if b = made; b == nil {
			return nil, false, nil
		}
		if len(all.byName) == 0 { // what is known of the only one is new
			all.asked.Store(time.Now().UnixNano())
		}
		all.byName[name] = b
	}
	if opts == nil {
		return b, false, nil
	}
	if b.given == nil {
		b.given = given
		return b, true, nil
	}
	if fields := differs(b.given, given); len(fields) > 0 {
		f := fields[0]
		return nil, false, fmt.Errorf("%w: this process has the bot already, with BotOptions.%s %s, not %s", session.ErrInvalid, f.name, f.text(b.given), f.text(given))
	}
	return b, false, nil
}

// compare warns of what the program says otherwise than the server.
func (b *Bot) compare(opts *BotOptions) {
	kept := b.options()
	var say []string
	change := "botsession settings "
	if space := b.store.opts.Namespace; space != defaultNamespace {
		change += "--namespace " + space + " "
	}
	change += b.name
	for _, f := range settingTable {
		if f.zero(opts) || f.value(opts) == f.value(kept) {
			continue
		}
		say = append(say, fmt.Sprintf("%s is %s, this program says %s", f.name, f.text(kept), f.text(opts)))
		change += " " + strings.ToLower(f.name) + "=" + quoted(f.text(opts))
	}
	if len(say) > 0 {
		b.store.log.Warn(b.name + ": " + strings.Join(say, ", ") + "; to change it: Bot.Configure, or " + change)
	}
}

// quoted is the text as a shell takes it for one word.
func quoted(text string) string {
	special := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-:/+,@", c))
	}
	if strings.ContainsFunc(text, special) {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

// Configure changes the bot's settings for all processes, all at once. It
// calls change with the settings as they are on the server and stores what
// change leaves there; zero fields get their defaults. If another process
// changes the settings meanwhile, change is called again with the new ones; if it
// changes nothing, nothing is written. This process uses the new settings at once,
// every other one within ten seconds; a turn that runs keeps those it began with.
// See the package's comment for what becomes of data that is stored.
//
// It returns [session.ErrInvalid] with the field's name, or an error if change
// panics, and changes nothing then; [session.ErrReadOnly]; or
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
		edited := was.Options
		if fail := protect(ctx, s.logger, "Configure", func() error { change(&edited); return nil }); fail != nil {
			return errors.New(fail.text)
		}
		opts, err := edited.resolved()
		if err != nil {
			return err
		}
		if len(differs(&opts, &was.Options)) == 0 {
			return nil
		}
		next, _, err := s.putSettings(ctx, b.name, was, opts)
		if err != nil {
			return err
		}
		if next != nil {
			b.goBy(next)
			s.log.InfoContext(ctx, "settings changed by this process", "bot", b.name, "old", was.text, "new", next.text)
			return nil
		}
		if !call.Sleep(ctx, s.caller.Backoff(try, b.name)) {
			return context.Cause(ctx)
		}
	}
}

// goBy goes by what this process has written, unless it knows of a later change.
func (b *Bot) goBy(next *settings) {
	for knows := b.kept.Load(); !knows.outranks(next) && !b.kept.CompareAndSwap(knows, next); {
		knows = b.kept.Load()
	}
}

// Settings returns the bot's settings as they are on the server now.
func (b *Bot) Settings(ctx context.Context) (Settings, error) {
	kept, err := b.stored(ctx)
	if err != nil {
		return Settings{}, fmt.Errorf("settings of %s: %w", b.name, err)
	}
	return kept.Settings, nil
}
