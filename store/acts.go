package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// A person is in the context of what somebody does by hand.
type person struct{ by, reason string }

type personKey struct{}

// As returns a context for what somebody does by hand: what is done with it is noted
// under that name and with that reason, for [Bot.Audit]. Each act is noted; the
// methods of [Session] that change it, and [Session.Destroy], only with such a
// context. An empty name stands for [Store.Name]. Both are cut at 2,000 bytes.
func As(ctx context.Context, by, reason string) context.Context {
	return context.WithValue(ctx, personKey{}, person{fit(by), fit(reason)})
}

// audit returns the line of an act: also of one that nobody claims, if always.
func (s *Store) audit(ctx context.Context, ref session.Ref, verb, object string, always bool) string {
	who, by := ctx.Value(personKey{}).(person)
	if !by && !always {
		return ""
	}
	def(&who.by, s.Name())
	return stored.EncodeAct(session.Act{Ref: ref, Verb: verb, Object: object, By: who.by, Reason: who.reason})
}

// A Head names what an act is about: the event that the session handles next, or the
// reply that is sent next. It has one of its fields.
type Head struct {
	Event string // Event is the event's id.
	Reply string // Reply is the reply's Delivery.Key.
}

// String says what it names.
func (h Head) String() string {
	if h.Event != "" {
		return fmt.Sprintf("event %q", h.Event)
	}
	return "reply " + h.Reply
}

// Retrial says how [Session.Retry] goes about it. The zero Retrial is the mildest.
type Retrial struct {
	Take  bool // Take takes the head from a replica that has it in hand, as Unlock does.
	Reset bool // Reset forgets how often the head has failed, so that it has all its attempts again.
}

// Retry has the head tried again now, and not after its back-off. What it counts
// stays, unless r.Reset. It returns [session.ErrChanged] if something else is at the
// head, and a [session.InHandError] if a replica has it in hand, unless r.Take: then
// that replica is fenced, and a crash is counted. It changes no version and no expiry.
func (s *Session) Retry(ctx context.Context, head Head, r Retrial) (err error) {
	defer s.wrap("retry", &err)
	found, err := s.find(ctx, head)
	if err != nil {
		return err
	}
	return s.act(ctx, ask(lua.Retry, []string{
		"id", s.ref.ID, "bot", s.bot.name, "digest", found.digest, "reply", head.Reply,
		"take", flag(r.Take), "reset", flag(r.Reset), "audit", s.bot.store.audit(ctx, s.ref, "retry", head.String(), true),
	}))
}

// Skip makes the head a dead letter, whose error says who skipped it and why (see
// [As]), and goes on with what is behind it. A replica that has it in hand is fenced:
// what its handler did to the turn is dropped, what it does elsewhere goes on.
// [ServeOptions.Dead] is not called. It returns [session.ErrChanged] if something else
// is at the head.
func (s *Session) Skip(ctx context.Context, head Head) (err error) {
	defer s.wrap("skip", &err)
	found, err := s.find(ctx, head)
	if err != nil {
		return err
	}
	who, _ := ctx.Value(personKey{}).(person)
	def(&who.by, s.bot.store.Name())
	why := "skipped by " + who.by
	if who.reason != "" {
		why += ": " + who.reason
	}
	c := written{own: found.own, chat: found.own.chat, dirty: len(found.own.fields) > 0}
	letter := session.DeadLetter{Error: fit(why), Failures: found.failed.Failures, Crashes: found.failed.Crashes, Holder: who.by}
	encoded := s.bot.store.kept(func(c codec.Codec) (codec.Encoded, error) { return stored.EncodeWhy(c, letter) })
	opts := s.bot.current(ctx)
	named, rest := opts.wire(c)
	err = s.act(ctx, ask(lua.Skip, append([]string{
		"id", s.ref.ID, "bot", s.bot.name, "digest", found.digest, "reply", head.Reply,
		"why", string(encoded), "keep", millis(deadLife), "most", strconv.Itoa(opts.DeadLimit),
		"audit", s.bot.store.audit(ctx, s.ref, "skip", head.String(), true),
	}, named...), rest))
	if err == nil && found.event != nil {
		s.bot.store.tell(s.ref, found.event, ending{status: session.Dead, why: letter.Error}, false)
	}
	return err
}

// Drop drops all events that wait, but for one that is in hand: their outcome is
// [session.Dropped], and no letters are made of them. waiting is how many wait, as the
// caller has seen it, without the one in hand: if there are others by now, Drop returns
// [session.ErrChanged].
func (s *Session) Drop(ctx context.Context, waiting int64) (err error) {
	defer s.wrap("drop events of", &err)
	count := strconv.FormatInt(waiting, 10)
	err = s.act(ctx, ask(lua.Drop, []string{
		"id", s.ref.ID, "bot", s.bot.name, "count", count, "audit", s.bot.store.audit(ctx, s.ref, "drop", count+" events", true),
	}))
	if err == nil {
		s.bot.store.tellDropped(s.ref)
	}
	return err
}

// Unlock takes the session from whoever holds it under that token, which
// [session.Lease] has: the holder is fenced, what it had in hand is due at once, and
// one crash is counted. The caller of an Update gets [session.ErrFenced]. Replies that
// were being sent may be sent twice, with the same [Delivery.Key]. It returns
// [session.ErrChanged] if nobody holds the session under that token.
func (s *Session) Unlock(ctx context.Context, token string) (err error) {
	defer s.wrap("unlock", &err)
	return s.act(ctx, ask(lua.Unlock, []string{
		"id", s.ref.ID, "bot", s.bot.name, "token", token, "audit", s.bot.store.audit(ctx, s.ref, "unlock", "", true),
	}))
}

// act runs the script of an act, and wakes somebody if it leaves work.
func (s *Session) act(ctx context.Context, q request) error {
	_, err := s.actOn(ctx, q)
	return err
}

// actOn is act with the script's reply.
func (s *Session) actOn(ctx context.Context, q request) (r reply, err error) {
	ctx, done := s.bot.store.act(ctx, q.script.Name, s.ref)
	defer func() { done(err) }()
	at, err := s.bot.place(s.ref.ID)
	if err == nil {
		err = s.bot.store.inTurn(ctx, s.ref, false)
	}
	if err != nil {
		return reply{}, err
	}
	r, err = s.bot.store.do(ctx, at, q)
	if err == nil && r.Has("next") {
		s.bot.wakeFor(r.Next().Status(), at)
	}
	return r, err
}

// A found is the head of a session, as find has read it.
type found struct {
	digest string // digest is that of the event; empty for a reply
	event  *event // event is nil for a reply
	own    own    // own is what the event leaves in the chat

	failed session.Retry // failed is how often it has failed
}

// find reads the head of the session, and returns session.ErrChanged if that is not what
// the caller means.
func (s *Session) find(ctx context.Context, head Head) (f found, err error) {
	if (head.Event == "") == (head.Reply == "") {
		return f, fmt.Errorf("%w: a Head has the id of an event, or the key of a reply", session.ErrInvalid)
	}
	if err := s.bot.store.inTurn(ctx, s.ref, false); err != nil {
		return f, err
	}
	r, rec, err := s.heads(ctx)
	if err != nil {
		return f, err
	}
	if head.Reply != "" {
		u, _, err := s.nextReply(r)
		switch {
		case err != nil:
			return f, err
		case u == nil:
			return f, fmt.Errorf("%w: no reply is to be sent", session.ErrChanged)
		case u.Reply.String() != head.Reply:
			return f, fmt.Errorf("%w: at the head is reply %s", session.ErrChanged, u.Reply)
		}
		f.failed = rec.Status().Reply
		return f, nil
	}
	e, _, err := s.nextEvent(r)
	switch {
	case err != nil:
		return f, err
	case e == nil:
		return f, fmt.Errorf("%w: no event is to be handled", session.ErrChanged)
	case e.ID != head.Event:
		return f, fmt.Errorf("%w: at the head is event %q", session.ErrChanged, e.ID)
	}
	f.event, f.digest, f.own = e, string(e.digest), s.bot.store.own(e, false)
	f.failed = rec.Status().Event
	return f, nil
}
