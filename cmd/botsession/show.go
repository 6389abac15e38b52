package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

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
	st, err := o.inspect(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := st.Bot(ctx, o.ref.Bot, nil)
	if err != nil {
		return notFound(o.ref, err)
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
		return writeJSON(o.out, all.jsonable())
	}
	o.print(all)
	return nil
}

// jsonable returns the session without the values that JSON cannot hold.
func (s shown) jsonable() shown {
	s.Snapshot.Data = jsonableMap(s.Snapshot.Data)
	if s.DeadLetters == nil {
		s.DeadLetters = []session.DeadLetter{}
	}
	if in := s.Snapshot.Intent; in != nil {
		intent := *in
		intent.Params = slices.Clone(in.Params)
		for i, p := range intent.Params {
			intent.Params[i].Value, intent.Params[i].Info = jsonable(p.Value), jsonable(p.Info)
		}
		s.Snapshot.Intent = &intent
	}
	for i, d := range s.DeadLetters {
		if d.Event != nil {
			event := *d.Event
			event.Payload = jsonable(event.Payload)
			s.DeadLetters[i].Event = &event
		}
		if d.Reply != nil {
			reply := *d.Reply
			reply.Content, reply.Metadata = jsonable(reply.Content), jsonableMap(reply.Metadata)
			s.DeadLetters[i].Reply = &reply
		}
	}
	return s
}

func (o *showOptions) print(all shown) {
	snap, status := all.Snapshot, all.Status
	p := fieldPrinter{o.env, o.out, fieldWidth}

	fmt.Fprintln(o.out, paint(o.env, o.out, bold, all.Session))
	p.field("state", clean(status.State))
	p.field("user", orDash(clean(status.User)))
	p.field("platform", orDash(clean(status.Platform)))
	p.field("created", o.ago(status.Created, status.Now))
	p.field("last change", o.ago(status.Active, status.Now))
	p.field("expires", o.expires(status))
	p.field("version", fmt.Sprintf("%d of life %d", status.Version, snap.Life))
	p.field("chat", count(status.Messages, "message", "messages"))

	p.title("work")
	p.field("waiting", waiting(status))
	p.field("held", o.held(status))
	o.trouble(p, "event", status.Event, status.Now)
	o.trouble(p, "reply", status.Reply, status.Now)

	p.title("heard")
	p.field("message", value(snap.Message))
	p.intent(snap.Intent)
	p.field("file", file(snap.File))
	p.field("flags", orDash(clean(strings.Join(slices.Sorted(maps.Keys(snap.Flags)), ", "))))

	p.title("data")
	for key := range snap.Data {
		p.width = min(max(p.width, text.StringWidth(clean(key))), 3*fieldWidth)
	}
	for _, key := range slices.Sorted(maps.Keys(snap.Data)) {
		p.field(clean(key), value(snap.Data[key]))
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
			for line := range strings.Lines(why) {
				fmt.Fprintln(o.out, " ", paint(o.env, o.out, red, clean(strings.TrimSpace(line))))
			}
		}
	}
}

func waiting(s session.Status) string {
	text := count(s.Waiting, "event", "events")
	if s.Unsent > 0 {
		text += ", and " + count(s.Unsent, "reply", "replies") + " to send"
	}
	return text
}

func (o *showOptions) held(s session.Status) string {
	l := s.Lease
	if l.Work == session.WorkNone {
		return "by nobody"
	}
	work := map[session.Work]string{
		session.WorkEvent:  "to handle an event",
		session.WorkReply:  "to send replies",
		session.WorkUpdate: "for an Update",
	}[l.Work]
	if work == "" {
		work = "for " + clean(string(l.Work))
	}
	text := fmt.Sprintf("by %s %s, until %s, token %s", clean(l.Holder), work, o.clock(l.Until), clean(l.Token))
	if !l.Held(s.Now) {
		return paint(o.env, o.out, red, fmt.Sprintf("by nobody: the lease of %s (%s) ran out %s ago", clean(l.Holder), strings.TrimPrefix(work, "to "), short(s.Now.Sub(l.Until))))
	}
	return text + ", in " + short(l.Until.Sub(s.Now))
}

// trouble says what the head of the inbox, or of the outbox, went through.
func (o *showOptions) trouble(p fieldPrinter, head string, r session.Retry, now time.Time) {
	if r == (session.Retry{}) {
		return
	}
	text := attempts(r.Failures, r.Crashes) + " of the first " + head
	if r.HandedBack > 0 {
		text += ", handed back " + count(r.HandedBack, "time", "times")
	}
	switch {
	case r.At.IsZero():
	case r.At.After(now):
		text += fmt.Sprintf("; again at %s, in %s", o.clock(r.At), short(r.At.Sub(now)))
	default:
		text += fmt.Sprintf("; due again since %s", short(now.Sub(r.At)))
	}
	p.field("failed", paint(o.env, o.out, red, text))
	if r.Error != "" {
		p.field("error", paragraph(r.Error, p.indent()))
	}
}

func (o *showOptions) expires(s session.Status) string {
	if s.Expires.IsZero() {
		return "never"
	}
	text := fmt.Sprintf("%s, in %s", o.date(s.Expires), short(s.Expires.Sub(s.Now)))
	if !s.Expires.After(s.Now) {
		text = fmt.Sprintf("%s, %s ago", o.date(s.Expires), short(s.Now.Sub(s.Expires)))
	}
	if s.Waiting > 0 || s.Unsent > 0 {
		text += "; not while something waits"
	}
	return text
}

func (o *showOptions) ago(t, now time.Time) string {
	return fmt.Sprintf("%s, %s ago", o.date(t), short(now.Sub(t)))
}

func (o *showOptions) date(t time.Time) string  { return t.In(o.zone).Format("2006-01-02 15:04:05 MST") }
func (o *showOptions) clock(t time.Time) string { return t.In(o.zone).Format(time.TimeOnly) }

func (o *showOptions) deadLetter(p fieldPrinter, d session.DeadLetter, now time.Time) {
	what := "unknown"
	switch {
	case d.Event != nil:
		what = "event " + value(d.Event.ID)
		if d.Event.Kind != "" {
			what += " of kind " + value(d.Event.Kind)
		}
		if m := d.Event.Message(); m != "" {
			what += ": " + value(m)
		}
	case d.Reply != nil:
		what = fmt.Sprintf("reply %d: %s", d.Reply.Seq, value(d.Reply.String()))
	}
	fmt.Fprintln(o.out, " ", what)
	p.field("  error", paint(o.env, o.out, red, paragraph(d.Error, p.indent())))
	p.field("  given up", o.ago(d.Time, now)+", after "+attempts(d.Failures, d.Crashes))
}

func attempts(failures, crashes int) string {
	return count(failures, "failure", "failures") + " and " + count(crashes, "crash", "crashes")
}

func file(f *session.File) string {
	if f == nil {
		return "-"
	}
	text := value(f.Name)
	if f.Type != "" {
		text += ", " + clean(f.Type)
	}
	return text + ", " + humanize.IBytes(uint64(max(f.Size, 0)))
}

// fieldPrinter prints named fields below each other.
type fieldPrinter struct {
	env   *env
	out   io.Writer
	width int // of the names
}

const fieldWidth = 13

func (p fieldPrinter) title(name string) {
	fmt.Fprintln(p.out, paint(p.env, p.out, bold, name))
}

func (p fieldPrinter) field(name, value string) {
	line := fmt.Sprintf("  %s %s", paint(p.env, p.out, dim, text.Pad(name, p.width, ' ')), value)
	fmt.Fprintln(p.out, strings.TrimRight(line, " "))
}

// indent is where the text of a field begins.
func (p fieldPrinter) indent() string { return strings.Repeat(" ", p.width+3) }

func (p fieldPrinter) intent(in *session.Intent) {
	if in == nil {
		p.field("intent", "-")
		return
	}
	text := fmt.Sprintf("%s, score %.4g", clean(in.Name), in.Score)
	if in.Sentence != "" {
		text += ", matched " + value(in.Sentence)
	}
	p.field("intent", text)
	for _, param := range in.Params {
		text := clean(param.Name) + " = " + value(param.Value)
		if param.Info != nil {
			text += ", " + value(param.Info)
		}
		p.field("", text)
	}
}
