package store

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// crashFactor is how many more hand-outs than failures an event may have that
// were never heard of again. A replica that dies takes all its turns with it,
// and most of them are not to blame.
const crashFactor = 4

// deadLife is how long a dead letter is kept.
const deadLife = 30 * 24 * time.Hour

// def gives a zero option its default.
func def[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// A Bot is one bot: its sessions, and what this process does to serve them. It
// is safe for concurrent use. [Store.Bot] returns it.
type Bot struct {
	store *Store
	name  string
	given *BotOptions // what this program declared, with defaults; nil if nothing. Guarded by store.bots.mu
	kept  atomic.Pointer[settings]
	told  atomic.Pointer[words]

	serving atomic.Pointer[runner] // while Serve runs
}

// Name returns the bot's name.
func (b *Bot) Name() string { return b.name }

func (b *Bot) place(id string) (place, error) {
	if err := b.store.usable(); err != nil {
		return place{}, err
	}
	ref := session.Ref{Bot: b.name, ID: id}
	if err := ref.Validate(); err != nil {
		return place{}, err
	}
	return b.store.layout.place(ref), nil
}

// Accept queues an event for the session with that id, and creates the session
// if there is none. When Accept returns without an error, the event will be
// handled or become a dead letter, whatever happens to this process. An event
// whose id was accepted before is not an error: it is not queued again, and
// its receipt is [Receipt.Duplicate] and has the outcome of the first one. If
// this process serves the bot, has room, and the session is idle, the turn
// starts here at once; otherwise whoever serves the bot handles it.
//
// Accept does not wait for the turn; [Receipt.Wait] does.
//
// If Accept returns an error, do not rely on the event: let the platform deliver
// it again. The errors are
//
//   - [session.ErrInvalid], and with it [session.ErrTooLarge], for an event
//     that can never be accepted: here a webhook returns 400, for all others
//     503;
//   - [session.ErrInboxFull] if too many events wait for the session;
//   - [session.ErrUnknownOutcome] if the server did not reply in time: the
//     event may have been accepted, and delivering it again is safe, because
//     of its id;
//   - [session.ErrCorrupt] or [session.ErrNewerLayout] for a session that
//     cannot be read;
//   - the server's or the network's error.
func (b *Bot) Accept(ctx context.Context, id string, e session.Event) (*Receipt, error) {
	at, err := b.place(id)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	ctx, o := b.store.begin(ctx, Stage{Kind: StageAccept, Ref: at.ref, EventID: e.ID, Attempt: 1})
	r, err := b.accept(ctx, at, e)
	o.end(acceptResult(r, err))
	if err != nil {
		return nil, fmt.Errorf("accept for %s: %w", at.ref, err)
	}
	return r, nil
}

func (b *Bot) accept(ctx context.Context, at place, e session.Event) (*Receipt, error) {
	opts := b.current(ctx)
	event, err := b.encodeEvent(e, opts)
	if err != nil {
		return nil, err
	}
	if trace := b.store.traceOf(ctx); event.size()+len(trace) <= opts.InboxBytes { // it is worth no event
		event.extras.Trace = trace
	}
	r := b.serving.Load()
	var s *slot
	want := ""
	if r != nil {
		if s = r.tryEnter(); s != nil {
			want = b.words(opts).room
		}
	}
	event.window = b.store.window(opts)
	var known *stored.Record
	small, record := event.fitsHand(), ""
	if want != "" && small {
		if known = b.store.known.take(b.store.identity().id, at.ref); known != nil {
			record = known.Text()
		}
	}
	if known != nil && r.serve.Eager && r.tries.may() {
		return b.acceptEagerly(ctx, r, s, at, event, opts, known)
	}
	began := time.Now()
	answer, err := b.store.do(ctx, at, b.askAccept(opts, at, event, want, small, record))
	receipt := &Receipt{Ref: at.ref, EventID: e.ID, bot: b, at: at, digest: event.digest}
	if err == nil && answer.Status() == "OK" {
		receipt.Created, receipt.accepted = answer.Int("created") == 1, began
		receipt.here = b.goOn(r, s, at, began, answer, event, known)
		return receipt, nil
	}
	s.leave()
	if err != nil {
		return nil, err
	}
	receipt.Duplicate = true
	return receipt, nil
}

// askAccept asks for an event to be accepted.
func (b *Bot) askAccept(o *BotOptions, at place, e *event, want string, small bool, record string) request {
	w := b.words(o)
	return ask(lua.Accept, []string{
		"id", at.ref.ID, "bot", b.name, "digest", string(e.digest), "event", e.extras.With(e.encoded), "window", strconv.FormatInt(e.window, 10),
		"limit", w.limit, "bytes", w.bytes, "want", want, "lease", w.lease,
		"initial", o.Initial, "platform", e.Platform, "user", e.User, "ttl", w.ttl, "small", flag(small), "known", record,
	})
}

// goOn does what an accept left to do: run the turn that was handed out, of which
// the promise tells, wake somebody, or nothing.
func (b *Bot) goOn(r *runner, s *slot, at place, began time.Time, answer reply, e *event, known *stored.Record) *promise {
	next := answer.Next()
	switch {
	case s != nil && next.Status() == "hand":
		return r.startsOn(e, r.inHand(at, began, answer, e, known), s)
	case s != nil && next.Status() == string(session.WorkEvent):
		return r.startsOn(e, r.hold(at, began, next), s)
	case s != nil && next.Status() == "due" && !r.isStopping():
		r.spawnClaim(at, s)
	default:
		s.leave()
		b.wakeFor(next.Status(), at)
	}
	return nil
}

// startsOn begins the turn of an event that was accepted here.
func (r *runner) startsOn(e *event, h *hold, s *slot) *promise {
	h.event = e
	p := newPromise()
	e.promise = p
	r.spawn(h, s)
	return p
}

// bury runs destroy in one of its modes. What is not there (any more) is an error
// of mode now alone.
func (s *Store) bury(ctx context.Context, at place, mode string) (Destroyed, error) {
	audit := ""
	if mode == "now" {
		audit = s.audit(ctx, at.ref, "destroy", "", false)
	}
	r, err := s.do(ctx, at, ask(lua.Destroy, []string{"id", at.ref.ID, "bot", at.ref.Bot, "mode", mode, "audit", audit}))
	if err != nil || r.Status() == "NOTHING" {
		return Destroyed{}, err
	}
	dropped := Destroyed{Events: r.Int("waiting"), Replies: r.Int("unsent")}
	if dropped.Events > 0 {
		s.tellDropped(at.ref)
	}
	return dropped, nil
}

// An event is a session.Event with its stored form.
type event struct {
	session.Event
	payload codec.Encoded
	extras  stored.Extras
	encoded codec.Encoded
	digest  ids.Digest // names it in the inbox and among the events seen
	err     error      // it could not be decoded
	at      int64      // when it was accepted, by the server's clock, ms; of one that was read from the inbox
	window  int64      // for how long its id is remembered, ms; of one that was accepted here

	promise *promise // of the receipt, if this process accepted it and handles it at once
}

// fitsHand reports whether an event may wait in the session's hash: a small one, whose
// text becomes the last message there anyway, or a very small one.
func (e *event) fitsHand() bool {
	if e.File == nil && e.payload == nil {
		return len(e.encoded) <= 4096+512 // a text of 4 KiB, with ids and names
	}
	return len(e.encoded) <= 400
}

// size is how many bytes an event of this process has in the inbox, without a trace.
func (e *event) size() int { return stored.AcceptedHead + ids.TagSize + len(e.encoded) }

// settle tells those who wait how a session's event ended, with its turn's messages. An
// empty status means that this is to be looked at.
func (s *Store) settle(ref session.Ref, e *event, status session.OutcomeStatus, why string, chat []entry) {
	p := e.promise
	if p == nil && s.told.interest.Load() == 0 {
		return
	}
	end := ending{status: status, why: why}
	for _, m := range chat {
		if m.message.From == session.FromBot {
			end.replies = append(end.replies, m)
		}
	}
	taken := p != nil && status != ""
	if taken {
		p.ending, e.promise = end, nil
		close(p.done)
	}
	s.tell(ref, e, end, taken)
}

func (b *Bot) encodeEvent(e session.Event, opts *BotOptions) (*event, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	encoded, err := stored.EncodeEvent(b.store.opts.Codec, e)
	if err != nil {
		return nil, fmt.Errorf("event %q: %w", e.ID, err)
	}
	if err := b.store.tooLarge("event", e.ID, len(encoded)); err != nil {
		return nil, err
	}
	made := &event{Event: e, extras: stored.Extras{From: b.store.tag}, encoded: encoded, digest: ids.DigestOf(e.ID)}
	if size, most := made.size(), opts.InboxBytes; size > most {
		return nil, fmt.Errorf("%w: event %q has %d bytes, and an inbox takes %d (BotOptions.InboxBytes)", session.ErrTooLarge, e.ID, size, most)
	}
	// The handler sees the same here as on any replica, which decodes the event. Of one
	// without a file and a payload only the time can come back as another value.
	if e.File == nil && e.Payload == nil {
		made.Time = e.Time.Round(0).UTC()
		return made, nil
	}
	made.Event, made.payload, err = stored.DecodeEvent(encoded)
	if err != nil {
		return nil, fmt.Errorf("event %q: %w", e.ID, err)
	}
	return made, nil
}

// decodeElement reads an element of the inbox.
func decodeElement(element string) *event {
	a, err := stored.ReadAccepted([]byte(element))
	if err != nil {
		return &event{digest: ids.DigestOf(element), err: err} // under some digest it becomes a dead letter
	}
	e := &event{digest: a.Digest, extras: a.Extras, encoded: a.Event, at: a.Time.UnixMilli()}
	e.Event, e.payload, e.err = stored.DecodeEvent(e.encoded)
	return e
}
