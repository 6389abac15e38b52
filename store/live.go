package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Session is a handle on one session, for calls outside of a turn. Each
// method is one atomic script on the server. A change does not wait for a
// running turn, which may overwrite it: if both set the same key, the later
// commit wins. Where a change depends on what is stored, use [Bot.Update]. A
// Session is safe for concurrent use.
//
// All methods but Create and those on dead letters return [session.ErrNotFound] if the
// session does not exist, and do not create it. All may return
// [session.ErrCorrupt] or [session.ErrNewerLayout] for what they cannot read,
// and [session.ErrInvalid] for a bad id or bad arguments; those that write,
// also [session.ErrUnknownOutcome]. In a turn of the same session, Reset,
// Destroy and Move return [session.ErrInTurn].
type Session struct {
	bot *Bot
	ref session.Ref
}

// Session returns a handle on the session with that id, whether it exists or
// not. It does no I/O.
func (b *Bot) Session(id string) *Session {
	return &Session{bot: b, ref: session.Ref{Bot: b.name, ID: id}}
}

// Ref returns the session's name.
func (s *Session) Ref() session.Ref { return s.ref }

// Origin says what a session that [Session.Create] makes begins with. The zero
// Origin is valid.
type Origin struct {
	State    string         // State is the session's first state. Empty means BotOptions.Initial.
	Platform string         // Platform is where the user is. It may be empty.
	User     string         // User is the platform's name for the user. It may be empty.
	TTL      time.Duration  // TTL is the session's own time to live. Zero means that of the bot, negative means that it never expires.
	Data     map[string]any // Data is the private data: values that package codec can encode. Nil means none.
}

// Create makes the session with what o says, or does nothing if it exists, and
// reports which. Of any number of simultaneous calls one makes it. Data must
// fit the limits of [Session.Set] and [Options.MaxData], also if the session
// exists.
func (s *Session) Create(ctx context.Context, o Origin) (created bool, err error) {
	defer s.wrap("create", &err)
	at, err := s.bot.place(s.ref.ID)
	if err != nil {
		return false, err
	}
	opts := s.bot.current(ctx)
	def(&o.State, opts.Initial)
	if err := causes.Join(session.ValidState(o.State), session.ValidLabel("platform", o.Platform), session.ValidLabel("user", o.User)); err != nil {
		return false, err
	}
	w, err := s.bot.written(session.Change{Set: o.Data})
	if err != nil {
		return false, err
	}
	bytes := 0
	for i := 1; i < len(w.set); i += 2 {
		bytes += len(w.set[i])
	}
	if most := s.bot.store.opts.MaxData; bytes > most {
		return false, tooMuchData(bytes, most)
	}
	own := ""
	if o.TTL != 0 {
		own = millis(o.TTL)
	}
	r, err := s.bot.store.do(ctx, at, ask(lua.Create, []string{
		"id", s.ref.ID, "bot", s.bot.name, "state", o.State, "platform", o.Platform, "user", o.User, "own", own, "ttl", millis(opts.TTL),
	}, w.set))
	return r.Status() == "OK", err
}

// Load returns the session as it is. If a part of it cannot be decoded, Load
// returns the rest with [session.ErrCorrupt].
func (s *Session) Load(ctx context.Context) (snap session.Snapshot, err error) {
	defer s.wrap("load", &err)
	rec, _, err := s.load(ctx, 0)
	if err != nil {
		return session.Snapshot{}, err
	}
	return rec.Snapshot()
}

// LoadChat is Load with the newest n messages of the chat at the same moment,
// in ascending order; with all of them if n is 0 or less.
func (s *Session) LoadChat(ctx context.Context, n int) (snap session.Snapshot, chat []session.Message, err error) {
	defer s.wrap("load", &err)
	if n <= 0 {
		n = -1 // all
	}
	rec, r, err := s.load(ctx, n)
	if err != nil {
		return session.Snapshot{}, nil, err
	}
	snap, bad := rec.Snapshot()
	chat, faults := s.messages(r.Int("first"), r.Texts("chat"))
	return snap, chat, causes.Join(append(faults, bad)...)
}

// Status returns who holds the session and what waits in it.
func (s *Session) Status(ctx context.Context) (st session.Status, err error) {
	defer s.wrap("status of", &err)
	rec, r, err := s.load(ctx, 0)
	if err != nil {
		return session.Status{}, err
	}
	st = rec.Status()
	st.Messages, st.Waiting, st.Unsent, st.Now = r.Int("messages"), r.Int("waiting"), r.Int("unsent"), time.UnixMilli(r.Now())
	return st, nil
}

// load reads the session with so many of the newest messages, negative for all.
func (s *Session) load(ctx context.Context, newest int) (*stored.Record, reply, error) {
	r, err := s.read(ctx, ask(lua.Load, []string{"newest", strconv.Itoa(newest)}))
	if err != nil {
		return nil, reply{}, err
	}
	rec, err := stored.ReadRecord(s.ref, r.Texts("hash"))
	return rec, r, err
}

// read runs a script that writes nothing.
func (s *Session) read(ctx context.Context, q request) (reply, error) {
	at, err := s.bot.place(s.ref.ID)
	if err != nil {
		return reply{}, err
	}
	return s.bot.store.do(ctx, at, q)
}

// Get returns a value of the private data in its canonical form; see package
// codec. A stored nil is found. For values of a Go type, use [Key].
func (s *Session) Get(ctx context.Context, key string) (value any, found bool, err error) {
	defer s.wrap("get from", &err)
	encoded, found, err := s.value(ctx, key)
	if err == nil && found {
		err = codec.Decode(encoded, &value)
	}
	if err != nil {
		return nil, false, fmt.Errorf("private data %q: %w", key, err)
	}
	return value, found, nil
}

func (s *Session) value(ctx context.Context, key string) (codec.Encoded, bool, error) {
	if err := session.ValidKey("key", key); err != nil {
		return nil, false, err
	}
	rec, _, err := s.load(ctx, 0)
	if err != nil {
		return nil, false, err
	}
	encoded, found := rec.Value(key)
	return encoded, found, nil
}

// Set sets a value of the private data. It returns [session.ErrInvalid] for a
// value that cannot be encoded, and [session.ErrTooLarge] for one over
// [Options.MaxValue], both with the key's name.
func (s *Session) Set(ctx context.Context, key string, value any) error {
	_, _, err := s.change(ctx, "set in", session.Change{Set: map[string]any{key: value}})
	return err
}

// Delete deletes a key of the private data, and reports whether it existed.
func (s *Session) Delete(ctx context.Context, key string) (existed bool, err error) {
	_, deleted, err := s.change(ctx, "delete from", session.Change{Delete: []string{key}})
	return deleted > 0, err
}

// SetIntent sets the predicted intent, or none if it is nil, and raises
// [session.FlagIntent] in either case.
func (s *Session) SetIntent(ctx context.Context, intent *session.Intent) error {
	_, _, err := s.change(ctx, "set intent of", session.Change{SetIntent: true, Intent: intent})
	return err
}

// SetFile sets the last file and raises [session.FlagFile].
func (s *Session) SetFile(ctx context.Context, f session.File) error {
	_, _, err := s.change(ctx, "set file of", session.Change{File: &f})
	return err
}

// SetFlag raises the flag if up is true, else lowers it.
func (s *Session) SetFlag(ctx context.Context, name string, up bool) error {
	_, _, err := s.change(ctx, "set flag of", session.Change{Flags: map[string]bool{name: up}})
	return err
}

// Move moves the session from the state t.From to t.To, and lowers
// [session.FlagIntent] and [session.FlagFile]. If the session is in another
// state, Move returns a [session.StateError], which is a
// [session.ErrWrongState].
func (s *Session) Move(ctx context.Context, t session.Transition) error {
	if err := cmp.Or(session.ValidState(t.From), session.ValidState(t.To)); err != nil {
		return fmt.Errorf("move %s: %w", s.ref, err)
	}
	_, _, err := s.change(ctx, "move", session.Change{From: t.From, Moves: []string{t.To}})
	return err
}

// Reply adds a text of the bot to the chat. A replica that serves the bot
// sends it, unless the bot has [BotOptions.RecordOnly].
func (s *Session) Reply(ctx context.Context, text string) error {
	return s.ReplyWith(ctx, session.Message{Content: text})
}

// ReplyWith is Reply with a message of any type; m.From is ignored.
func (s *Session) ReplyWith(ctx context.Context, m session.Message) error {
	m.From = session.FromBot
	_, _, err := s.change(ctx, "reply in", session.Change{Chat: []session.Entry{{Message: m, Send: true}}})
	return err
}

// Record adds a message to the chat without sending it. Its author is the bot
// if m.From is empty.
func (s *Session) Record(ctx context.Context, m session.Message) error {
	_, _, err := s.change(ctx, "record in", session.Change{Chat: []session.Entry{{Message: m}}})
	return err
}

// Touch starts the session's time to live anew.
func (s *Session) Touch(ctx context.Context) error {
	_, _, err := s.change(ctx, "touch", session.Change{})
	return err
}

// SetTTL gives the session its own time to live. Negative means that it never
// expires, zero gives it that of the bot again.
func (s *Session) SetTTL(ctx context.Context, d time.Duration) error {
	_, _, err := s.change(ctx, "set time to live of", session.Change{TTL: &d})
	return err
}

// Reset begins a new life in the bot's initial state. Data, flags, intent,
// file and last message are deleted; the chat is kept with [session.KeepChat]
// and deleted with [session.DropChat]. A turn that runs is fenced, and its
// event handled again in the new life. Replies that were not sent yet are
// dropped.
func (s *Session) Reset(ctx context.Context, r session.Reset) error {
	if err := checkReset(r); err != nil {
		return fmt.Errorf("reset %s: %w", s.ref, err)
	}
	ctx, done := s.bot.store.act(ctx, "reset", s.ref)
	_, _, err := s.change(ctx, "reset", session.Change{Reset: r})
	done(err)
	return err
}

// Apply writes a Change, all of it or nothing, and returns the version that it
// made; for a Change that changes nothing, the present version. It returns
// [session.ErrWrongState] if the session is not in the state c.From, and
// [session.ErrChanged] if it is not at the version c.IfVersion. In a turn of
// the same session it returns [session.ErrInTurn] if c has Reset, Moves or
// From.
func (s *Session) Apply(ctx context.Context, c session.Change) (version int64, err error) {
	version, _, err = s.change(ctx, "change", c)
	return version, err
}

// ApplyOnce is Apply under an id that makes it safe to repeat: of any number
// of calls with one eventID, one is applied. The others change nothing, and
// return duplicate and the version that the applied one made. Ids are
// remembered as [Bot.UpdateOnce] says, and are the same ones.
func (s *Session) ApplyOnce(ctx context.Context, eventID string, c session.Change) (version int64, duplicate bool, err error) {
	defer s.wrap("change", &err)
	o, err := s.bot.onceUnder(ctx, eventID)
	if err != nil {
		return 0, false, err
	}
	r, err := s.apply(ctx, "change", o, c)
	return r.Int("version"), r.Status() == "DUPLICATE", err
}

func (s *Session) change(ctx context.Context, verb string, c session.Change) (version int64, deleted int64, err error) {
	defer s.wrap(verb, &err)
	r, err := s.apply(ctx, verb, once{}, c)
	return r.Int("version"), r.Int("deleted"), err
}

// apply writes a change, under an id or not.
func (s *Session) apply(ctx context.Context, verb string, o once, c session.Change) (reply, error) {
	at, err := s.bot.place(s.ref.ID)
	if err != nil {
		return reply{}, err
	}
	if c.Reset != "" || len(c.Moves) > 0 || c.From != "" {
		if err := s.bot.store.inTurn(ctx, s.ref, false); err != nil {
			return reply{}, err
		}
	}
	if c.IfVersion < 0 {
		return reply{}, fmt.Errorf("%w: a Change's IfVersion is negative", session.ErrInvalid)
	}
	w, err := s.bot.written(c)
	if err != nil {
		return reply{}, err
	}
	w.trace = s.bot.store.traceOf(ctx)
	named, rest := s.bot.current(ctx).wire(w)
	r, err := s.bot.store.do(ctx, at, ask(lua.Change, append([]string{
		"id", s.ref.ID, "bot", s.bot.name, "most", strconv.Itoa(s.bot.store.opts.MaxData),
		"ifversion", strconv.FormatInt(c.IfVersion, 10), "once", string(o.digest), "window", o.window,
		"audit", s.bot.store.audit(ctx, s.ref, strings.Fields(verb)[0], strings.Join(c.Moves, " "), false),
	}, named...), rest))
	if err != nil {
		var wrong *session.StateError
		if errors.As(err, &wrong) {
			wrong.Want = c.From
		}
		return reply{}, err
	}
	if r.Status() == "OK" {
		s.bot.wakeFor(r.Next().Status(), at)
	}
	return r, nil
}

// Destroyed says what was dropped with a session.
type Destroyed struct {
	Events  int64 // Events is how many events were accepted and not handled.
	Replies int64 // Replies is how many replies were committed and not sent.
}

// Destroy deletes the session and says what was dropped with it. Its dead
// letters stay, and the ids of its events, so that a late duplicate starts
// nothing. A turn that runs is fenced.
func (s *Session) Destroy(ctx context.Context) (d Destroyed, err error) {
	defer s.wrap("destroy", &err)
	at, err := s.bot.place(s.ref.ID)
	if err == nil {
		err = s.bot.store.inTurn(ctx, s.ref, false)
	}
	if err != nil {
		return Destroyed{}, err
	}
	ctx, done := s.bot.store.act(ctx, "destroy", s.ref)
	d, err = s.bot.store.bury(ctx, at, "now")
	done(err)
	return d, err
}

// History returns the part of the chat that q selects, in ascending order.
func (s *Session) History(ctx context.Context, q session.Query) (chat []session.Message, err error) {
	return s.history(ctx, partOf(q))
}

// A chatPart is a session.Query as History carries it out.
type chatPart struct {
	after           int64
	since, until    time.Time // zero: no bound
	limit           int       // 0 or less: none
	newest, waiting bool
}

func partOf(q session.Query) (p chatPart) {
	p.after, p.since, p.until = q.Bounds()
	p.limit, p.newest, p.waiting = q.Limit()
	return p
}

func (s *Session) history(ctx context.Context, p chatPart) (chat []session.Message, err error) {
	defer s.wrap("history of", &err)
	limit, since, till := p.limit, "", ""
	if limit <= 0 {
		limit = -1 // all
	}
	if !p.since.IsZero() {
		first := p.since.Truncate(time.Millisecond) // the chat's times are whole
		if first.Before(p.since) {
			first = first.Add(time.Millisecond)
		}
		since = strconv.FormatInt(first.UnixMilli(), 10)
	}
	if !p.until.IsZero() {
		till = strconv.FormatInt(p.until.UnixMilli(), 10)
	}
	r, err := s.read(ctx, ask(lua.History, []string{
		"after", strconv.FormatInt(p.after, 10), "since", since, "till", till, "limit", strconv.Itoa(limit),
		"newest", flag(p.newest), "inboxed", flag(p.waiting),
	}))
	if err != nil {
		return nil, err
	}
	chat, faults := s.messages(r.Int("first"), r.Texts("messages"))
	for _, element := range r.Texts("queued") {
		a, err := stored.ReadAccepted([]byte(element))
		var e session.Event
		if err == nil {
			e, _, err = stored.DecodeEvent(a.Event)
		}
		if err != nil {
			faults = append(faults, &session.CorruptError{Ref: s.ref, Field: "inbox", Reason: err})
			continue
		}
		if a.Told {
			continue // they are in the chat already
		}
		for _, m := range said(e) {
			m.Waiting, m.Time = true, a.Time
			chat = append(chat, m)
		}
	}
	return chat, causes.Join(faults...)
}

// messages decodes elements of the chat, of which the first has that number. What
// cannot be decoded is missing, and named by a fault.
func (s *Session) messages(first int64, elements []string) (chat []session.Message, faults []error) {
	for i, element := range elements {
		m, err := stored.DecodeEntry([]byte(element))
		if err != nil {
			faults = append(faults, &session.CorruptError{Ref: s.ref, Field: fmt.Sprintf("history %d", first+int64(i)), Reason: err})
			continue
		}
		m.Seq = first + int64(i)
		chat = append(chat, m)
	}
	return chat, faults
}

// File returns the last file with its bytes, or nil if there is none.
func (s *Session) File(ctx context.Context) (f *session.File, err error) {
	defer s.wrap("file of", &err)
	r, err := s.read(ctx, ask(lua.File, nil))
	if err != nil || r.Text("about") == "" {
		return nil, err
	}
	if f, err = stored.DecodeFile([]byte(r.Text("about"))); err != nil {
		return nil, &session.CorruptError{Ref: s.ref, Field: "file", Reason: err}
	}
	f.Data = []byte(r.Text("bytes"))
	return f, nil
}

// wrongType makes a CorruptError of a key that is of another type.
func (s *Session) wrongType(name string, err error) error {
	if call.WrongType(err) {
		return &session.CorruptError{Ref: s.ref, Field: name, Reason: err}
	}
	return err
}

// DeadLetters returns the dead letters of this session, oldest first. They
// outlive the session: if it does not exist, that is no error.
func (s *Session) DeadLetters(ctx context.Context) (letters []session.DeadLetter, err error) {
	defer s.wrap("dead letters of", &err)
	at, err := s.bot.place(s.ref.ID)
	if err != nil {
		return nil, err
	}
	elements := call.LRange(s.bot.store.layout.key("letters", at), 0, -1)
	if err := s.bot.store.read(ctx, elements); err != nil {
		return nil, s.wrongType("letters", call.NoRight(err))
	}
	var faults []error
	for letter, err := range s.bot.letters(at, elements.Val) {
		faults = append(faults, err)
		if !letter.Time.IsZero() {
			letters = append(letters, letter)
		}
	}
	return letters, causes.Join(faults...)
}

// wrap says what failed, and for which session.
func (s *Session) wrap(verb string, err *error) {
	if *err != nil {
		*err = fmt.Errorf("%s %s: %w", verb, s.ref, *err)
	}
}
