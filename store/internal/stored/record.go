package stored

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

// A Record is a session's hash as it is stored. Reading one checks the numbers;
// the encoded values are decoded only when they are asked for. It does not change.
type Record struct {
	ref    session.Ref
	fields hash   // but for rec, hand and retry
	text   string // rec
	hand   string
	turned // rec in front of the bar
	lasting
	retry struct{ event, reply retry }
	yield int64
}

// turned is what a turn changes of a record.
type turned struct {
	work, token                                 string
	calm                                        int64
	holder                                      string
	until, waiting, bytes, unsent, replyBytes   int64
	version, seq, turns, active, expires, place int64
}

// lasting is what stays of a record in most turns.
type lasting struct {
	layout, life, created, net          int64
	ttl                                 string
	ended, chat, sweep, kept            int64
	listed, pause, steps, timers, burst int64
	lastingText                         string
}

// A retry is how often the head of the inbox, or of the outbox, came back.
type retry struct{ fails, crashes, backs, wait, since int64 }

// status says it, with the text of the last error.
func (r retry) status(err string) session.Retry {
	if r == (retry{}) {
		err = ""
	}
	return session.Retry{Failures: int(r.fails), Crashes: int(r.crashes), HandedBack: int(r.backs), At: moment(r.wait), Since: moment(r.since), Error: err}
}

// ReadRecord takes what HGETALL returned: field, value, field, value, as raw
// bytes. It returns:
//
//   - [session.ErrNotFound] for no fields at all;
//   - [session.ErrNewerLayout] for a layout that this version does not know yet,
//     [session.ErrUnsupported] for one that it does not read any more;
//   - a [session.CorruptError] for a field without a value, for a rec or a retry
//     that cannot be read, and when rec or the state is missing.
func ReadRecord(ref session.Ref, pairs []string) (*Record, error) {
	if len(pairs) == 0 {
		return nil, fmt.Errorf("session %s: %w", ref, session.ErrNotFound)
	}
	r := &Record{ref: ref, fields: make(hash, 0, len(pairs)/2)}
	if len(pairs)%2 == 1 {
		return nil, r.corrupt(pairs[len(pairs)-1], errors.New("a field without a value"))
	}
	var text, counts string
	for i := 0; i < len(pairs); i += 2 {
		switch pairs[i] {
		case FieldRecord:
			text = pairs[i+1]
		case FieldHand:
			r.hand = pairs[i+1]
		case FieldRetry:
			counts = pairs[i+1]
		default:
			r.fields = append(r.fields, pair{pairs[i], pairs[i+1]})
		}
	}
	slices.SortFunc(r.fields, func(a, b pair) int { return strings.Compare(a.field, b.field) })
	if err := r.read(text); err != nil {
		return nil, err
	}
	e, o := &r.retry.event, &r.retry.reply
	if counts != "" {
		var way int64
		if err := words(counts, &e.fails, &e.crashes, &e.backs, &e.wait, &e.since, &o.fails, &o.crashes, &o.backs, &o.wait, &o.since, &r.yield, &way); err != nil {
			return nil, r.corrupt(FieldRetry, err)
		}
	}
	if r.State() == "" {
		return nil, r.corrupt(FieldState, errors.New("it is missing"))
	}
	return r, nil
}

// With returns the record with another rec, as a script returned it.
func (r *Record) With(text string) (*Record, error) {
	with := *r
	return &with, with.read(text)
}

// read reads rec.
func (r *Record) read(text string) error {
	front, lasting, found := strings.Cut(text, " | ")
	if lasting != r.lastingText || lasting == "" {
		l := &r.lasting
		if first, _, _ := strings.Cut(lasting, " "); first != strconv.Itoa(Layout) {
			if layout, err := strconv.ParseInt(first, 10, 64); err == nil {
				if err := OtherLayout(layout, Layout); err != nil {
					return fmt.Errorf("session %s: %w", r.ref, err)
				}
			}
		}
		if text == "" {
			return r.corrupt(FieldRecord, errors.New("it is missing"))
		}
		if !found {
			return r.corrupt(FieldRecord, errors.New("it has no bar"))
		}
		if err := words(lasting, &l.layout, &l.life, &l.created, &l.net, &l.ttl, &l.ended, &l.chat, &l.sweep, &l.kept,
			&l.listed, &l.pause, &l.steps, &l.timers, &l.burst); err != nil {
			return r.corrupt(FieldRecord, fmt.Errorf("behind the bar: %w", err))
		}
		if l.ttl != "-" {
			if _, err := strconv.ParseUint(l.ttl, 10, 63); err != nil {
				return r.corrupt(FieldRecord, errors.New("the time to live is no integer"))
			}
		}
		l.lastingText = lasting
	}
	t := &r.turned
	if err := words(front, &t.work, &t.token, &t.calm, &t.holder, &t.until, &t.waiting, &t.bytes, &t.unsent, &t.replyBytes,
		&t.version, &t.seq, &t.turns, &t.active, &t.expires, &t.place); err != nil {
		return r.corrupt(FieldRecord, err)
	}
	r.text = text
	return nil
}

// Hand returns the event in hand, as an inbox has it; empty if there is none. It
// returns a [session.CorruptError] for one that cannot be read.
func (r *Record) Hand() (element string, err error) {
	if r.hand == "" {
		return "", nil
	}
	if len(r.hand) > ids.DigestSize {
		words := strings.SplitN(r.hand[ids.DigestSize:], " ", 3)
		if when, err := strconv.ParseInt(words[0], 10, 64); err == nil && len(words) == 3 {
			return r.hand[:ids.DigestSize] + EntryAt(when, codec.Encoded(words[2])), nil
		}
	}
	return "", r.corrupt(FieldHand, errors.New("it is no event"))
}

// Text returns rec as it is stored.
func (r *Record) Text() string { return r.text }

// words reads a packed field: as many words as there are places, a *string or
// an *int64 each.
func words(packed string, places ...any) error {
	if packed == "" {
		return errors.New("it is missing")
	}
	rest, more := packed, true
	for i, place := range places {
		var word string
		if !more {
			return fmt.Errorf("it has fewer than %d words", len(places))
		}
		word, rest, more = strings.Cut(rest, " ")
		switch place := place.(type) {
		case *string:
			*place = word
		case *int64:
			n, err := strconv.ParseInt(word, 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("word %d of it is no integer from 0 to 1<<63-1", i+1)
			}
			*place = n
		}
	}
	if more {
		return fmt.Errorf("it has more than %d words", len(places))
	}
	return nil
}

func (r *Record) corrupt(field string, reason error) error {
	return &session.CorruptError{Ref: r.ref, Field: field, Reason: reason}
}

// moment returns milliseconds as a time in UTC; 0 gives the zero time.
func moment(ms int64) time.Time {
	if ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

// Ref returns what the session is named by.
func (r *Record) Ref() session.Ref { return r.ref }

// Life returns the number of the life.
func (r *Record) Life() int64 { return r.life }

// Version returns the number of changes so far.
func (r *Record) Version() int64 { return r.version }

// Seq returns the sequence number of the chat's last message.
func (r *Record) Seq() int64 { return r.seq }

// Turns returns the number of events handled in this life.
func (r *Record) Turns() int64 { return r.turns }

// State returns the current state's name.
func (r *Record) State() string { return r.fields.value(FieldState) }

// Platform returns where the session's first event came from.
func (r *Record) Platform() string { return r.fields.value(FieldPlatform) }

// User returns the platform's name for the user.
func (r *Record) User() string { return r.fields.value(FieldUser) }

// Flag reports whether the named flag is up.
func (r *Record) Flag(name string) bool {
	return r.Has(PrefixFlag + name)
}

// Message returns the last user message that was handled. It returns a
// [session.CorruptError] when it cannot be read, as do the two below.
func (r *Record) Message() (string, error) {
	return read(r, FieldMessage, func(b []byte) (string, error) {
		v, err := codec.DecodeAny(b)
		text, ok := v.(string)
		if err == nil && !ok {
			err = corrupt("a message's text: it is a %T", v)
		}
		return text, err
	})
}

// Intent returns the last predicted intent: nil if there was none, or nil was set.
func (r *Record) Intent() (*session.Intent, error) { return read(r, FieldIntent, DecodeIntent) }

// File returns the last file, without its bytes; nil if there was none.
func (r *Record) File() (*session.File, error) { return read(r, FieldFile, DecodeFile) }

// read decodes a field; one that is absent gives the zero value.
func read[T any](r *Record, field string, decode func([]byte) (T, error)) (T, error) {
	var zero T
	text, ok := r.fields.get(field)
	if !ok {
		return zero, nil
	}
	v, err := decode([]byte(text))
	if err != nil {
		return zero, r.corrupt(field, err)
	}
	return v, nil
}

// Value returns a value of the private data as it is stored, for [codec.Decode].
func (r *Record) Value(key string) (value codec.Encoded, found bool) {
	text, found := r.fields.get(PrefixData + key)
	if !found {
		return nil, false
	}
	return codec.Encoded(text), true
}

// ValueSize returns how many bytes a value of the private data has as it is stored; 0 if
// there is none.
func (r *Record) ValueSize(key string) int { return len(r.fields.value(PrefixData + key)) }

// Keys returns the keys of the private data, sorted.
func (r *Record) Keys() []string { return r.fields.names(PrefixData) }

// Ended reports whether the session was ended by its own turn, and waits to be
// buried.
func (r *Record) Ended() bool { return r.ended != 0 }

// Expires returns when the session expires, in ms; 0 for never.
func (r *Record) Expires() int64 { return r.expires }

// Active returns when the session was last changed, in ms.
func (r *Record) Active() int64 { return r.active }

// Dropped returns when Redis itself drops the session's keys, in ms; 0 for never.
func (r *Record) Dropped() int64 { return r.net }

// Bytes returns how many bytes the inbox and the outbox have, as the scripts count.
func (r *Record) Bytes() (inbox, outbox int64) { return r.bytes, r.replyBytes }

// Latest returns the moment, in ms, after which nothing that the record says holds
// back the session's work any more: a lease, or the pause before the next attempt.
func (r *Record) Latest() int64 {
	return max(r.until, r.yield, r.retry.event.wait, r.retry.reply.wait)
}

// Since returns since when something waits as the list of what waits has it, in ms; 0 if
// the session is not listed there.
func (r *Record) Since() int64 { return r.listed }

// Held reports whether a replica has the session's lease, even one that is over.
func (r *Record) Held() bool { return r.until != 0 }

// OtherLayout returns the error of data that was stored in another layout than the
// one that is known: [session.ErrNewerLayout], or [session.ErrUnsupported] for an
// older one. It is nil for the same, and for a number that no layout ever had.
func OtherLayout(stored, known int64) error {
	switch {
	case stored > known:
		return fmt.Errorf("%w: layout %d, this version reads %d", session.ErrNewerLayout, stored, known)
	case 1 <= stored && stored < known:
		return fmt.Errorf("%w: layout %d, this version reads %d", session.ErrUnsupported, stored, known)
	}
	return nil
}
