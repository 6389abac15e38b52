package main

import (
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
	"github.com/botsession/botsession/session"
)

// showOptions are what show was asked.
type showOptions struct {
	*env
	ref  session.Ref
	json bool
}

func newShow(e *env) *cobra.Command {
	o := &showOptions{env: e}
	cmd := &cobra.Command{
		Use:   "show BOT/ID",
		Short: "Show everything about one session",
		Long: `Show everything about one session: where it is, what it holds, who works on it,
what waits, what failed, and what was given up. The chat is botsession history.
How long ago and how soon are told by the server's clock.`,
		Example: `  botsession show pizza/42
  botsession show 'pizza/"an id with spaces"' --json`,
		ValidArgsFunction: e.completeRef,
		Args:              func(cmd *cobra.Command, args []string) (err error) { o.ref, err = refArg(cmd, args); return err },
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

// shown is a session as show --json prints it.
type shown struct {
	Session     string               `json:"session"`
	Snapshot    session.Snapshot     `json:"snapshot"`
	Status      session.Status       `json:"status"`
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
	if err != nil {
		return notFound(o.ref, err)
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
	if all.DeadLetters, err = s.DeadLetters(ctx); err != nil {
		if err := corrupt(err); err != nil {
			return err
		}
	}
	if o.json {
		return text.WriteJSON(o.out, all.jsonable())
	}
	o.print(all)
	return nil
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

func (o *showOptions) print(all shown) {
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

	p.title("work")
	p.field("waiting", waiting(status))
	o.held(p, status)
	o.trouble(p, "event", status.Event, status.Now)
	o.trouble(p, "reply", status.Reply, status.Now)

	p.title("heard")
	p.field("message", text.Value(snap.Message))
	p.intent(snap.Intent)
	p.field("file", file(snap.File))
	p.field("flags", orDash(text.Clean(strings.Join(slices.Sorted(maps.Keys(snap.Flags)), ", "))))

	p.title("data")
	for key := range snap.Data {
		if width := text.Width(text.Clean(key)); width <= 3*fieldWidth {
			p.width = max(p.width, width)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(snap.Data)) {
		p.field(text.Clean(key), text.Value(snap.Data[key]))
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
	p.field("held", fmt.Sprintf("by %s %s, until %s, in %s, token %s", l.Holder, work, o.clock(l.Until), text.Duration(l.Until.Sub(s.Now)), l.Token))
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

func (o *showOptions) ago(t, now time.Time) string {
	return fmt.Sprintf("%s, %s ago", o.date(t), text.Duration(now.Sub(t)))
}

func (o *showOptions) date(t time.Time) string  { return t.In(o.zone).Format("2006-01-02 15:04:05 MST") }
func (o *showOptions) clock(t time.Time) string { return t.In(o.zone).Format(time.TimeOnly) }

func (o *showOptions) deadLetter(p fieldPrinter, d session.DeadLetter, now time.Time) {
	what := "unknown"
	switch {
	case d.Event != nil:
		what = "event " + text.Value(d.Event.ID)
		if d.Event.Kind != "" {
			what += " of kind " + text.Value(d.Event.Kind)
		}
		if m := d.Event.Message(); m != "" {
			what += ": " + text.Value(m)
		}
	case d.Reply != nil:
		what = fmt.Sprintf("reply %d: %s", d.Reply.Seq, text.Value(d.Reply.String()))
	}
	fmt.Fprintln(o.out, " ", o.out.Paragraph(what, 2))
	p.painted(text.Red, "  error", d.Error)
	since := o.ago(d.Time, now)
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
