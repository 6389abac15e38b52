package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Turn is the handling of one event. It shows the session as it was when the
// turn began, with what the handler has done to it since, and collects that.
// When the handler returns nil, all of it is committed at once.
//
// The methods that change the turn return no error. Instead the first one that
// fails (a value that cannot be encoded, a wrong type, a bad name) fails the
// turn, which [Turn.Err] shows: nothing is committed, whatever the handler
// returns, and the event becomes a dead letter without another attempt. Values
// are encoded at once, so the handler may change them afterwards.
//
// A Turn may be used by several goroutines of its handler, but only until the
// handler returns. After that its methods change nothing; they log an error,
// and Err returns one.
type Turn struct {
	bot     *Bot
	opts    *BotOptions
	ref     session.Ref
	event   *event // nil in an Update
	attempt int
	rec     *stored.Record
	log     func() *slog.Logger

	mu        sync.Mutex      // a goroutine of the handler's may outlive it
	over      bool            // the handler has returned, or was left alone
	change    session.Change  // but for the chat, and what the event brings
	destroy   bool            // the session ends with this turn
	chat      []entry         // the event's messages, then what the handler said
	own       own             // what the event brings, until a Reset drops it
	state     string          // after the moves so far
	flags     map[string]bool // that this turn set; consumed ones are false
	cleared   bool            // a reset hides what rec holds
	intent    codec.Encoded   // as set by this turn
	intentSet bool
	file      *session.File // the event's, until a Reset
	err       error
	badData   error // the first failure of a verb that a Reset makes good
}

func newTurn(b *Bot, opts *BotOptions, ref session.Ref, rec *stored.Record, e *event, attempt int, log func() *slog.Logger) *Turn {
	t := &Turn{bot: b, opts: opts, ref: ref, event: e, attempt: attempt, rec: rec, log: log, state: rec.State()}
	t.change.From = rec.State()
	if e == nil {
		return t
	}
	t.own = b.store.own(e, true)
	t.chat = t.own.chat
	if e.File != nil {
		t.file = e.File
		t.setFlag(session.FlagFile, true)
	}
	return t
}

// close ends the turn: verbs that come later change nothing.
func (t *Turn) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

// end closes the turn, and returns what it writes, or why it cannot. The end of
// a turn lowers the flags of intent and file in any case, so also those that a
// live call raised meanwhile; lowering what is down is no change.
func (t *Turn) end() (w written, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if err := t.failure(); err != nil {
		return w, err
	}
	w = written{change: t.change, destroy: t.destroy, own: t.own, chat: t.chat}
	w.dirty = !empty(t.change) || t.intentSet || len(t.chat)+len(t.own.fields) > 0
	for name, up := range t.flags {
		w.dirty = w.dirty || t.cleared || up != t.rec.Flag(name)
	}
	if t.event != nil {
		w.event = t.event.ID
		for _, name := range []string{session.FlagIntent, session.FlagFile} {
			w.dirty = w.dirty || t.rec.Flag(name)
			t.setFlag(name, false)
		}
	}
	w.change.Flags = t.flags
	if err := t.bot.encode(&w); err != nil {
		return w, err
	}
	if t.intentSet {
		w.set = append(w.set, stored.FieldIntent, string(t.intent))
	}
	return w, t.tooMuchData()
}

// verb begins a verb: what has to be encoded is, and err says how that went. It
// reports whether the verb may go on; then the caller ends it by mu.Unlock. of is
// what the verb is about, if its name does not say that.
func (t *Turn) verb(name string, err error, of ...string) bool {
	t.mu.Lock()
	if !t.over && err == nil {
		return true
	}
	for _, what := range of {
		name += " " + strconv.Quote(what)
	}
	if t.over {
		t.log().Error("verb of a turn that is over: it changes nothing", "verb", name)
		err = errors.New("the turn is over: the handler has returned, or was left alone")
	}
	t.keep(&t.err, fmt.Errorf("%s: %w", name, err))
	t.mu.Unlock()
	return false
}

func (t *Turn) keep(first *error, err error) {
	if *first == nil {
		*first = err
	}
}

// fail notes a failed read of what the session holds, which a Reset makes good.
func (t *Turn) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(&t.badData, err)
}

func (t *Turn) failure() error {
	if t.err != nil {
		return t.err
	}
	return t.badData
}

// Err returns the first failure of a method, which fails the turn, or nil.
func (t *Turn) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure()
}

// Ref returns the session's name.
func (t *Turn) Ref() session.Ref { return t.ref }

// Event returns the event that is handled. In an Update it is the zero Event.
func (t *Turn) Event() session.Event {
	if t.event == nil {
		return session.Event{}
	}
	return t.event.Event
}

// Payload decodes the event's payload into the value that into points to, and
// reports whether it did. It returns false if there is none; a payload that
// does not fit fails the turn.
func (t *Turn) Payload(into any) bool {
	if t.event == nil || t.event.payload == nil {
		return false
	}
	if err := codec.Decode(t.event.payload, into); err != nil {
		if t.verb("payload", err) {
			t.mu.Unlock()
		}
		return false
	}
	return true
}

// First reports whether this is the first turn of the session's life.
func (t *Turn) First() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Turns() == 0 || t.cleared
}

// Attempt returns 1 at first, and one more for each time that the handler
// failed or its replica died.
func (t *Turn) Attempt() int { return t.attempt }

// Snapshot returns the session as it was when the turn began, without what the
// turn did since. What cannot be decoded is missing, and fails the turn.
func (t *Turn) Snapshot() session.Snapshot {
	snap, err := t.rec.Snapshot()
	if err != nil {
		t.fail(err)
	}
	return snap
}

// State returns the session's state, after the turn's moves.
func (t *Turn) State() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// Move moves the session to a state, which may have any name that
// [session.ValidState] accepts. It consumes the intent and the file: from then
// on [Turn.Match] and [Turn.MatchFile] return nil.
func (t *Turn) Move(to string) {
	if !t.verb("move", session.ValidState(to)) {
		return
	}
	defer t.mu.Unlock()
	t.state = to
	t.change.Moves = append(t.change.Moves, to)
	t.setFlag(session.FlagIntent, false)
	t.setFlag(session.FlagFile, false)
}

// SetTTL gives the session its own time to live. Negative means that it never
// expires, zero gives it that of the bot again.
func (t *Turn) SetTTL(d time.Duration) {
	if !t.verb("set time to live", nil) {
		return
	}
	defer t.mu.Unlock()
	t.change.TTL = &d
}

// Reset begins a new life in the bot's initial state, in which the turn goes
// on. Data, flags, intent, file and last message are deleted, and with them
// what this turn did to them so far; the chat is kept with [session.KeepChat]
// and deleted with [session.DropChat]. A turn that failed because it could not
// read what is deleted has not failed any more.
func (t *Turn) Reset(r session.Reset) {
	t.reset("reset", checkReset(r), r, false)
}

// Destroy deletes the session with this turn, also its chat. The turn's
// replies are still sent. Events that wait start a new session.
func (t *Turn) Destroy() {
	t.reset("destroy", nil, session.DropChat, true)
}

func (t *Turn) reset(verb string, err error, r session.Reset, destroy bool) {
	if !t.verb(verb, err) {
		return
	}
	defer t.mu.Unlock()
	t.change.Reset = r
	t.destroy = t.destroy || destroy
	t.change.Moves, t.change.Set, t.change.Delete = nil, nil, nil
	t.own.fields, t.own.file, t.file = nil, nil, nil
	t.intent, t.intentSet, t.flags = nil, false, nil
	t.cleared, t.badData = true, nil
	t.state = t.opts.Initial
}
