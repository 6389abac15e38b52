package store

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// errNoLetter is the error of an act on a letter that is not there.
var errNoLetter = fmt.Errorf("%w: the session has no dead letter of that time", session.ErrChanged)

// Redeliver takes a dead letter of the session back, which its [session.DeadLetter.Time]
// names. If it is not there any more, Redeliver returns [session.ErrChanged].
//
// An event comes to the end of the inbox, with all its attempts, and is handled as any
// other: its ID is the platform's, and its file has its bytes, but its message does not
// come into the chat a second time. What waited for the event before has the outcome
// [session.Dead]; the Receipt that Redeliver returns is for the new one. A duplicate that
// the platform delivers later is still one. A session that does not exist any more is
// made anew, and the receipt is [Receipt.Created]. With [session.ErrInboxFull] the letter
// stays.
//
// A reply comes to the end of the outbox, under its old [Delivery.Key], and the chat stays
// as it is. There is nothing to wait for: the Receipt is nil. If the session does not
// exist any more, Redeliver returns [session.ErrNotFound].
func (s *Session) Redeliver(ctx context.Context, letter time.Time) (receipt *Receipt, err error) {
	defer s.wrap("redeliver to", &err)
	l, err := s.letter(ctx, letter)
	if err != nil {
		return nil, err
	}
	b, opts, began := s.bot, s.bot.current(ctx), time.Now()
	w := b.words(opts)
	var e session.Event
	var digest ids.Digest
	fresh, told, encoded := "", "", ""
	if l.Event != nil {
		if e, _, err = stored.DecodeEvent(l.Event.Event); err != nil {
			return nil, &session.CorruptError{Ref: s.ref, Field: "letters", Reason: err}
		}
		digest, encoded = ids.DigestOfLetter(l.Stamp, l.Event.Digest), string(l.Event.Event)
		extras := stored.Extras{Root: cmp.Or(l.Event.Root, string(l.Event.Digest)), Trace: l.Event.Trace, From: b.store.tag}
		fresh = extras.With(nil)
		extras.Told = true
		told = extras.With(nil)
	}
	r, err := s.actOn(ctx, ask(lua.Redeliver, []string{
		"id", s.ref.ID, "bot", b.name, "letter", l.Stamp, "digest", string(digest), "fresh", fresh, "told", told, "event", encoded,
		"window", strconv.FormatInt(b.store.window(opts), 10), "limit", w.limit, "bytes", w.bytes,
		"initial", opts.Initial, "platform", e.Platform, "user", e.User, "ttl", w.ttl,
		"audit", b.store.audit(ctx, s.ref, "redeliver", letterName(letter), true),
	}))
	if err != nil || l.Event == nil {
		return nil, err
	}
	return &Receipt{Ref: s.ref, EventID: e.ID, Created: r.Int("created") == 1, bot: b, at: b.store.layout.place(s.ref), digest: digest, accepted: began}, nil
}

// Discard removes a dead letter of the session, which its [session.DeadLetter.Time] names,
// also one of a session that does not exist any more. Who waits for its event later gets
// the outcome [session.Dead] without a reason. If the letter is not there any more, Discard
// returns [session.ErrChanged].
func (s *Session) Discard(ctx context.Context, letter time.Time) (err error) {
	defer s.wrap("discard a dead letter of", &err)
	return s.act(ctx, ask(lua.Discard, []string{
		"id", s.ref.ID, "letter", stored.StampOf(letter), "audit", s.bot.store.audit(ctx, s.ref, "discard", letterName(letter), true),
	}))
}

// letterName is what an act's Object says of a letter.
func letterName(letter time.Time) string {
	return "letter of " + letter.UTC().Format("2006-01-02T15:04:05.000Z")
}

// letter reads one dead letter.
func (s *Session) letter(ctx context.Context, letter time.Time) (l stored.Letter, err error) {
	at, err := s.bot.place(s.ref.ID)
	if err == nil {
		err = s.bot.store.inTurn(ctx, s.ref, false)
	}
	if err != nil {
		return l, err
	}
	elements := call.LRange(s.bot.store.layout.key("letters", at), 0, -1)
	if err := s.bot.store.read(ctx, elements); err != nil {
		return l, s.wrongType("letters", call.NoRight(err))
	}
	stamp := stored.StampOf(letter)
	for _, element := range elements.Val {
		if strings.HasPrefix(element, stamp) {
			if l, err = stored.ReadLetter([]byte(element)); err != nil {
				err = &session.CorruptError{Ref: s.ref, Field: "letters", Reason: err}
			}
			return l, err
		}
	}
	return l, errNoLetter
}
