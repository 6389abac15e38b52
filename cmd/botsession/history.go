package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// historyOptions are what history was asked.
type historyOptions struct {
	*env
	ref    session.Ref
	last   int    // last is how many messages; 0 or less means all
	before int64  // before is the number of a message; 0 means none
	since  string // since is --since
	until  string // until is --until
	follow bool
	json   bool

	day string // day is the last one that was printed
}

func newHistory(e *env) *cobra.Command {
	o := &historyOptions{env: e}
	cmd := &cobra.Command{
		Use:   "history BOT/ID",
		Short: "Print the chat of a session, and what waits to be handled",
		Long: `Print the chat of a session in the order in which it was handled, and behind it
the user's messages that were accepted and wait to be handled. In --json each
message has its number, seq; --before NUMBER pages back.

With -f what is said from now on is printed when it is handled, until ctrl-C.`,
		Example: `  botsession history pizza/42
  botsession history pizza/42 -n 20
  botsession history pizza/42 --since 2h -f
  botsession history 'pizza/"an id with spaces"' --json`,
		ValidArgsFunction: e.completeRef,
		Args:              func(cmd *cobra.Command, args []string) (err error) { o.ref, err = refArg(cmd, args); return err },
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.last, "last", "n", 0, "only the last so many messages, beside those that wait; 0 or less means all")
	flags.Int64Var(&o.before, "before", 0, "only messages before that `number`, and none that waits")
	flags.StringVar(&o.since, "since", "", "only messages `since`: 90m, or 2026-01-02T15:04:05Z")
	flags.StringVar(&o.until, "until", "", "only messages `until` then, and none that waits")
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on with what is said from now on, until ctrl-C")
	flags.BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

func (o *historyOptions) run(ctx context.Context) error {
	query, err := o.query(time.Now())
	if err != nil {
		return err
	}
	st, err := o.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := o.declared(ctx, st, o.ref.Bot)
	if err != nil {
		return err
	}
	// What could be read is shown, whatever could not.
	messages, failed := bot.Session(o.ref.ID).History(ctx, query)
	if o.before > 0 && o.last <= 0 {
		messages = slices.DeleteFunc(messages, func(m session.Message) bool { return m.Seq >= o.before })
	}
	if failed != nil && len(messages) == 0 {
		return notFound(o.ref, failed)
	}
	if len(messages) == 0 && !o.json {
		fmt.Fprintf(o.err, "no messages in %s\n", o.ref)
	}
	if err := o.show(messages); err != nil {
		return err
	}
	if o.follow && failed == nil {
		return o.following(ctx, bot, messages)
	}
	return failed
}

// query makes the query that the flags ask for.
func (o *historyOptions) query(now time.Time) (q session.Query, err error) {
	if o.follow && (o.before > 0 || o.until != "") {
		return q, usage(errors.New("-f goes on at the end: without --before and --until"), "")
	}
	q = session.Last(o.last)
	if o.before > 0 {
		q = session.All()
		if o.last > 0 {
			last := max(o.before-1, 0) // the numbers have no gaps
			q = session.After(max(last-int64(o.last), 0), int(min(last, int64(o.last))))
		}
	}
	if o.since != "" {
		at, err := moment("since", o.since, now)
		if err != nil {
			return q, err
		}
		q = q.Since(at)
	}
	if o.until != "" {
		at, err := moment("until", o.until, now)
		if err != nil {
			return q, err
		}
		q = q.Until(at)
	}
	if o.before == 0 && o.until == "" && !o.follow {
		q = q.WithWaiting()
	}
	return q, nil
}

// show prints messages for people or as JSON.
func (o *historyOptions) show(messages []session.Message) error {
	if !o.json {
		o.print(messages)
		return nil
	}
	for _, m := range messages {
		if err := text.WriteJSON(o.out, o.hideMessage(m)); err != nil {
			return err
		}
	}
	return nil
}

// following prints what is said from then on. It asks once a second, and so needs no
// more rights than looking does, and misses nothing.
func (o *historyOptions) following(ctx context.Context, bot *store.Bot, shown []session.Message) error {
	last := int64(0)
	if len(shown) > 0 {
		last = shown[len(shown)-1].Seq
	}
	for {
		select {
		case <-ctx.Done():
			return nil // ctrl-C is how it ends
		case <-time.After(time.Second):
		}
		messages, err := bot.Session(o.ref.ID).History(ctx, session.After(last, 0))
		if ctx.Err() != nil {
			return nil
		}
		if len(messages) > 0 {
			last = messages[len(messages)-1].Seq
		}
		if failed := o.show(messages); failed != nil {
			return failed
		}
		if errors.Is(err, session.ErrNotFound) { // it may begin anew
			last, err = 0, nil
		}
		if err != nil {
			return err
		}
	}
}

// print prints a chat: the day where it changes, then time, speaker and text.
func (o *historyOptions) print(messages []session.Message) {
	const indent = 16 // as wide as time and speaker
	for _, m := range messages {
		at := m.Time.In(o.zone)
		if d := at.Format("Monday, 2 January 2006"); d != o.day {
			o.day = d
			fmt.Fprintln(o.out, o.out.Paint(text.Dim, d))
		}
		speaker, color := "user", text.Cyan
		if m.From == session.FromBot {
			speaker, color = "bot", text.Green
		}
		kind, waiting := "", ""
		if m.Type != session.Text && m.Type != session.Markdown {
			kind = fmt.Sprintf("[%s] ", text.Clean(string(m.Type)))
		}
		if m.Waiting {
			waiting = "  (waiting)"
		}
		content := m.String()
		if o.redact() {
			content = text.Redacted(len(content))
		}
		said := o.out.Paragraph(kind+content+waiting, indent)
		if rest, whole := strings.CutPrefix(said, kind); whole {
			said = o.out.Paint(text.Dim, kind) + rest
		}
		if rest, whole := strings.CutSuffix(said, waiting); whole {
			said = rest + o.out.Paint(text.Yellow, waiting)
		}
		fmt.Fprintf(o.out, "%s  %s  %s\n", o.out.Paint(text.Dim, at.Format(time.TimeOnly)),
			o.out.Paint(color, fmt.Sprintf("%-4s", speaker)), strings.TrimRight(said, " "))
	}
}
