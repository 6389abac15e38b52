package store

import (
	"fmt"
	"strconv"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// wire turns a Change into the arguments that prelude/change.lua reads: five
// fixed ones, four counts, the strings they count, and the special part. dirty
// says whether it is a change at all, which makes a new version.
func (b *Bot) wire(ch session.Change, dirty bool) ([]string, error) {
	if err := b.checkChange(ch); err != nil {
		return nil, err
	}
	set, del, err := b.store.opts.Codec.Fields(ch)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(set); i += 2 {
		if err := b.store.tooLarge("field", set[i], len(set[i+1])); err != nil {
			return nil, err
		}
	}
	if len(ch.Moves) > 0 { // a move consumes, unless the same change raises again
		for _, flag := range []string{session.FlagIntent, session.FlagFile} {
			if _, said := ch.Flags[flag]; !said && !(flag == session.FlagIntent && ch.SetIntent) && !(flag == session.FlagFile && ch.File != nil) {
				del = append(del, codec.PrefixFlag+flag)
			}
		}
	}
	special := b.special(ch)
	args := make([]string, 0, 9+len(ch.Moves)+len(set)+len(del)+2*len(ch.Chat)+len(special))
	args = append(args, ch.From, millis(b.opts.TTL), strconv.Itoa(b.opts.HistoryLimit), flag(dirty), flag(len(special) > 0),
		strconv.Itoa(len(ch.Moves)), strconv.Itoa(len(set)), strconv.Itoa(len(del)), strconv.Itoa(2*len(ch.Chat)))
	args = append(args, ch.Moves...)
	args = append(args, set...)
	args = append(args, del...)
	for _, entry := range ch.Chat {
		message, err := b.encodeMessage(entry.Message)
		if err != nil {
			return nil, err
		}
		args = append(args, flag(entry.Send && b.opts.Send != nil), string(message))
	}
	return append(args, special...), nil
}

// special is the last part of a change, which most changes do not have.
func (b *Bot) special(ch session.Change) []string {
	if ch.Reset == nil && !ch.Destroy && ch.TTL == nil && ch.File == nil {
		return nil
	}
	reset, ttl, file := "", "", ""
	if ch.Reset != nil {
		reset = "drop"
		if ch.Reset.KeepChat {
			reset = "keep"
		}
	}
	switch {
	case ch.TTL == nil:
	case *ch.TTL == 0:
		ttl = "-"
	default:
		ttl = millis(*ch.TTL)
	}
	bytes := ""
	if ch.File != nil {
		file, bytes = "1", string(ch.File.Data)
	}
	return []string{reset, b.opts.Initial, flag(ch.Destroy), ttl, file, bytes}
}

func (b *Bot) encodeMessage(m session.Message) (codec.Encoded, error) {
	encoded, err := b.store.opts.Codec.EncodeMessage(m)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return encoded, b.store.tooLarge("the message", "", len(encoded))
}

func (b *Bot) checkChange(ch session.Change) error {
	if ch.From != "" {
		if err := session.ValidState(ch.From); err != nil {
			return err
		}
	}
	for _, state := range ch.Moves {
		if err := session.ValidState(state); err != nil {
			return err
		}
	}
	if ch.File != nil {
		return b.checkFile(*ch.File)
	}
	return nil
}

func (b *Bot) checkFile(f session.File) error {
	if f.Name == "" {
		return fmt.Errorf("%w: the file has no name", session.ErrInvalid)
	}
	return b.store.tooLarge("file", f.Name, len(f.Data))
}

// millis is a duration as scripts want it: 0 for ever, else at least 1.
func millis(d time.Duration) string {
	if d < 0 {
		return "0"
	}
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}

func flag(up bool) string {
	if up {
		return "1"
	}
	return ""
}
