package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// showOptions are what show was asked.
type showOptions struct {
	*env
	ref  session.Ref
	full bool
	json bool
}

func newShow(e *env) *cobra.Command {
	o := &showOptions{env: e}
	cmd := &cobra.Command{
		Use:   "show BOT/ID",
		Short: "Show everything about one session",
		Long: `Show everything about one session: where it is, what it holds, who works on it,
what waits, what failed, and what was given up. The chat is botsession history.
How long ago and how soon are told by the server's clock. Dead letters are shown
also of a session that is gone. Long values are cut: --full shows them whole.`,
		Example: `  botsession show pizza/42
  botsession show 'pizza/"an id with spaces"' --json`,
		ValidArgsFunction: e.completeRef,
		Args:              func(cmd *cobra.Command, args []string) (err error) { o.ref, err = refArg(cmd, args); return err },
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.full, "full", false, "show long values whole")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

// shown is a session as show --json prints it.
type shown struct {
	Session     string               `json:"session"`
	Snapshot    session.Snapshot     `json:"snapshot"`
	Status      session.Status       `json:"status"`
	Heads       store.Heads          `json:"heads"`
	DeadLetters []session.DeadLetter `json:"dead_letters"`
	Corrupt     []string             `json:"corrupt,omitempty"` // what could not be read
}

func (o *showOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := o.declared(ctx, st, o.ref.Bot)
	if err != nil {
		return err
	}
	s := bot.Session(o.ref.ID)
	status, err := s.Status(ctx)
	if errors.Is(err, session.ErrNotFound) {
		return o.gone(ctx, s, notFound(o.ref, err))
	}
	if err != nil {
		return err
	}
	all := shown{Session: o.ref.String(), Status: status}
	// What is corrupt is told beside the rest: that is when one looks.
	corrupt := func(err error) error {
		if errors.Is(err, session.ErrCorrupt) {
			all.Corrupt = append(all.Corrupt, err.Error())
			return nil
		}
		return notFound(o.ref, err)
	}
	if all.Snapshot, err = s.Load(ctx); err != nil {
		if err := corrupt(err); err != nil {
			return err
		}
	}
	if all.Heads, err = s.Heads(ctx); err != nil {
		if err := corrupt(err); err != nil {
			return err
		}
	}
	all.Heads.Status = session.Status{} // it stands in all.Status
	if all.DeadLetters, err = s.DeadLetters(ctx); err != nil {
		if err := corrupt(err); err != nil {
			return err
		}
	}
	if o.json {
		return text.WriteJSON(o.out, o.hidden(all).jsonable())
	}
	fleet, err := o.fleet(ctx, bot)
	o.print(all, fleet)
	return err
}

// gone shows the dead letters of a session that is not there. Without any, what it
// returns is why.
func (o *showOptions) gone(ctx context.Context, s *store.Session, why error) error {
	letters, err := s.DeadLetters(ctx)
	if len(letters) == 0 {
		return cmp.Or(err, why)
	}
	if o.json {
		return text.WriteJSON(o.out, o.hidden(shown{Session: o.ref.String(), DeadLetters: letters}).jsonable())
	}
	fmt.Fprintf(o.out, "%s  (no session)\n", o.out.Paint(text.Bold, o.ref.String()))
	p := fieldPrinter{o.out, fieldWidth}
	p.title("dead letters")
	for _, d := range letters {
		o.deadLetter(p, d, time.Time{})
	}
	return err
}

// hidden takes out what is not to be shown.
func (o *showOptions) hidden(s shown) shown {
	s.Heads = o.hide(s.Heads)
	if !o.redact() {
		return s
	}
	s.Snapshot.Message = text.Redacted(len(s.Snapshot.Message))
	s.Snapshot.Intent, s.Snapshot.File = nil, nil
	s.Snapshot.Data = maps.Clone(s.Snapshot.Data)
	for key, value := range s.Snapshot.Data {
		s.Snapshot.Data[key] = text.Redacted(dataSize(value))
	}
	s.DeadLetters = slices.Clone(s.DeadLetters)
	for i, d := range s.DeadLetters {
		if d.Event != nil {
			e := o.hideEvent(*d.Event)
			s.DeadLetters[i].Event = &e
		}
		if d.Reply != nil {
			m := o.hideMessage(*d.Reply)
			s.DeadLetters[i].Reply = &m
		}
	}
	return s
}

// dataSize is how many bytes a value has, as package store writes it.
func dataSize(value any) int {
	encoded, err := codec.Msgpack.Encode(value)
	if err != nil {
		return 0
	}
	return len(encoded)
}

// value shows a value of the user's or of the bot's.
func (o *showOptions) value(v any) string {
	switch {
	case o.redact():
		if s, is := v.(string); is {
			return text.Redacted(len(s))
		}
		return text.Redacted(dataSize(v))
	case o.full:
		return text.Whole(v)
	}
	return text.Value(v)
}

// jsonable returns the session without the values that JSON cannot hold.
func (s shown) jsonable() shown {
	s.Snapshot.Data = text.JSONableMap(s.Snapshot.Data)
	if s.DeadLetters == nil {
		s.DeadLetters = []session.DeadLetter{}
	}
	if in := s.Snapshot.Intent; in != nil {
		intent := *in
		intent.Params = slices.Clone(in.Params)
		for i, p := range intent.Params {
			intent.Params[i].Value, intent.Params[i].Info = text.JSONable(p.Value), text.JSONable(p.Info)
		}
		s.Snapshot.Intent = &intent
	}
	for i, d := range s.DeadLetters {
		if d.Event != nil {
			event := *d.Event
			event.Payload = text.JSONable(event.Payload)
			s.DeadLetters[i].Event = &event
		}
		if d.Reply != nil {
			reply := *d.Reply
			reply.Content, reply.Metadata = text.JSONable(reply.Content), text.JSONableMap(reply.Metadata)
			s.DeadLetters[i].Reply = &reply
		}
	}
	return s
}

func (o *showOptions) print(all shown, f fleet) {
	snap, status := all.Snapshot, all.Status
	p := fieldPrinter{o.out, fieldWidth}

	fmt.Fprintln(o.out, o.out.Paint(text.Bold, all.Session))
	p.field("state", text.Clean(status.State))
	p.field("user", orDash(text.Clean(status.User)))
	p.field("platform", orDash(text.Clean(status.Platform)))
	p.field("created", o.ago(status.Created, status.Now))
	p.field("last change", o.ago(status.Active, status.Now))
	p.field("expires", o.expires(status))
	p.field("version", fmt.Sprintf("%d of life %d", status.Version, snap.Life))
	p.field("chat", text.Count(status.Messages, "message", "messages"))
	p.field("size", o.size(all))

	p.title("work")
	line := waiting(status)
	if limit := f.settings.Options.InboxLimit; limit > 0 && int(status.Waiting) >= limit {
		line += " (full: it takes no more)"
	}
	p.field("waiting", line)
	o.heads(p, all, f)
	o.held(p, status)
	o.trouble(p, "event", status.Event, status.Now)
	o.trouble(p, "reply", status.Reply, status.Now)

	p.title("heard")
	p.field("message", o.value(snap.Message))
	if !o.redact() {
		p.intent(snap.Intent)
		p.field("file", file(snap.File))
	}
	p.field("flags", orDash(text.Clean(strings.Join(slices.Sorted(maps.Keys(snap.Flags)), ", "))))

	p.title("data")
	for key := range snap.Data {
		if width := text.Width(text.Clean(key)); width <= 3*fieldWidth {
			p.width = max(p.width, width)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(snap.Data)) {
		p.field(text.Clean(key), o.value(snap.Data[key]))
	}
	if len(snap.Data) == 0 {
		p.field("-", "")
	}
	p.width = fieldWidth

	if len(all.DeadLetters) > 0 {
		p.title("dead letters")
		for _, d := range all.DeadLetters {
			o.deadLetter(p, d, status.Now)
		}
	}
	if len(all.Corrupt) > 0 {
		p.title("corrupt")
		for _, why := range all.Corrupt {
			fmt.Fprintln(o.out, " ", o.out.Paint(text.Red, o.out.Paragraph(why, 2)))
		}
	}
}

func waiting(s session.Status) string {
	line := text.Count(s.Waiting, "event", "events")
	if s.Unsent > 0 {
		line += ", and " + text.Count(s.Unsent, "reply", "replies") + " to send"
	}
	return line
}

// size says how many bytes the parts have.
func (o *showOptions) size(all shown) string {
	data := 0
	for key, value := range all.Snapshot.Data {
		data += len(key) + dataSize(value)
	}
	return fmt.Sprintf("%s of data, %s in the inbox, %s to send",
		humanize.IBytes(uint64(data)), humanize.IBytes(uint64(all.Heads.InboxBytes)), humanize.IBytes(uint64(all.Heads.OutboxBytes)))
}

// heads prints what is first of what waits.
func (o *showOptions) heads(p fieldPrinter, all shown, f fleet) {
	s := all.Status
	if e := all.Heads.Event; e != nil {
		line := text.Value(e.ID)
		if e.Kind != "" {
			line += " of kind " + text.Value(e.Kind)
		}
		p.field("first event", line+": "+o.value(e.Message()))
		p.field("", fmt.Sprintf("accepted %s; attempt %d of %d", o.ago(all.Heads.Accepted, s.Now), 1+s.Event.Failures+s.Event.Crashes, f.settings.Options.MaxAttempts))
	}
	if m := all.Heads.Reply; m != nil {
		p.field("first reply", fmt.Sprintf("%d: %s", m.Seq, o.value(m.String())))
		p.field("", fmt.Sprintf("made %s; attempt %d of %d", o.ago(m.Time, s.Now), 1+s.Reply.Failures+s.Reply.Crashes, f.settings.Options.MaxAttempts))
	}
	tried := s.Lease.Held(s.Now) || s.Event.At.After(s.Now) || s.Reply.At.After(s.Now) // which is told elsewhere
	if s.Waiting+s.Unsent > 0 && !tried {
		p.field("why", f.whyOf(s).Text)
	}
}

// held prints who works on the session.
func (o *showOptions) held(p fieldPrinter, s session.Status) {
	l := s.Lease
	if l.Work == session.WorkNone {
		p.field("held", "by nobody")
		return
	}
	work := map[session.Work]string{
		session.WorkEvent:  "to handle an event",
		session.WorkReply:  "to send replies",
		session.WorkUpdate: "for an Update",
	}[l.Work]
	if work == "" {
		work = "for " + string(l.Work)
	}
	if !l.Held(s.Now) {
		p.painted(text.Red, "held", fmt.Sprintf("by nobody: the lease of %s (%s) ran out %s ago", l.Holder, strings.TrimPrefix(work, "to "), text.Duration(s.Now.Sub(l.Until))))
		return
	}
	p.field("held", fmt.Sprintf("by %s %s, for %s, until %s, in %s, token %s", l.Holder, work, text.Duration(s.Now.Sub(l.Since)), o.clock(l.Until), text.Duration(l.Until.Sub(s.Now)), l.Token))
}

// trouble prints what the head of the inbox, or of the outbox, went through.
func (o *showOptions) trouble(p fieldPrinter, head string, r session.Retry, now time.Time) {
	if r == (session.Retry{}) {
		return
	}
	name, line, off := "failed", "the first "+head, "; put off since"
	if tried := attempts(r); tried != "" {
		line += ": " + tried
	} else if !r.Since.IsZero() {
		name, off = "put off", ", since"
	}
	if !r.Since.IsZero() {
		line += fmt.Sprintf("%s %s, for %s", off, o.clock(r.Since), text.Duration(now.Sub(r.Since)))
	}
	switch {
	case r.At.IsZero():
	case r.At.After(now):
		line += fmt.Sprintf("; again at %s, in %s", o.clock(r.At), text.Duration(r.At.Sub(now)))
	default:
		line += fmt.Sprintf("; due again since %s", text.Duration(now.Sub(r.At)))
	}
	p.painted(text.Red, name, line)
	if r.Error != "" {
		p.field("error", r.Error)
	}
}

func (o *showOptions) expires(s session.Status) string {
	if s.Expires.IsZero() {
		return "never"
	}
	line := fmt.Sprintf("%s, in %s", o.date(s.Expires), text.Duration(s.Expires.Sub(s.Now)))
	if !s.Expires.After(s.Now) {
		line = fmt.Sprintf("%s, %s ago", o.date(s.Expires), text.Duration(s.Now.Sub(s.Expires)))
	}
	if s.Waiting > 0 || s.Unsent > 0 {
		line += "; not while something waits"
	}
	return line
}

func (e *env) ago(t, now time.Time) string {
	return fmt.Sprintf("%s, %s ago", e.date(t), text.Duration(now.Sub(t)))
}

func (e *env) date(t time.Time) string  { return t.In(e.zone).Format("2006-01-02 15:04:05 MST") }
func (e *env) clock(t time.Time) string { return t.In(e.zone).Format(time.TimeOnly) }

func (o *showOptions) deadLetter(p fieldPrinter, d session.DeadLetter, now time.Time) {
	what := "unknown"
	switch {
	case d.Event != nil:
		what = "event " + text.Value(d.Event.ID)
		if d.Event.Kind != "" {
			what += " of kind " + text.Value(d.Event.Kind)
		}
		if m := d.Event.Message(); m != "" {
			what += ": " + o.value(m)
		}
	case d.Reply != nil:
		what = fmt.Sprintf("reply %d: %s", d.Reply.Seq, o.value(d.Reply.String()))
	}
	fmt.Fprintln(o.out, " ", o.out.Paragraph(what, 2))
	p.painted(text.Red, "  error", d.Error)
	since := o.date(d.Time)
	if !now.IsZero() {
		since = o.ago(d.Time, now)
	}
	if tried := attempts(session.Retry{Failures: d.Failures, Crashes: d.Crashes}); tried != "" {
		since += ", after " + tried
	}
	p.field("  given up", since)
}

// attempts says how often an event or a reply came back, "" if never.
func attempts(r session.Retry) string {
	var said []string
	for _, one := range []struct {
		n         int
		one, many string
	}{{r.Failures, "failure", "failures"}, {r.Crashes, "crash", "crashes"}, {r.HandedBack, "hand-back", "hand-backs"}} {
		if one.n > 0 {
			said = append(said, text.Count(one.n, one.one, one.many))
		}
	}
	return strings.Join(said, ", ")
}

func file(f *session.File) string {
	if f == nil {
		return "-"
	}
	line := text.Value(f.Name)
	if f.Type != "" {
		line += ", " + text.Clean(f.Type)
	}
	return line + ", " + humanize.IBytes(uint64(max(f.Size, 0)))
}

// fieldPrinter prints named fields below each other.
type fieldPrinter struct {
	out   *text.Writer
	width int // of the names
}

const fieldWidth = 13

func (p fieldPrinter) title(name string) {
	fmt.Fprintln(p.out, p.out.Paint(text.Bold, name))
}

// field prints a value behind its name, or below a name that is too long.
func (p fieldPrinter) field(name, value string) { p.painted("", name, value) }

func (p fieldPrinter) painted(c text.Color, name, value string) {
	indent := p.width + 3
	value = p.out.Paragraph(value, indent)
	if c != "" {
		value = p.out.Paint(c, value)
	}
	between := " "
	if text.Width(name) > p.width {
		between = "\n" + strings.Repeat(" ", indent)
	}
	name = p.out.Paint(text.Dim, p.out.Paragraph(text.Pad(name, p.width), 2))
	fmt.Fprintln(p.out, strings.TrimRight("  "+name+between+value, " "))
}

func (p fieldPrinter) intent(in *session.Intent) {
	if in == nil {
		p.field("intent", "-")
		return
	}
	line := fmt.Sprintf("%s, score %.4g", text.Clean(in.Name), in.Score)
	if in.Sentence != "" {
		line += ", matched " + text.Value(in.Sentence)
	}
	p.field("intent", line)
	for _, param := range in.Params {
		line := text.Clean(param.Name) + " = " + text.Value(param.Value)
		if param.Info != nil {
			line += ", " + text.Value(param.Info)
		}
		p.field("", line)
	}
}
