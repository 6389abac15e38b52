package store

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// A written is a change with everything in it encoded and checked: what a turn,
// a live verb or a dead letter writes.
type written struct {
	change   session.Change // its Reset, From, Moves and TTL; the rest is in what follows
	destroy  bool           // the session ends once everything else is done and sent
	own      own            // what an event brings, which was accepted and is under no limit
	chat     []entry        // own's messages among them
	set, del []string       // of the hash: field, value, …; fields
	file     *string        // the file's bytes
	dirty    bool           // it is a change at all, which makes a new version
	event    string         // the id of the event that its replies answer; empty if there is none
	trace    string         // what its replies take along of the trace in which they were made: see traceOf
}

// written encodes a Change of the user's.
func (b *Bot) written(ch session.Change) (w written, err error) {
	if err := b.checkChange(ch); err != nil {
		return w, err
	}
	w = written{change: ch, dirty: !empty(ch)}
	for _, e := range ch.Chat {
		said, err := b.entry(e.Message, e.Send)
		if err != nil {
			return w, err
		}
		w.chat = append(w.chat, said)
	}
	if ch.File != nil {
		bytes := string(ch.File.Data)
		w.file = &bytes
	}
	return w, b.encode(&w)
}

// encode fills set and del, and checks the limits on what a caller brings.
func (b *Bot) encode(w *written) (err error) {
	w.set, w.del, err = stored.Fields(b.store.opts.Codec, w.change)
	if err != nil {
		return err
	}
	total := 0
	for i := 0; i < len(w.set); i += 2 {
		if err := b.store.tooLarge("field", w.set[i], len(w.set[i+1])); err != nil {
			return err
		}
		total += len(w.set[i]) + len(w.set[i+1])
	}
	for _, e := range w.chat[len(w.own.chat):] {
		total += len(e.encoded)
	}
	if w.file != nil {
		total += len(*w.file)
	}
	if most := b.store.opts.MaxChange; total > most {
		return fmt.Errorf("%w: the change has %d bytes, the most is %d", session.ErrTooLarge, total, most)
	}
	if len(w.change.Moves) > 0 { // a move consumes, unless the same change raises again
		for _, flag := range []string{session.FlagIntent, session.FlagFile} {
			if _, said := w.change.Flags[flag]; !said && !(flag == session.FlagIntent && w.change.SetIntent) && !(flag == session.FlagFile && w.change.File != nil) {
				w.del = append(w.del, stored.PrefixFlag+flag)
			}
		}
	}
	return nil
}

// wire turns a change into the arguments that prelude/change.lua reads.
func (o *BotOptions) wire(w written) (named, rest []string) {
	own, filed, bytes := "", "", ""
	switch {
	case w.change.TTL == nil:
	case *w.change.TTL == 0:
		own = "-"
	default:
		own = millis(*w.change.TTL)
	}
	if file := cmp.Or(w.file, w.own.file); file != nil {
		filed, bytes = "1", *file
	}
	fields := len(w.set) + len(w.own.fields)
	named = []string{
		"from", w.change.From, "ttl", millis(o.TTL), "limit", strconv.Itoa(o.HistoryLimit), "dirty", flag(w.dirty),
		"reset", string(w.change.Reset), "initial", o.Initial, "own", own, "filed", filed, "bytes", bytes,
		"entered", strconv.Itoa(len(w.change.Moves)), "set", strconv.Itoa(fields), "del", strconv.Itoa(len(w.del)), "said", strconv.Itoa(2 * len(w.chat)),
	}
	rest = make([]string, 0, len(w.change.Moves)+fields+len(w.del)+2*len(w.chat))
	rest = append(rest, w.change.Moves...)
	rest = append(rest, w.own.fields...)
	rest = append(rest, w.set...)
	rest = append(rest, w.del...)
	for _, e := range w.chat {
		send := ""
		if e.send && !o.RecordOnly {
			send = stored.Extras{Trace: w.trace}.With([]byte(w.event))
		}
		rest = append(rest, send, string(e.encoded))
	}
	return named, rest
}

func (b *Bot) encodeMessage(m session.Message) (codec.Encoded, error) {
	encoded, err := stored.EncodeMessage(b.store.opts.Codec, m)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return encoded, b.store.tooLarge("the message", "", len(encoded))
}

// empty reports whether a change would write nothing.
func empty(c session.Change) bool {
	return c.Reset == "" && len(c.Moves) == 0 && len(c.Set) == 0 && len(c.Delete) == 0 &&
		c.Message == nil && !c.SetIntent && c.File == nil && len(c.Flags) == 0 && len(c.Chat) == 0 && c.TTL == nil
}

// checkReset returns session.ErrInvalid for anything but the two ways to reset.
func checkReset(r session.Reset) error {
	if r != session.KeepChat && r != session.DropChat {
		return fmt.Errorf("%w: a reset says session.KeepChat or session.DropChat", session.ErrInvalid)
	}
	return nil
}

func (b *Bot) checkChange(ch session.Change) error {
	if ch.Reset != "" {
		if err := checkReset(ch.Reset); err != nil {
			return err
		}
	}
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

// tooMuchData is the error of a change after which the private data would have
// so many bytes.
func tooMuchData(bytes, most int) error {
	return fmt.Errorf("%w: the private data would have %d bytes, the most is %d (Options.MaxData)", session.ErrTooLarge, bytes, most)
}

// millis is a duration as scripts want it: 0 for ever, else at least 1.
func millis(d time.Duration) string { return strconv.FormatInt(number(d), 10) }

// number is the same as a number.
func number(d time.Duration) int64 {
	if d < 0 {
		return 0
	}
	return max(d.Milliseconds(), 1)
}

// window is for how long scripts remember an event's id, in ms: at least while its call may
// be sent again.
func (s *Store) window(o *BotOptions) int64 {
	return number(max(o.DedupeWindow, s.opts.Timeout))
}

func flag(up bool) string {
	if up {
		return "1"
	}
	return ""
}
