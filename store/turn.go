package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// A Turn is the handling of one event by one replica. It shows the session as
// it was handed out, buffers what the handler does to it, and reads its own
// writes. When the handler returns nil all of it is committed at once.
//
// The verbs return no error: the first that fails (a value that has no
// encoding, a wrong type, a bad name) fails the turn, and [Turn.Err] shows it
// early. A Turn is for the handler's goroutine, and must not be used after the
// handler has returned.
type Turn struct {
	bot     *Bot
	ref     session.Ref
	event   *event // nil in an Update
	attempt int
	rec     *codec.Record

	change    session.Change
	state     string          // after the moves so far
	flags     map[string]bool // that this turn set; consumed ones are false
	cleared   bool            // a reset hides what rec holds
	intent    *session.Intent // as set by this turn
	intentSet bool
	err       error
}

func newTurn(b *Bot, ref session.Ref, rec *codec.Record, e *event, attempt int) *Turn {
	t := &Turn{bot: b, ref: ref, event: e, attempt: attempt, rec: rec, state: rec.State()}
	t.change.From = rec.State()
	if e == nil {
		return t
	}
	for _, m := range e.Chat() {
		t.change.Chat = append(t.change.Chat, session.Entry{Message: m})
	}
	if len(t.change.Chat) > 0 {
		message := e.Message()
		t.change.Message = &message
	}
	if e.File != nil {
		t.change.File = e.File
		t.setFlag(session.FlagFile, true)
	}
	return t
}

// end returns the turn's change, and whether it changes anything. The end of a
// turn lowers the flags of intent and file in any case, so also those that a
// live call raised meanwhile; lowering what is down is no change.
func (t *Turn) end() (c session.Change, dirty bool) {
	c = t.change
	c.Flags = maps.Clone(t.flags)
	maps.DeleteFunc(c.Flags, func(name string, up bool) bool { return !t.cleared && up == t.rec.Flag(name) })
	dirty = !c.Empty()
	c.Flags = t.flags
	if t.event != nil {
		for _, name := range []string{session.FlagIntent, session.FlagFile} {
			dirty = dirty || t.rec.Flag(name)
			t.setFlag(name, false)
		}
		c.Flags = t.flags
	}
	return c, dirty
}

func (t *Turn) setFlag(name string, up bool) {
	if t.flags == nil {
		t.flags = map[string]bool{}
	}
	t.flags[name] = up
}

func (t *Turn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Err returns the first failure of a verb, or nil.
func (t *Turn) Err() error { return t.err }

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
		t.fail(fmt.Errorf("payload: %w", err))
		return false
	}
	return true
}

// First reports whether this is the first event of the session's life.
func (t *Turn) First() bool { return t.rec.Turns() == 0 || t.cleared }

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
func (t *Turn) State() string { return t.state }

// Move moves the session to a state. The first move of a turn consumes the
// intent and the file: [Turn.Match] and [Turn.MatchFile] are nil from there on.
func (t *Turn) Move(to string) {
	if err := session.ValidState(to); err != nil {
		t.fail(fmt.Errorf("move: %w", err))
		return
	}
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
	if err := session.ValidKey("key", key); err != nil {
		t.fail(err)
		return
	}
	encoded, err := t.bot.store.opts.Codec.Encode(value)
	if err == nil {
		err = t.bot.store.tooLarge("the value", "", len(encoded))
	}
	if err != nil {
		t.fail(fmt.Errorf("private data %q: %w", key, err))
		return
	}
	if t.change.Set == nil {
		t.change.Set = map[string]any{}
	}
	t.change.Set[key] = encoded
	t.change.Delete = slices.DeleteFunc(t.change.Delete, func(other string) bool { return other == key })
}

// Delete deletes a key of the private data. One that is not there is no error.
func (t *Turn) Delete(key string) {
	if err := session.ValidKey("key", key); err != nil {
		t.fail(err)
		return
	}
	delete(t.change.Set, key)
	if _, stored := t.rec.Value(key); stored && !t.cleared && !slices.Contains(t.change.Delete, key) {
		t.change.Delete = append(t.change.Delete, key)
	}
}

// Intent returns the last predicted intent, or nil. It stays readable after a
// move has consumed it; [Turn.Match] does not.
func (t *Turn) Intent() *session.Intent {
	if t.intentSet || t.cleared {
		return t.intent
	}
	intent, err := t.rec.Intent()
	if err != nil {
		t.fail(err)
	}
	return intent
}

// SetIntent sets the predicted intent, even nil, and raises
// [session.FlagIntent].
func (t *Turn) SetIntent(intent *session.Intent) {
	encoded, err := t.bot.store.opts.Codec.EncodeIntent(intent)
	if err == nil {
		err = t.bot.store.tooLarge("the intent", "", len(encoded))
	}
	if err != nil {
		t.fail(fmt.Errorf("intent: %w", err))
		return
	}
	t.intent, t.intentSet = intent, true
	t.change.Intent, t.change.SetIntent = intent, true
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
	if t.change.File != nil {
		return t.change.File
	}
	if t.cleared {
		return nil
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
	if up, ok := t.flags[name]; ok {
		return up
	}
	return !t.cleared && t.rec.Flag(name)
}

// SetFlag raises or lowers a flag. The end of the turn lowers
// [session.FlagIntent] and [session.FlagFile] in any case.
func (t *Turn) SetFlag(name string, up bool) {
	if err := session.ValidKey("flag", name); err != nil {
		t.fail(err)
		return
	}
	t.setFlag(name, up)
}

// Reply appends a text of the bot's to the chat; it is sent after the commit.
func (t *Turn) Reply(text string) { t.ReplyWith(session.Message{Content: text}) }

// ReplyWith is Reply with a message of any type. Its author is the bot.
func (t *Turn) ReplyWith(m session.Message) {
	m.From = session.FromBot
	t.say(session.Entry{Message: m, Send: true})
}

// Record appends a message to the chat without sending it. Its author is the
// bot unless From says otherwise.
func (t *Turn) Record(m session.Message) {
	def(&m.From, session.FromBot)
	t.say(session.Entry{Message: m})
}

func (t *Turn) say(e session.Entry) {
	def(&e.Message.Type, session.Text)
	if _, err := t.bot.encodeMessage(e.Message); err != nil {
		t.fail(err)
		return
	}
	t.change.Chat = append(t.change.Chat, e)
}

// History returns a part of the chat: what is stored, then this turn's own
// message and replies, which have no sequence number yet. Messages that wait
// behind this turn never show. It costs a round trip.
func (t *Turn) History(ctx context.Context, q session.Query) ([]session.Message, error) {
	var own []session.Message
	for _, e := range t.change.Chat {
		own = append(own, e.Message)
	}
	if t.change.Reset != nil && !t.change.Reset.KeepChat {
		return cut(own, q), nil
	}
	stored := q
	stored.Waiting = false
	if q.Newest {
		stored.Limit = max(q.Limit-len(own), 0)
	}
	chat, err := t.bot.Session(t.ref.ID).History(ctx, stored)
	if err != nil {
		return chat, err
	}
	if !q.Until.IsZero() {
		return chat, nil
	}
	return cut(append(chat, own...), q), nil
}

// cut applies a query's limit.
func cut(chat []session.Message, q session.Query) []session.Message {
	switch {
	case q.Limit < 0 || len(chat) <= q.Limit:
		return chat
	case q.Newest:
		return chat[len(chat)-q.Limit:]
	}
	return chat[:q.Limit]
}

// SetTTL gives the session a time to live of its own: negative means for ever,
// zero the bot's again.
func (t *Turn) SetTTL(d time.Duration) { t.change.TTL = &d }

// Reset begins a new life in the initial state: data, flags, intent, file and
// message are gone, as is what this turn did to them so far; the chat is kept
// or not. The turn goes on in the new life.
func (t *Turn) Reset(keepChat bool) {
	t.change.Reset = &session.Reset{KeepChat: keepChat}
	t.change.Moves, t.change.Set, t.change.Delete, t.change.Message = nil, nil, nil, nil
	t.change.Intent, t.change.SetIntent, t.change.File = nil, false, nil
	t.intent, t.intentSet, t.flags = nil, false, nil
	t.cleared = true
	t.state = t.bot.opts.Initial
}

// Destroy ends the session's life with this turn. Its replies are still sent;
// its chat and everything else is gone. Events that wait start a fresh session.
func (t *Turn) Destroy() {
	t.Reset(false)
	t.change.Destroy = true
}

var errNoHandler = errors.New("the handler is nil")
