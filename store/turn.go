package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Turn is the handling of one event by one replica. It shows the session as
// it was handed out, buffers what the handler does to it, and reads its own
// writes. When the handler returns nil all of it is committed at once.
//
// What a verb is given it encodes, so it may be changed afterwards. The verbs
// return no error: the first that fails (a value that has no encoding, a wrong
// type, a bad name) fails the turn, and [Turn.Err] shows it early. Such a turn is
// not tried again: its event becomes a dead letter.
//
// A Turn is for its handler. Once that has returned, the verbs change nothing:
// that is logged, and [Turn.Err] says so.
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
	chat      []entry         // the event's messages, then what the handler said
	own       own             // what the event brings, until a Reset drops it
	set       map[string]int  // private data: bytes, encoded
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
	w = written{change: t.change, own: t.own, chat: t.chat}
	changed := maps.Clone(t.flags)
	maps.DeleteFunc(changed, func(name string, up bool) bool { return !t.cleared && up == t.rec.Flag(name) })
	w.dirty = !empty(t.change) || t.intentSet || len(changed)+len(t.chat)+len(t.own.fields) > 0
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

// tooMuchData returns session.ErrTooLarge if the turn makes the private data
// larger, and larger than Options.MaxData.
func (t *Turn) tooMuchData() error {
	before := 0
	size := map[string]int{}
	if !t.cleared {
		for _, key := range t.rec.Keys() {
			value, _ := t.rec.Value(key)
			size[key] = len(value)
			before += len(value)
		}
	}
	after := before
	for key, bytes := range t.set {
		after += bytes - size[key]
		delete(size, key)
	}
	for _, key := range t.change.Delete {
		after -= size[key]
	}
	if after > before && after > t.bot.store.opts.MaxData {
		return tooMuchData(after, t.bot.store.opts.MaxData)
	}
	return nil
}

func (t *Turn) setFlag(name string, up bool) {
	if t.flags == nil {
		t.flags = map[string]bool{}
	}
	t.flags[name] = up
}

// verb begins a verb: what has to be encoded is, and err says how that went. It
// reports whether the verb may go on; then the caller ends it by mu.Unlock.
func (t *Turn) verb(name string, err error) bool {
	t.mu.Lock()
	switch {
	case t.over:
		t.log().Error("verb of a turn that is over: it changes nothing", "verb", name)
		t.keep(&t.err, fmt.Errorf("%s: the turn is over: the handler has returned, or was left alone", name))
	case err != nil:
		t.keep(&t.err, fmt.Errorf("%s: %w", name, err))
	default:
		return true
	}
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

// Err returns the first failure of a verb, or nil.
func (t *Turn) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure()
}

// Ref returns the session's name.
func (t *Turn) Ref() session.Ref { return t.ref }

// Event returns the event that is handled; the zero Event in an Update.
func (t *Turn) Event() session.Event {
	if t.event == nil {
		return session.Event{}
	}
	return t.event.Event
}

// Payload decodes the event's payload into the value that into points to, and
// reports whether there was one. A payload that does not fit fails the turn.
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

// First reports whether this is the first event of the session's life.
func (t *Turn) First() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rec.Turns() == 0 || t.cleared
}

// Attempt returns 1 when the event is handed out for the first time, and one
// more for each time that its handler failed or was never heard of again.
func (t *Turn) Attempt() int { return t.attempt }

// Snapshot returns the session as it was when the turn began. What cannot be
// decoded is missing in it, and fails the turn.
func (t *Turn) Snapshot() session.Snapshot {
	snap, err := t.rec.Snapshot()
	if err != nil {
		t.fail(err)
	}
	return snap
}

// State returns the state, after this turn's moves.
func (t *Turn) State() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// Move moves the session to a state. The first move of a turn consumes the
// intent and the file: [Turn.Match] and [Turn.MatchFile] are nil from there on.
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

// Get returns a value of the private data, as package codec decodes it into
// any. A stored nil is found. For a Go type of your own, see [Key].
func (t *Turn) Get(key string) (value any, found bool) {
	return Key[any](key).Get(t)
}

// value returns the encoded value, the turn's own before the session's.
func (t *Turn) value(key string) (codec.Encoded, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own, ok := t.change.Set[key]; ok {
		return own.(codec.Encoded), true
	}
	if t.cleared || slices.Contains(t.change.Delete, key) {
		return nil, false
	}
	return t.rec.Value(key)
}

// Keys returns the keys of the private data, sorted.
func (t *Turn) Keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := map[string]bool{}
	if !t.cleared {
		for _, key := range t.rec.Keys() {
			keys[key] = true
		}
	}
	for key := range t.change.Set {
		keys[key] = true
	}
	for _, key := range t.change.Delete {
		delete(keys, key)
	}
	return slices.Sorted(maps.Keys(keys))
}

// Set sets a value of the private data: any value that the codec can encode.
func (t *Turn) Set(key string, value any) {
	var encoded codec.Encoded
	err := session.ValidKey("key", key)
	if err == nil {
		encoded, err = t.bot.store.opts.Codec.Encode(value)
	}
	if err == nil {
		err = t.bot.store.tooLarge("the value", "", len(encoded))
	}
	if !t.verb(fmt.Sprintf("private data %q", key), err) {
		return
	}
	defer t.mu.Unlock()
	if t.change.Set == nil {
		t.change.Set, t.set = map[string]any{}, map[string]int{}
	}
	t.change.Set[key], t.set[key] = encoded, len(encoded)
	t.change.Delete = slices.DeleteFunc(t.change.Delete, func(other string) bool { return other == key })
}

// Delete deletes a key of the private data. One that is not there is no error.
func (t *Turn) Delete(key string) {
	if !t.verb("delete", session.ValidKey("key", key)) {
		return
	}
	defer t.mu.Unlock()
	delete(t.change.Set, key)
	delete(t.set, key)
	if _, found := t.rec.Value(key); found && !t.cleared && !slices.Contains(t.change.Delete, key) {
		t.change.Delete = append(t.change.Delete, key)
	}
}

// Intent returns the last predicted intent, or nil: a copy of the caller's own.
// It stays readable after a move has consumed it; [Turn.Match] does not.
func (t *Turn) Intent() *session.Intent {
	t.mu.Lock()
	encoded, set, cleared := t.intent, t.intentSet, t.cleared
	t.mu.Unlock()
	read := t.rec.Intent
	switch {
	case set:
		read = func() (*session.Intent, error) { return stored.DecodeIntent(encoded) }
	case cleared:
		return nil
	}
	intent, err := read()
	if err != nil {
		t.fail(err)
	}
	return intent
}

// SetIntent sets the predicted intent, even nil, and raises
// [session.FlagIntent].
func (t *Turn) SetIntent(intent *session.Intent) {
	encoded, err := stored.EncodeIntent(t.bot.store.opts.Codec, intent)
	if err == nil {
		err = t.bot.store.tooLarge("the intent", "", len(encoded))
	}
	if !t.verb("intent", err) {
		return
	}
	defer t.mu.Unlock()
	t.intent, t.intentSet = encoded, true
	t.setFlag(session.FlagIntent, true)
}

// Match returns the predicted intent if it has this name and no move has
// consumed it yet, else nil.
func (t *Turn) Match(name string) *session.Intent {
	if !t.Flag(session.FlagIntent) {
		return nil
	}
	if intent := t.Intent(); intent != nil && intent.Name == name {
		return intent
	}
	return nil
}

// File returns the last file, or nil. Its bytes are there if it came with this
// event; [Session.File] reads those of an earlier one.
func (t *Turn) File() *session.File {
	t.mu.Lock()
	own, cleared := t.file, t.cleared
	t.mu.Unlock()
	if own != nil || cleared {
		return own
	}
	file, err := t.rec.File()
	if err != nil {
		t.fail(err)
	}
	return file
}

// MatchFile returns the last file if no move has consumed it yet and it is of
// one of the media types (of any, if none is given), else nil.
func (t *Turn) MatchFile(mediaTypes ...string) *session.File {
	if !t.Flag(session.FlagFile) {
		return nil
	}
	file := t.File()
	if file == nil || len(mediaTypes) > 0 && !slices.ContainsFunc(mediaTypes, func(m string) bool { return strings.EqualFold(m, file.Type) }) {
		return nil
	}
	return file
}

// Flag reports whether a flag is up.
func (t *Turn) Flag(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if up, ok := t.flags[name]; ok {
		return up
	}
	return !t.cleared && t.rec.Flag(name)
}

// SetFlag raises or lowers a flag. The end of the turn lowers
// [session.FlagIntent] and [session.FlagFile] in any case.
func (t *Turn) SetFlag(name string, up bool) {
	if !t.verb("flag", session.ValidKey("flag", name)) {
		return
	}
	defer t.mu.Unlock()
	t.setFlag(name, up)
}

// Reply appends a text of the bot's to the chat; it is sent after the commit.
func (t *Turn) Reply(text string) { t.ReplyWith(session.Message{Content: text}) }

// ReplyWith is Reply with a message of any type. Its author is the bot.
func (t *Turn) ReplyWith(m session.Message) {
	m.From = session.FromBot
	t.say("reply", m, true)
}

// Record appends a message to the chat without sending it. Its author is the
// bot unless From says otherwise.
func (t *Turn) Record(m session.Message) {
	t.say("record", m, false)
}

func (t *Turn) say(verb string, m session.Message, send bool) {
	e, err := t.bot.entry(m, send)
	if !t.verb(verb, err) {
		return
	}
	defer t.mu.Unlock()
	t.chat = append(t.chat, e)
}

// History returns a part of the chat as this turn sees it: what was stored when
// it began, then its own message and replies, with the numbers that follow. What
// others append meanwhile shows in the next turn (and moves the numbers of this
// one's), what waits behind this turn never. Its own messages have no time yet: they
// are behind every moment. It costs a round trip.
func (t *Turn) History(ctx context.Context, query session.Query) (chat []session.Message, err error) {
	q := partOf(query)
	t.mu.Lock()
	said, dropped := slices.Clone(t.chat), t.change.Reset == session.DropChat
	t.mu.Unlock()
	var own []session.Message
	last := t.rec.Seq()
	for i, e := range said {
		e.message.Seq = last + 1 + int64(i)
		m, err := e.read()
		if err != nil {
			return nil, err
		}
		if m.Seq > q.after {
			own = append(own, m)
		}
	}
	if !q.until.IsZero() {
		own = nil // they have no time yet: see above
	}
	before := q
	before.waiting = false
	if q.limit > 0 && q.newest {
		before.limit = q.limit - len(own)
	}
	if !dropped && q.after < last && (before.limit > 0 || q.limit <= 0) {
		if chat, err = t.before(ctx, before, last); err != nil {
			return chat, err
		}
	}
	return cut(append(chat, own...), q), nil
}

// before reads the chat up to the message last. Live calls may have appended
// others behind it since: of the newest it so asks for some more.
func (t *Turn) before(ctx context.Context, q chatPart, last int64) ([]session.Message, error) {
	behind := func(m session.Message) bool { return m.Seq > last }
	for more := 0; ; more = more*2 + 10 {
		wider := q
		if q.newest && q.limit > 0 {
			wider.limit += more
		}
		chat, err := t.bot.Session(t.ref.ID).history(ctx, wider)
		newer := len(chat)
		chat = slices.DeleteFunc(chat, behind)
		newer -= len(chat)
		if err != nil || newer <= more || q.limit <= 0 || !q.newest {
			return cut(chat, q), err
		}
	}
}

// cut applies a query's limit.
func cut(chat []session.Message, q chatPart) []session.Message {
	switch {
	case q.limit <= 0 || len(chat) <= q.limit:
		return chat
	case q.newest:
		return chat[len(chat)-q.limit:]
	}
	return chat[:q.limit]
}

// SetTTL gives the session a time to live of its own: negative means for ever,
// zero the bot's again.
func (t *Turn) SetTTL(d time.Duration) {
	if !t.verb("set time to live", nil) {
		return
	}
	defer t.mu.Unlock()
	t.change.TTL = &d
}

// Reset begins a new life in the initial state: data, flags, intent, file and
// message are gone, as is what this turn did to them so far, and what it failed
// to read of them; the chat stays with [session.KeepChat] and is gone with
// [session.DropChat]. The turn goes on in the new life.
func (t *Turn) Reset(r session.Reset) {
	t.reset("reset", checkReset(r), session.Change{Reset: r})
}

// Destroy ends the session's life with this turn. Its replies are still sent;
// its chat and everything else is gone. Events that wait start a fresh session.
func (t *Turn) Destroy() {
	t.reset("destroy", nil, session.Change{Reset: session.DropChat, Destroy: true})
}

func (t *Turn) reset(verb string, err error, c session.Change) {
	if !t.verb(verb, err) {
		return
	}
	defer t.mu.Unlock()
	t.change.Reset = c.Reset
	t.change.Destroy = t.change.Destroy || c.Destroy
	t.change.Moves, t.change.Set, t.change.Delete, t.set = nil, nil, nil, nil
	t.own.fields, t.own.file, t.file = nil, nil, nil
	t.intent, t.intentSet, t.flags = nil, false, nil
	t.cleared, t.badData = true, nil
	t.state = t.opts.Initial
}

var errNoHandler = errors.New("the handler is nil")
