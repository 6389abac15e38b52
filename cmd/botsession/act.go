package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// acting is what the commands have in common that change something by hand.
type acting struct {
	*env
	yes    bool
	dry    bool
	reason string
	as     string
	json   bool

	pause time.Duration // pause is the least time between two deeds

	st     *store.Store
	fleets map[string]*fleet // fleets are those of the bots that were asked for
	told   int               // told is how many errors were printed
	code   int               // code is the exit code of the errors so far
}

// flags adds the flags that all acts have.
func (a *acting) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&a.dry, "dry-run", false, "only say what would be done; nothing is written")
	flags.StringVar(&a.reason, "reason", "", "why, for botsession audit")
	flags.StringVar(&a.as, "as", "", "who does it, for botsession audit (default: the system's user)")
	flags.BoolVar(&a.json, "json", false, "one JSON object a line, for each session")
}

// begin opens the store, and returns a context under which what is done is noted.
func (a *acting) begin(ctx context.Context, cmd *cobra.Command) (context.Context, error) {
	if !a.yes && !a.dry && !a.asks {
		return ctx, usage(fmt.Errorf("%s asks before it does anything, and there is no terminal to ask on", cmd.CommandPath()), "--yes does it, --dry-run says what would be done")
	}
	st, err := a.open(ctx, a.dry)
	if err != nil {
		return ctx, err
	}
	a.st, a.fleets = st, map[string]*fleet{}
	return store.As(ctx, cmp.Or(a.as, systemUser(a.getenv)), a.reason), nil
}

// systemUser is who runs this process; "" if it cannot be told.
func systemUser(getenv func(string) string) string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return getenv("USER")
}

// fleetOf reads a bot, and who serves it, once.
func (a *acting) fleetOf(ctx context.Context, name string) (*fleet, error) {
	if f := a.fleets[name]; f != nil {
		return f, nil
	}
	bot, err := a.declared(ctx, a.st, name)
	if err != nil {
		return nil, err
	}
	f, err := a.fleet(ctx, bot)
	if err != nil {
		return nil, err
	}
	a.fleets[name] = &f
	return &f, nil
}

// A deed is what is done to one session.
type deed struct {
	session *store.Session
	plan    plan
	do      func(ctx context.Context, s *store.Session) (done string, err error) // do returns what was done, such as "skipped"
}

// A plan says what will be done, in named lines.
type plan [][2]string

func (p *plan) add(name, format string, args ...any) {
	*p = append(*p, [2]string{name, fmt.Sprintf(format, args...)})
}

// prepare makes a deed for each session. It tells why it cannot for some.
func (a *acting) prepare(ctx context.Context, refs []session.Ref, prepare func(ctx context.Context, f *fleet, s *store.Session) (deed, error)) (deeds []deed, err error) {
	for _, ref := range refs {
		f, err := a.fleetOf(ctx, ref.Bot)
		if err == nil {
			s := f.bot.Session(ref.ID)
			var d deed
			if d, err = prepare(ctx, f, s); err == nil {
				d.session = s
				deeds = append(deeds, d)
				continue
			}
			err = explain(ref, err)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !a.fails(err) {
			return nil, &toldError{code: a.code}
		}
	}
	return deeds, nil
}

// collect makes a deed for each session that fits a filter.
func (a *acting) collect(ctx context.Context, f *fleet, filter store.Filter, make func(session.Status) deed) (deeds []deed, err error) {
	for status, err := range f.bot.Sessions(ctx, filter) {
		switch {
		case err == nil:
			d := make(status)
			d.session = f.bot.Session(status.Ref.ID)
			deeds = append(deeds, d)
		case errors.Is(err, session.ErrCorrupt):
			a.fails(err)
		default:
			return nil, err
		}
	}
	return deeds, nil
}

// few is of how many sessions each is told.
const few = 10

// A job is what an act does: its deeds, and how it speaks of them.
type job struct {
	verb   string // verb is such as "skip"
	past   string // past is such as "skipped"
	asks   string // asks is the question; empty: whether to do that to it
	common plan   // common is what is said of the deeds when they are many
	deeds  []deed

	tells func(ctx context.Context) error // tells prints what was done; nil: each result
	thing [2]string                       // thing is what a deed is about, one and many; empty: sessions
}

// count says how many deeds there are.
func (j job) count() string {
	return text.Count(len(j.deeds), cmp.Or(j.thing[0], "session"), cmp.Or(j.thing[1], "sessions"))
}

// perform says what will be done, asks, and does it. What is begun is ended, also when
// the process is interrupted.
func (a *acting) perform(ctx context.Context, j job) error {
	if len(j.deeds) == 0 {
		return a.end()
	}
	many := len(j.deeds) > few
	if a.dry {
		return a.rehearse(j, many)
	}
	a.say(a.err, j, many)
	verb := strings.ToUpper(j.verb[:1]) + j.verb[1:]
	question := cmp.Or(j.asks, verb+" it?")
	if len(j.deeds) > 1 {
		question = fmt.Sprintf("%s %s?", verb, j.count())
	}
	if err := a.agree(ctx, question); err != nil {
		return err
	}
	var bar *text.Progress
	if many {
		bar = text.NewProgress(a.err, len(j.deeds))
	}
	var late failures // late are told below the bar
	done, ended := 0, false
	for i, d := range j.deeds {
		if i > 0 && a.pause > 0 {
			select {
			case <-time.After(a.pause):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		whole := context.WithoutCancel(ctx)
		said, err := d.do(whole, d.session)
		if err != nil {
			err = explain(d.session.Ref(), err)
			if many {
				late = append(late, err)
				ended = !goesOn(err)
			} else {
				ended = !a.fails(err)
			}
			if ended {
				break
			}
		} else {
			done++
			tells := j.tells
			if tells == nil {
				tells = func(ctx context.Context) error { return a.result(ctx, d.session, said, many) }
			}
			if err := tells(whole); err != nil {
				return err
			}
		}
		if many {
			bar.Show(int64(i+1), fmt.Sprintf("%s %s", j.past, humanize.Comma(int64(done))))
		}
	}
	if many {
		bar.Close()
		for _, err := range late {
			a.fails(err)
		}
		if more := len(late) - maxTold; more > 0 {
			fmt.Fprintf(a.err, "and %s\n", text.Count(more, "more error", "more errors"))
		}
	}
	if interrupted := ctx.Err() != nil && done < len(j.deeds); interrupted || ended || many {
		of := fmt.Sprintf("%s %s of %s", j.past, humanize.Comma(int64(done)), j.count())
		if interrupted {
			return failed(errors.New("interrupted: "+of), "")
		}
		if w := a.out; len(j.deeds) > 1 {
			if a.json {
				w = a.err
			}
			fmt.Fprintln(w, of)
		}
	}
	return a.end()
}

// end returns what was told of errors as an exit code.
func (a *acting) end() error {
	if a.code == exitOK {
		return nil
	}
	return &toldError{code: a.code}
}

// say prints what will be done.
func (a *acting) say(w *text.Writer, j job, many bool) {
	if many {
		var names []string
		for _, d := range j.deeds[:few] {
			names = append(names, d.session.Ref().String())
		}
		a.lines(w, append(plan{{"to", fmt.Sprintf("%s: %s, and %s more", j.count(), strings.Join(names, ", "), humanize.Comma(int64(len(j.deeds)-few)))}}, j.common...))
		return
	}
	for _, d := range j.deeds {
		if len(j.deeds) > 1 {
			fmt.Fprintln(w, w.Paint(text.Bold, d.session.Ref().String()))
		}
		a.lines(w, d.plan)
	}
}

// nameWidth is how wide the names of a plan's lines are.
const nameWidth = 8

func (a *acting) lines(w *text.Writer, p plan) {
	for _, line := range p {
		fmt.Fprintln(w, w.Paint(text.Dim, text.Pad(line[0], nameWidth))+w.Paragraph(line[1], nameWidth))
	}
}

// A rehearsed is what --dry-run --json prints.
type rehearsed struct {
	Session string            `json:"session"`
	Would   string            `json:"would"`
	Plan    map[string]string `json:"plan,omitempty"`
}

// rehearse prints what would be done.
func (a *acting) rehearse(j job, many bool) error {
	if !a.json {
		a.say(a.out, j, many)
		fmt.Fprintf(a.err, "nothing was done (--dry-run): it would %s %s\n", j.verb, j.count())
		return a.end()
	}
	for _, d := range j.deeds {
		r := rehearsed{Session: d.session.Ref().String(), Would: j.verb, Plan: map[string]string{}}
		for _, line := range d.plan {
			r.Plan[line[0]] = line[1]
		}
		if err := text.WriteJSON(a.out, r); err != nil {
			return err
		}
	}
	return a.end()
}

// A result is what was done to a session, as --json prints it.
type result struct {
	Session string          `json:"session"`
	Done    string          `json:"done"`
	Status  *session.Status `json:"status,omitempty"` // Status is how it is now. Nil if it is gone, or could not be read.
}

// result prints what was done, and what is there now.
func (a *acting) result(ctx context.Context, s *store.Session, said string, many bool) error {
	if many && !a.json {
		return nil
	}
	status, err := s.Status(ctx)
	if a.json {
		r := result{Session: s.Ref().String(), Done: said}
		if err == nil {
			r.Status = &status
		}
		return text.WriteJSON(a.out, r)
	}
	now := ""
	switch {
	case errors.Is(err, session.ErrNotFound):
		now = "there is no session now"
	case err != nil:
		now = "how it is now could not be read: " + err.Error()
	default:
		now = a.now(status)
	}
	_, err = fmt.Fprintf(a.out, "%s. %s: %s\n", said, s.Ref(), text.Clean(now))
	return err
}

// now says what waits in a session, and when it goes on.
func (a *acting) now(s session.Status) string {
	var waits []string
	if s.Waiting > 0 {
		waits = append(waits, text.Count(s.Waiting, "waits", "wait"))
	}
	if s.Unsent > 0 {
		waits = append(waits, text.Count(s.Unsent, "reply", "replies")+" to send")
	}
	if len(waits) == 0 {
		return "nothing waits"
	}
	next := "the next is due"
	r := s.Event
	if s.Unsent > 0 {
		r = s.Reply
	}
	f := a.fleets[s.Ref.Bot]
	switch {
	case s.Lease.Held(s.Now):
		next = "the next is in hand at " + s.Lease.Holder
	case r.At.After(s.Now):
		next = "the next is tried again in " + text.Duration(r.At.Sub(s.Now))
	case f != nil && len(f.serving()) == 0:
		next = "and nobody serves " + s.Ref.Bot
	}
	return strings.Join(waits, ", ") + ", " + next
}

// agree asks whether to do it, unless with --yes. Its error says that nothing was done.
func (a *acting) agree(ctx context.Context, question string) error {
	if a.yes {
		return nil
	}
	agreed, err := a.ask(ctx, question)
	if err == nil && !agreed {
		fmt.Fprintln(a.err, "nothing was done")
		err = errSilent
	}
	return err
}

// ask asks on the terminal. Whatever is not yes is no, the end of the input too.
func (a *acting) ask(ctx context.Context, question string) (agreed bool, err error) {
	fmt.Fprint(a.err, a.err.Paint(text.Bold, question+" [y/N]")+" ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		if !strings.HasSuffix(line, "\n") {
			fmt.Fprintln(a.err)
		}
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes", nil
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return false, failed(errors.New("interrupted: nothing was done"), "")
	}
}

// fails tells an error at once, and returns whether it makes sense to go on with other
// sessions.
func (a *acting) fails(err error) (goOn bool) {
	var told *toldError
	if !errors.As(err, &told) {
		told = failed(err, "")
	}
	if a.told++; a.told <= maxTold {
		a.tell(told)
	}
	if a.code != exitOK && a.code != told.code {
		a.code = exitFailed
	} else {
		a.code = told.code
	}
	return goesOn(told)
}

// goesOn is whether an error is of one session alone.
func goesOn(err error) bool {
	for _, kind := range []error{
		session.ErrNotFound, session.ErrChanged, session.ErrWrongState, session.ErrInHand, session.ErrInboxFull,
		session.ErrInvalid, session.ErrCorrupt, session.ErrNewerLayout, errNothing,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// errNothing says that there is nothing in a session that could be acted on.
var errNothing = errors.New("nothing to do")

// explain says what to do about the error of an act on a session.
func explain(ref session.Ref, err error) error {
	look := "how it is now: botsession show " + text.Shell(ref.String())
	var told *toldError
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, session.ErrNotFound):
		return notFound(ref, err)
	case errors.Is(err, session.ErrInHand):
		return &toldError{err, "--take takes it from there", exitChanged}
	case errors.Is(err, session.ErrChanged), errors.Is(err, session.ErrWrongState):
		return &toldError{err, look, exitChanged}
	case errors.Is(err, session.ErrUnknownOutcome):
		return failed(err, look)
	case errors.Is(err, session.ErrNoPermission):
		return failed(err, "the README lists the rights that a user needs to look, and to serve, which acts need too")
	}
	var refusal redis.Error
	if errors.As(err, &refusal) {
		return failed(err, refused(refusal))
	}
	return failed(err, "")
}

// head says what is at the head of the inbox, or of the outbox.
func (a *acting) head(p *plan, h store.Heads, reply bool) {
	now, what, r := h.Status.Now, "", h.Status.Event
	if reply {
		r = h.Status.Reply
		what = fmt.Sprintf("reply %d, %s, made %s", h.Reply.Seq, a.said(h.Reply.String()), a.at(h.Reply.Time, now))
	} else {
		what = "event " + text.Value(h.Event.ID)
		if h.Event.Kind != "" {
			what += " of kind " + text.Value(h.Event.Kind)
		}
		what += fmt.Sprintf(", %s, accepted %s", a.said(h.Event.Message()), a.at(h.Accepted, now))
	}
	what += fmt.Sprintf(", %s attempt", humanize.Ordinal(1+r.Failures+r.Crashes))
	if tried := attempts(r); tried != "" {
		what += ", " + tried
	}
	p.add("head", "%s", what)
	if r.At.After(now) {
		p.add("again", "in %s", text.Duration(r.At.Sub(now)))
	}
	if r.Error != "" {
		p.add("error", "%s", r.Error)
	}
}

// holder says who is fenced, if somebody has in hand what the act is about.
func (a *acting) holder(p *plan, s session.Status, works ...session.Work) bool {
	if !holds(s, works...) {
		return false
	}
	p.add("holder", "%s since %s: it will be fenced; what its handler does outside goes on", text.Clean(s.Lease.Holder), a.at(s.Lease.Since, s.Now))
	return true
}

// holds is whether somebody holds the session for one of these kinds of work.
func holds(s session.Status, works ...session.Work) bool {
	for _, w := range works {
		if s.Lease.Held(s.Now) && s.Lease.Work == w {
			return true
		}
	}
	return false
}

// workOf is the work on the head of the inbox, or of the outbox.
func workOf(reply bool) session.Work {
	if reply {
		return session.WorkReply
	}
	return session.WorkEvent
}

// headOf names what an act is about.
func headOf(h store.Heads, reply bool) (store.Head, error) {
	ref := h.Status.Ref
	switch {
	case reply && h.Reply != nil:
		return store.Head{Reply: h.ReplyKey}, nil
	case reply:
		return store.Head{}, missing(fmt.Errorf("%w: no reply is to be sent in %s", errNothing, ref), "")
	case h.Event != nil:
		return store.Head{Event: h.Event.ID}, nil
	case h.Reply != nil:
		return store.Head{}, missing(fmt.Errorf("%w: no event waits in %s, but a reply is to be sent", errNothing, ref), "--reply is about that")
	}
	return store.Head{}, missing(fmt.Errorf("%w: no event waits in %s", errNothing, ref), "botsession show "+text.Shell(ref.String()))
}

// at writes a moment: without the date if it is of the last hours.
func (e *env) at(t, now time.Time) string {
	if now.Sub(t) < 12*time.Hour {
		return e.clock(t)
	}
	return e.date(t)
}
