package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// sendOptions are what send was asked.
type sendOptions struct {
	acting
	ref      session.Ref
	text     string
	id       string
	wait     bool
	patience time.Duration // patience is --timeout
}

func newSend(e *env) *cobra.Command {
	o := &sendOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "send REF TEXT",
		Short: "Say something to the bot, as the user",
		Long: `Give a session an event with a text, as the platform would when its user says
that: it waits behind the others, and the bot handles it and replies to the
user. A session that is not there is made. This is to try whether a bot works
again, or to say for a user what was lost.

The event has an id of its own, which is printed. With --id that of an earlier
try, it is handled once, whatever became of that. With --wait the command waits
until the event is handled, and prints the bot's replies.`,
		Example: `  botsession send pizza/test-1 "a large pizza" --wait
  botsession send pizza/42 "a large pizza" --id by-hand-7QK2M4`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			o.ref, o.text, err = textArgs(cmd, args)
			return err
		},
		ValidArgsFunction: e.completeRef,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.id, "id", "", "the event's `id` (default: a new one)")
	flags.BoolVar(&o.wait, "wait", false, "wait until it is handled, and print the replies")
	flags.DurationVar(&o.patience, "timeout", time.Minute, "for how long --wait waits")
	o.flags(cmd)
	return cmd
}

// A sent is what send --json prints.
type sent struct {
	Session   string                `json:"session"`
	Event     string                `json:"event"`
	Duplicate bool                  `json:"duplicate"`
	Created   bool                  `json:"created"`           // Created is whether the session was made.
	Outcome   session.OutcomeStatus `json:"outcome,omitempty"` // Outcome is how it ended, with --wait.
	Replies   []session.Message     `json:"replies,omitempty"`
	Reason    string                `json:"reason,omitempty"` // Reason is why it is a dead letter.
}

func (o *sendOptions) run(ctx context.Context, cmd *cobra.Command) error {
	if o.patience <= 0 {
		return usage(fmt.Errorf("--timeout %v is not positive", o.patience), cmd.CommandPath()+" --help")
	}
	interrupted := ctx
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	o.id = cmp.Or(o.id, "by-hand-"+rand.Text()[:10])
	j := job{verb: "send", past: "sent", asks: "Say it?"}
	var receipt *store.Receipt
	prepare := func(ctx context.Context, f *fleet, s *store.Session) (deed, error) {
		d, e, err := o.one(ctx, f, s)
		d.do = func(ctx context.Context, s *store.Session) (said string, err error) {
			if receipt, err = f.bot.Accept(ctx, s.Ref().ID, e); errors.Is(err, session.ErrUnknownOutcome) {
				return "", failed(err, fmt.Sprintf("with --id %s it can be sent again, and is handled once", text.Shell(o.id)))
			}
			return "", err
		}
		return d, err
	}
	if j.deeds, err = o.prepare(ctx, []session.Ref{o.ref}, prepare); err != nil {
		return err
	}
	j.tells = func(ctx context.Context) error { return o.tells(interrupted, receipt) }
	return o.perform(ctx, j)
}

// one prepares the event.
func (o *sendOptions) one(ctx context.Context, f *fleet, s *store.Session) (d deed, e session.Event, err error) {
	e = session.Event{ID: o.id, Text: o.text}
	if err := e.Validate(); err != nil {
		return d, e, usage(err, "")
	}
	status, err := s.Status(ctx)
	d.plan.add("say", "%s, event %s", o.said(o.text), text.Value(o.id))
	switch {
	case errors.Is(err, session.ErrNotFound):
		d.plan.add("from", "a new user: there is no session %s, and it is made", s.Ref())
	case err != nil:
		return d, e, err
	default:
		e.User, e.Platform = status.User, status.Platform
		d.plan.add("from", "%s, in state %s", who(e.User, e.Platform), text.Clean(status.State))
	}
	then := "the bot handles it, and what it replies is sent"
	if status.Waiting > 0 {
		then = fmt.Sprintf("it waits behind %s", text.Count(status.Waiting, "event", "events"))
	}
	if len(f.serving()) == 0 {
		then += ". Nobody serves " + f.bot.Name() + ": it waits for a replica"
	}
	d.plan.add("then", "%s", then)
	return d, e, nil
}

// tells prints what became of the event.
func (o *sendOptions) tells(ctx context.Context, receipt *store.Receipt) error {
	r := sent{Session: o.ref.String(), Event: o.id, Duplicate: receipt.Duplicate, Created: receipt.Created}
	said := "sent"
	if r.Duplicate {
		said = "sent before, and not again"
	}
	if !o.json {
		fmt.Fprintf(o.out, "%s. %s: event %s\n", said, o.ref, text.Value(o.id))
	}
	var failure error
	if o.wait {
		waiting, cancel := context.WithTimeout(ctx, o.patience)
		defer cancel()
		outcome, err := receipt.Wait(waiting)
		switch {
		case err != nil && ctx.Err() != nil:
			failure = failed(errors.New("interrupted: the event stays, and is handled"), "botsession show "+text.Shell(o.ref.String()))
		case err != nil && waiting.Err() != nil:
			failure = failed(fmt.Errorf("it is not handled after %v; it stays, and will be: %w", o.patience, err), "why it waits: botsession show "+text.Shell(o.ref.String()))
		case err != nil:
			failure = explain(o.ref, err)
		default:
			r.Outcome, r.Replies, r.Reason = outcome.Status, outcome.Replies, outcome.Reason
			if err := outcome.Err(); err != nil {
				failure = failed(err, "")
			}
		}
	}
	for i, m := range r.Replies {
		if !o.json {
			fmt.Fprintf(o.out, "bot     %s\n", o.out.Paragraph(o.plain(m), nameWidth))
		}
		r.Replies[i] = o.hideMessage(m)
	}
	if o.json {
		if err := text.WriteJSON(o.out, r); err != nil {
			return err
		}
	}
	return failure
}

// plain shows a message as its reader sees it.
func (e *env) plain(m session.Message) string {
	if e.redact() {
		return text.Redacted(len(m.String()))
	}
	return m.String()
}
