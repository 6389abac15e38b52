package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// eraseOptions are what erase was asked.
type eraseOptions struct {
	acting
	bot  string
	user string
	ids  []string
}

func newErase(e *env) *cobra.Command {
	o := &eraseOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "erase BOT --user USER",
		Short: "Remove all that is kept of a user, and say what is out of reach",
		Long: `Remove all that a bot keeps of a user, as a data-protection request asks: the
sessions that the user began, with their dead letters, the dead letters of the
user's events in other sessions, and in the audit what would name the user.
Stop the user's events first: a new one begins a new session.

--id names sessions that the user did not begin. What is printed at the end is
a receipt without a name: what was removed, until when the digests of event ids
stay, and what a server cannot reach. An erase that was stopped can be begun
again.`,
		Example: `  botsession erase pizza --user ann --dry-run
  botsession erase pizza --user ann --id group-7 --yes --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := theBot(&o.bot)(cmd, args); err != nil {
				return err
			}
			if o.user == "" && len(o.ids) == 0 {
				return usage(errors.New("a user is needed"), cmd.CommandPath()+" "+o.bot+" --user ann")
			}
			return nil
		},
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	cmd.Flags().StringVar(&o.user, "user", "", "the platform's name for the `user`, as show and ls --user have it")
	cmd.Flags().StringArrayVar(&o.ids, "id", nil, "the `id` of a session that is removed too; may be there several times")
	o.flags(cmd)
	return cmd
}

// A receipt is what erase --json prints.
type receipt struct {
	Bot      string    `json:"bot"`
	Sessions int64     `json:"sessions"`
	Letters  int64     `json:"dead_letters"`
	Acts     int64     `json:"acts"`
	Until    time.Time `json:"until,omitzero"` // Until is how long digests of the ids of events stay.
	Beyond   []string  `json:"beyond"`         // Beyond is what is out of reach.
}

func (o *eraseOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	f, err := o.fleetOf(ctx, o.bot)
	if err != nil {
		return err
	}
	p, err := o.plan(ctx, f)
	if err != nil {
		return err
	}
	if o.dry {
		o.lines(o.out, p)
		fmt.Fprintln(o.err, "nothing was done (--dry-run)")
		return nil
	}
	o.lines(o.err, p)
	if err := o.agree(ctx, "Erase it?"); err != nil {
		return err
	}
	erased, err := f.bot.Erase(ctx, o.user, o.ids...)
	if o.json {
		if err := text.WriteJSON(o.out, receipt{o.bot, erased.Sessions, erased.Letters, erased.Acts, erased.Until, erased.Beyond}); err != nil {
			return err
		}
	} else {
		o.lines(o.out, o.receipt(erased))
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return failed(errors.New("interrupted: what is above was removed"), "the same command goes on")
	case errors.Is(err, session.ErrInvalid):
		return usage(err, "")
	case errors.Is(err, session.ErrChanged):
		return &toldError{err, "stop the user's events, and erase again", exitChanged}
	}
	return failed(err, "the same command goes on")
}

// plan says what there is to be removed.
func (o *eraseOptions) plan(ctx context.Context, f *fleet) (p plan, err error) {
	if o.user != "" {
		n := 0
		for s, err := range f.bot.Sessions(ctx, store.Filter{User: o.user}) {
			if err != nil && !errors.Is(err, session.ErrCorrupt) {
				return nil, err
			}
			if n++; err == nil && n <= few {
				p.add("session", "%s, in state %s, a chat of %s", s.Ref, text.Clean(s.State), text.Count(s.Messages, "message", "messages"))
			}
		}
		if n > few {
			p.add("", "and %s", text.Count(n-few, "more session", "more sessions"))
		}
		p = append(plan{{"user", fmt.Sprintf("%s began %s", text.Value(o.user), text.Count(n, "session", "sessions"))}}, p...)
	}
	for _, id := range o.ids {
		p.add("id", "%s", session.Ref{Bot: o.bot, ID: id})
	}
	p.add("then", "they are gone, with what waits in them and their dead letters, and so are dead letters of the user's events elsewhere. A new event begins a new session: stop the user's events first")
	return p, nil
}

// receipt says what was removed, and what was not.
func (o *eraseOptions) receipt(e store.Erased) (p plan) {
	p.add("erased", "%s, %s, and what named the user in %s", text.Count(e.Sessions, "session", "sessions"), text.Count(e.Letters, "dead letter", "dead letters"), text.Count(e.Acts, "act of the audit", "acts of the audit"))
	if !e.Until.IsZero() {
		p.add("stays", "digests of the ids of events, until %s", o.date(e.Until))
	}
	for _, what := range e.Beyond {
		p.add("beyond", "%s", what)
	}
	return p
}
