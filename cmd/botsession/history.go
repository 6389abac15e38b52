package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// historyOptions are what history was asked.
type historyOptions struct {
	*env
	ref  session.Ref
	last int // last is how many messages; 0 or less means all
	json bool
}

func newHistory(e *env) *cobra.Command {
	o := &historyOptions{env: e}
	cmd := &cobra.Command{
		Use:   "history BOT/ID",
		Short: "Print the chat of a session, and what waits to be handled",
		Long: `Print the chat of a session in the order in which it was handled, and behind it
the user's messages that were accepted and wait to be handled.`,
		Example: `  botsession history pizza/42
  botsession history pizza/42 -n 20
  botsession history 'pizza/"an id with spaces"' --json`,
		ValidArgsFunction: e.completeRef,
		Args:              func(cmd *cobra.Command, args []string) (err error) { o.ref, err = refArg(cmd, args); return err },
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.last, "last", "n", 0, "only the last so many messages, beside those that wait; 0 or less means all")
	flags.BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

func (o *historyOptions) run(ctx context.Context) error {
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
	messages, failed := bot.Session(o.ref.ID).History(ctx, session.Last(o.last).WithWaiting())
	if failed != nil && len(messages) == 0 {
		return notFound(o.ref, failed)
	}
	if o.json {
		for _, m := range messages {
			m.Content, m.Metadata = text.JSONable(m.Content), text.JSONableMap(m.Metadata)
			if err := text.WriteJSON(o.out, m); err != nil {
				return err
			}
		}
		return failed
	}
	if len(messages) == 0 {
		fmt.Fprintf(o.err, "no messages in %s\n", o.ref)
	}
	o.print(messages)
	return failed
}

// print prints a chat: the day where it changes, then time, speaker and text.
func (o *historyOptions) print(messages []session.Message) {
	const indent = 16 // as wide as time and speaker
	day := ""
	for _, m := range messages {
		at := m.Time.In(o.zone)
		if d := at.Format("Monday, 2 January 2006"); d != day {
			day = d
			fmt.Fprintln(o.out, o.out.Paint(text.Dim, day))
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
		said := o.out.Paragraph(kind+m.String()+waiting, indent)
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
