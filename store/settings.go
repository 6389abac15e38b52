package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
)

// BotOptions are the settings of a bot. They are stored with its data, and are
// the same for every process: [Store.Bot] declares them, [Bot.Configure]
// changes them. In each field zero means the default, and negative is
// [session.ErrInvalid] except for TTL; so is a number over math.MaxInt32.
type BotOptions struct {
	Initial      string        // Initial is the state in which a session begins. Zero means "start".
	TTL          time.Duration // TTL is the idle time after which a session expires. Zero means 30 days, negative means never.
	HistoryLimit int           // HistoryLimit is how many messages of a session's chat are kept, the newest. Zero means all.
	InboxLimit   int           // InboxLimit is how many events may wait for one session. Zero means 1000.
	InboxBytes   int           // InboxBytes is how many bytes the events that wait for one session may have. Zero means 16 MiB.
	DedupeWindow time.Duration // DedupeWindow is how long the id of an event is remembered after it was accepted. Make it longer than a platform goes on delivering again; it is never shorter than Options.Timeout. Zero means 24 h.
	MaxAttempts  int           // MaxAttempts is after how many failures an event or a reply becomes a dead letter. Zero means 5.
	Backoff      time.Duration // Backoff is the pause after the first failure. It doubles with each further one, up to 60 times itself. Zero means 1 s.
	MaxWait      time.Duration // MaxWait is how long one event or reply may be put off by [Later], and a reply by Send's [RetryAfter], counted from the first time. Zero means 24 h.
	DeadLimit    int           // DeadLimit is how many dead letters of a session are kept, the newest. Zero means 100.
	RecordOnly   bool          // RecordOnly means that replies are kept in the chat and not sent, for a bot whose callers read them there or in an [Outcome]. False means that they are sent, by [ServeOptions.Send].
}

// ServeOptions say how one process serves a bot, in [Bot.Serve] or
// [Bot.Drain]. They are not stored; other processes may have others.
type ServeOptions struct {
	Send        func(context.Context, Delivery) error     // Send sends one reply to the platform. On an error it is called again after a back-off; see [RetryAfter] and [GiveUp]. It is called for many sessions at once, for one session in order. Nil is for bots with BotOptions.RecordOnly, and only for them.
	Dead        func(context.Context, session.DeadLetter) // Dead is called by the replica that made a dead letter, once, for instance to tell the user with [Session.Reply]. If that replica dies first, it is never called. It runs beside the session's next turns, so the order of two calls may differ from that of their letters. Nil means that nobody is told.
	Grace       time.Duration                             // Grace is how long turns may go on when Serve's ctx has ended. Zero means 10 s.
	Eager       bool                                      // Eager has this replica run a handler before the event is accepted, and accept and commit it in one trip, where it knows the session; see Eager in the package comment for what that costs.
	Concurrency int                                       // Concurrency is how many sessions this replica handles at once. Zero means 64; Drain handles one.
}

// Settings are a bot's settings as they are stored on the server.
type Settings struct {
	Options  BotOptions // Options are the settings with the defaults filled in: what is zero there means no limit, or false.
	Revision int64      // Revision counts the changes: 1 is how the bot was declared.
	Changed  time.Time  // Changed is when this revision was written, by the server's clock.
	By       string     // By is the [Store.Name] of the replica that wrote it.
}

// A setting is one field of BotOptions.
type setting struct {
	name string
	at   func(*BotOptions) any // points to it
}

var settingTable = []setting{
	{"Initial", func(o *BotOptions) any { return &o.Initial }},
	{"TTL", func(o *BotOptions) any { return &o.TTL }},
	{"HistoryLimit", func(o *BotOptions) any { return &o.HistoryLimit }},
	{"InboxLimit", func(o *BotOptions) any { return &o.InboxLimit }},
	{"InboxBytes", func(o *BotOptions) any { return &o.InboxBytes }},
	{"DedupeWindow", func(o *BotOptions) any { return &o.DedupeWindow }},
	{"MaxAttempts", func(o *BotOptions) any { return &o.MaxAttempts }},
	{"Backoff", func(o *BotOptions) any { return &o.Backoff }},
	{"MaxWait", func(o *BotOptions) any { return &o.MaxWait }},
	{"DeadLimit", func(o *BotOptions) any { return &o.DeadLimit }},
	{"RecordOnly", func(o *BotOptions) any { return &o.RecordOnly }},
}

// never is how a TTL without an end is written.
const never = "never"

// value returns the field as it is stored: a string, a number or a bool.
func (s setting) value(o *BotOptions) any {
	switch v := s.at(o).(type) {
	case *time.Duration:
		if *v < 0 {
			return never
		}
		return v.String()
	case *int:
		return *v
	case *bool:
		return *v
	case *string:
		return *v
	}
	panic("store: a setting of a type that is not known")
}

// text returns the field as people write it: 168h, not 168h0m0s.
func (s setting) text(o *BotOptions) string {
	text := fmt.Sprint(s.value(o))
	if _, ok := s.at(o).(*time.Duration); ok {
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
	}
	return text
}

// read sets the field from what value returned, as JSON.
func (s setting) read(o *BotOptions, stored json.RawMessage) error {
	v, isTime := s.at(o).(*time.Duration)
	if !isTime {
		return json.Unmarshal(stored, s.at(o))
	}
	var text string
	err := json.Unmarshal(stored, &text)
	if *v = -1; err == nil && text != never {
		*v, err = time.ParseDuration(text)
	}
	return err
}

// zero reports whether the field is not set.
func (s setting) zero(o *BotOptions) bool { return s.value(o) == s.value(&BotOptions{}) }

// resolved returns the options with defaults filled in, or which field is bad.
func (o *BotOptions) resolved() (BotOptions, error) {
	var opts BotOptions
	if o != nil {
		opts = *o
	}
	def(&opts.Initial, "start")
	def(&opts.TTL, 30*24*time.Hour)
	def(&opts.InboxLimit, 1000)
	def(&opts.InboxBytes, 16<<20)
	def(&opts.DedupeWindow, 24*time.Hour)
	def(&opts.MaxAttempts, 5)
	def(&opts.Backoff, time.Second)
	def(&opts.MaxWait, 24*time.Hour)
	def(&opts.DeadLimit, 100)
	opts.TTL = max(opts.TTL, -1) // every negative one means the same
	if err := session.ValidState(opts.Initial); err != nil {
		return opts, fmt.Errorf("BotOptions.Initial: %w", err)
	}
	if !utf8.ValidString(opts.Initial) { // JSON has no other text
		return opts, fmt.Errorf("%w: BotOptions.Initial %q is not UTF-8", session.ErrInvalid, opts.Initial)
	}
	for _, s := range settingTable {
		bad := ""
		switch v := s.at(&opts).(type) {
		case *int:
			if *v < 0 {
				bad = "negative"
			} else if *v > math.MaxInt32 {
				bad = fmt.Sprintf("%d, and the most is %d", *v, math.MaxInt32)
			}
		case *time.Duration:
			if *v < 0 && s.name != "TTL" {
				bad = "negative"
			}
		}
		if bad != "" {
			return opts, fmt.Errorf("%w: BotOptions.%s is %s", session.ErrInvalid, s.name, bad)
		}
	}
	return opts, nil
}

func (o *ServeOptions) withDefaults() (ServeOptions, error) {
	var opts ServeOptions
	if o != nil {
		opts = *o
	}
	def(&opts.Grace, 10*time.Second)
	def(&opts.Concurrency, 64)
	switch {
	case opts.Grace < 0:
		return opts, fmt.Errorf("%w: ServeOptions.Grace is negative", session.ErrInvalid)
	case opts.Concurrency < 0:
		return opts, fmt.Errorf("%w: ServeOptions.Concurrency is negative", session.ErrInvalid)
	}
	return opts, nil
}

// fits says why a process with these options cannot serve the bot, or nil.
func (o *BotOptions) fits(serve ServeOptions) error {
	switch {
	case serve.Send == nil && !o.RecordOnly:
		return fmt.Errorf("%w: the bot's replies are sent, and there is no ServeOptions.Send: set it, or have the replies kept in the chat alone, by BotOptions.RecordOnly (Bot.Configure, for a bot that is there)", session.ErrInvalid)
	case serve.Send != nil && o.RecordOnly:
		return fmt.Errorf("%w: the bot's replies are kept in the chat alone (BotOptions.RecordOnly), and there is a ServeOptions.Send: leave it out, or have the replies sent, by RecordOnly = false (Bot.Configure, for a bot that is there)", session.ErrInvalid)
	}
	return nil
}

// settings are a bot's settings with the text that they were read from.
type settings struct {
	Settings
	text    string
	unknown map[string]json.RawMessage // fields of a newer version
}

// The names of the fields that are no options.
const (
	fieldRevision = "revision"
	fieldChanged  = "changed"
	fieldBy       = "by"
)

// write makes the text: one line of JSON, its fields in the order of BotOptions.
func (s *settings) write() error {
	var line bytes.Buffer
	field := func(name string, value any) error {
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		line.WriteString(",\"" + name + "\":")
		line.Write(encoded)
		return nil
	}
	var faults []error
	for _, f := range settingTable {
		faults = append(faults, field(f.name, f.value(&s.Options)))
	}
	for _, name := range slices.Sorted(maps.Keys(s.unknown)) {
		faults = append(faults, field(name, s.unknown[name]))
	}
	faults = append(faults, field(fieldRevision, s.Revision), field(fieldChanged, s.Changed.UTC()), field(fieldBy, s.By))
	s.text = "{" + strings.TrimPrefix(line.String(), ",") + "}"
	return causes.Join(faults...)
}

// readSettings reads what write wrote, or a newer version did.
func readSettings(text string) (*settings, error) {
	s := &settings{text: text}
	if err := json.Unmarshal([]byte(text), &s.unknown); err != nil {
		return nil, errors.New("it is no JSON object")
	}
	take := func(name string, read func(json.RawMessage) error) error {
		raw, found := s.unknown[name]
		delete(s.unknown, name)
		if found && read(raw) != nil {
			return fmt.Errorf("%s cannot be read", name)
		}
		return nil
	}
	for _, f := range settingTable {
		if err := take(f.name, func(raw json.RawMessage) error { return f.read(&s.Options, raw) }); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]any{fieldRevision: &s.Revision, fieldChanged: &s.Changed, fieldBy: &s.By} {
		if err := take(name, func(raw json.RawMessage) error { return json.Unmarshal(raw, into) }); err != nil {
			return nil, err
		}
	}
	if s.Revision < 1 {
		return nil, fmt.Errorf("%s is missing, or no number from 1", fieldRevision)
	}
	resolved, err := s.Options.resolved()
	s.Options = resolved
	return s, err
}

// outranks reports whether s counts and not t, where a server has lost one of them:
// of two changes the later one; a change before a declaration, which is revision 1;
// and of two declarations the earlier one.
func (s *settings) outranks(t *settings) bool {
	declared := s.Revision == 1
	if declared != (t.Revision == 1) {
		return !declared
	}
	if declared {
		return s.Changed.Before(t.Changed)
	}
	return s.Changed.After(t.Changed)
}

// words are what each turn tells scripts of its bot's settings, and of the lease.
type words struct {
	of    *BotOptions
	ttl   string // ttl is the time to live, ms.
	limit string // limit is InboxLimit.
	bytes string // bytes is InboxBytes.
	room  string // room is what room returns.
	lease string // lease is for how long this process holds a session, ms.
}

// words returns those of o, which are made once.
func (b *Bot) words(o *BotOptions) *words {
	w := b.told.Load()
	if w == nil || w.of != o {
		w = &words{of: o, ttl: millis(o.TTL), limit: strconv.Itoa(o.InboxLimit), bytes: strconv.Itoa(o.InboxBytes), room: o.room(), lease: millis(b.store.opts.Lease)}
		b.told.Store(w)
	}
	return w
}

// differs returns the fields in which two resolved settings are not the same.
func differs(a, b *BotOptions) (fields []setting) {
	for _, f := range settingTable {
		if f.value(a) != f.value(b) {
			fields = append(fields, f)
		}
	}
	return fields
}
