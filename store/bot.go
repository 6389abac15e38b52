package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// BotOptions say how a bot's sessions are handled. Give the same in every
// process that uses the bot: whether there is an outbox, for instance, depends
// on Send being there. The zero value is ready for use.
type BotOptions struct {
	Initial string                     // the state in which a session begins; zero means "start"
	Start   func(session.Event) string // if set, the initial state of a session that this event creates

	Send func(context.Context, Delivery) error     // sends a reply to the platform; nil: replies are only recorded, there is no outbox
	Dead func(context.Context, session.DeadLetter) // told of a dead letter, once, by the replica that made it, so that the user can be told; beside what comes next for the session, so two of them come in any order

	TTL     time.Duration // idle time after which a session expires; zero means 30 days, negative never
	Lease   time.Duration // for how long a replica holds a session without renewing; zero means 15 s, at least 30 ms
	MaxTurn time.Duration // after which a handler, or one Send, is cancelled and its lease no longer renewed; zero means 5 min
	Grace   time.Duration // for turns that run when Serve's context ends; zero means 10 s

	MaxAttempts int           // failures of one event, or of sending one reply, until it is a dead letter; zero means 5
	Backoff     time.Duration // after the first failure; doubles with each, up to 60 times itself; zero means 1 s
	Concurrency int           // sessions that this replica handles at once; zero means 64

	HistoryLimit int           // messages kept of a chat; zero means all
	InboxLimit   int           // events that may wait for one session; zero means 1000
	InboxBytes   int           // and their bytes; zero means 16 MiB
	DedupeWindow time.Duration // for how long an event's id is remembered, at least Options.Timeout; zero means 24 h
}

// crashFactor is how many more hand-outs than failures an event may have that
// were never heard of again. A replica that dies takes all its turns with it,
// and most of them are not to blame.
const crashFactor = 4

// deadLife is how long a dead letter is kept, and deadLimit how many of a session.
const (
	deadLife  = 30 * 24 * time.Hour
	deadLimit = 100
)

func (o *BotOptions) withDefaults() (BotOptions, error) {
	var opts BotOptions
	if o != nil {
		opts = *o
	}
	def(&opts.Initial, "start")
	def(&opts.TTL, 30*24*time.Hour)
	def(&opts.Lease, 15*time.Second)
	def(&opts.MaxTurn, 5*time.Minute)
	def(&opts.Grace, 10*time.Second)
	def(&opts.MaxAttempts, 5)
	def(&opts.Backoff, time.Second)
	def(&opts.Concurrency, 64)
	def(&opts.InboxLimit, 1000)
	def(&opts.InboxBytes, 16<<20)
	def(&opts.DedupeWindow, 24*time.Hour)
	if err := session.ValidState(opts.Initial); err != nil {
		return opts, fmt.Errorf("initial %w", err)
	}
	for name, bad := range map[string]bool{
		"Lease": opts.Lease < 30*time.Millisecond, "MaxTurn": opts.MaxTurn < 0, "Grace": opts.Grace < 0,
		"MaxAttempts": opts.MaxAttempts < 0, "Backoff": opts.Backoff < 0, "Concurrency": opts.Concurrency < 0,
		"HistoryLimit": opts.HistoryLimit < 0, "InboxLimit": opts.InboxLimit < 0, "InboxBytes": opts.InboxBytes < 0,
		"DedupeWindow": opts.DedupeWindow < 0,
	} {
		if bad {
			return opts, fmt.Errorf("%w: BotOptions.%s is negative, or a Lease under 30 ms", session.ErrInvalid, name)
		}
	}
	return opts, nil
}

// def gives a zero option its default.
func def[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// A Bot is one bot's sessions, and this process' part in serving them. It is
// safe for concurrent use.
type Bot struct {
	store *Store
	name  string
	opts  BotOptions
	err   error // of the name or the options, answered by every method

	serving atomic.Pointer[runner] // while Serve runs
	fleet   fleet
}

// Bot returns the bot of that name. There is no I/O, and nothing to close. A bad
// name or bad options show as [session.ErrInvalid] at the first use.
func (s *Store) Bot(name string, opts *BotOptions) *Bot {
	b := &Bot{store: s, name: name}
	b.opts, b.err = opts.withDefaults()
	if err := session.ValidBot(name); err != nil {
		b.err = err
	}
	return b
}

// Name returns the bot's name.
func (b *Bot) Name() string { return b.name }

func (b *Bot) place(id string) (place, error) {
	if err := b.usable(); err != nil {
		return place{}, err
	}
	ref := session.Ref{Bot: b.name, ID: id}
	if err := ref.Validate(); err != nil {
		return place{}, err
	}
	return b.store.layout.place(ref), nil
}

// Accept takes an event for the session of that id, which it makes if there is
// none. When it returns without an error the event will be handled, or become a
// dead letter, whatever happens to this process. An event whose id was accepted
// before is no error: the receipt says Duplicate, and waits for the same
// outcome. If this process serves the bot and has room, and the session is
// idle, the turn starts here at once; else whoever serves the bot handles it.
//
// An error means that the event is not accepted: let the platform deliver it
// again. It is [session.ErrInvalid] or [session.ErrTooLarge] for an event that
// can never be accepted; [session.ErrInboxFull] if too many wait;
// [session.ErrUnknownOutcome] if no answer came (deliver again: the id makes it
// safe); [session.ErrCorrupt] or [session.ErrNewerLayout] for a session that
// cannot be read; else the server's or the network's error.
func (b *Bot) Accept(ctx context.Context, id string, e session.Event) (*Receipt, error) {
	if b.err != nil { // not the event's fault: no ErrInvalid, by which a webhook would drop it
		return nil, fmt.Errorf("accept: the bot cannot be used: %v", b.err)
	}
	at, err := b.place(id)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	r, err := b.accept(ctx, at, e)
	if err != nil {
		return nil, fmt.Errorf("accept for %s: %w", at.ref, err)
	}
	return r, nil
}

func (b *Bot) accept(ctx context.Context, at place, e session.Event) (*Receipt, error) {
	event, err := b.encodeEvent(e)
	if err != nil {
		return nil, err
	}
	initial := b.opts.Initial
	if b.opts.Start != nil {
		log := func() *slog.Logger { return b.store.log.With("session", at.ref.String(), "event", e.ID) }
		if fail := protect(log, "Start", func() error { initial = b.opts.Start(event.Event); return nil }); fail != nil {
			return nil, errors.New(fail.text)
		}
		if err := session.ValidState(initial); err != nil {
			return nil, fmt.Errorf("BotOptions.Start: initial %v", err) // the program's fault, not the event's
		}
	}
	r := b.serving.Load()
	var s *slot
	want := ""
	if r != nil {
		if s = r.tryEnter(); s != nil {
			want = b.room()
		}
	}
	began := time.Now()
	answer, err := b.store.do(ctx, lua.Accept, at, at.ref.ID, b.name, event.digest, string(event.encoded), millis(b.opts.DedupeWindow),
		strconv.Itoa(b.opts.InboxLimit), strconv.Itoa(b.opts.InboxBytes), want, millis(b.opts.Lease), initial, e.Platform, e.User, millis(b.opts.TTL))
	receipt := &Receipt{Ref: at.ref, EventID: e.ID, bot: b, at: at, digest: event.digest}
	if err == nil && answer.Status() == "OK" {
		receipt.Created = answer.Int(2) == 1
		receipt.here = b.goOn(r, s, at, began, answer.List(3), event)
		return receipt, nil
	}
	s.leave()
	if err != nil {
		return nil, err
	}
	receipt.Duplicate = true
	return receipt, nil
}

// goOn does what an accept left to do: run the turn that was handed out, of which
// the promise tells, wake somebody, or nothing.
func (b *Bot) goOn(r *runner, s *slot, at place, began time.Time, next reply, e *event) *promise {
	switch {
	case s != nil && next.Text(0) == string(session.WorkEvent):
		h := r.hold(at, began, next)
		h.event = e
		p := newPromise()
		e.promise = p
		r.spawn(h, s)
		return p
	case s != nil && next.Text(0) == "due":
		r.spawnClaim(at, s)
	default:
		s.leave()
		b.wakeFor(next, at)
	}
	return nil
}

// bury runs destroy in one of its modes. What is not there (any more) is an error
// of mode now alone.
func (s *Store) bury(ctx context.Context, at place, mode string) (Destroyed, error) {
	r, err := s.do(ctx, lua.Destroy, at, at.ref.ID, at.ref.Bot, mode)
	return Destroyed{Events: r.Int(2), Replies: r.Int(3)}, err
}

// An event is a session.Event with its stored form.
type event struct {
	session.Event
	payload codec.Encoded
	encoded codec.Encoded
	digest  string // names it in the inbox and among the events seen
	err     error  // it could not be decoded

	promise *promise // of the receipt, if this process accepted it and handles it at once
}

// settle tells the receipt how its event ended, with its turn's messages.
func (e *event) settle(status session.OutcomeStatus, why string, chat []entry) {
	p := e.promise
	if p == nil {
		return
	}
	p.status, p.why = status, why
	for _, m := range chat {
		if m.message.From == session.FromBot {
			p.replies = append(p.replies, m)
		}
	}
	close(p.done)
	e.promise = nil
}

func (b *Bot) encodeEvent(e session.Event) (*event, error) {
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
	if most := b.opts.InboxBytes; stored.EventHead+len(encoded) > most {
		return nil, fmt.Errorf("%w: event %q has %d bytes, and an inbox takes %d (BotOptions.InboxBytes)", session.ErrTooLarge, e.ID, stored.EventHead+len(encoded), most)
	}
	// Decoded again, so that the handler sees the same here as on any replica.
	decoded, payload, err := stored.DecodeEvent(encoded)
	if err != nil {
		return nil, fmt.Errorf("event %q: %w", e.ID, err)
	}
	return &event{Event: decoded, payload: payload, encoded: encoded, digest: digestOf(e.ID)}, nil
}

// decodeElement reads an element of the inbox.
func decodeElement(element string) *event {
	if len(element) < stored.EventHead {
		return &event{digest: "?" + element, err: fmt.Errorf("%w: an inbox element of %d bytes", session.ErrCorrupt, len(element))}
	}
	e := &event{digest: element[:16], encoded: codec.Encoded(element[stored.EventHead:])}
	e.Event, e.payload, e.err = stored.DecodeEvent(e.encoded)
	return e
}

// digestOf shortens an event's id to 16 bytes, so that a session's ids stay
// compact whatever the platform sends.
func digestOf(eventID string) string {
	sum := sha256.Sum256([]byte(eventID))
	return string(sum[:16])
}
