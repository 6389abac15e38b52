package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// resetOptions are what reset was asked.
type resetOptions struct {
	acting
	refs []session.Ref
	chat bool // chat is --drop-chat
}

func newReset(e *env) *cobra.Command {
	o := &resetOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "reset REF...",
		Short: "Begin sessions anew, in the bot's first state",
		Long: `Begin each session anew, in the bot's first state: its data, flags, intent,
file and last message are deleted, and replies that are not sent yet are
dropped. The chat stays, unless with --drop-chat. This is for a conversation
that cannot go on.

Events that wait stay too. A turn in hand is fenced; its event is handled again
in the new life, with all its attempts.`,
		Example: `  botsession reset pizza/42
  botsession reset pizza/42 pizza/43 --drop-chat --reason "asked by the user"`,
		Args:              func(cmd *cobra.Command, args []string) (err error) { o.refs, err = refsArg(cmd, args); return err },
		ValidArgsFunction: e.completeRefs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	cmd.Flags().BoolVar(&o.chat, "drop-chat", false, "delete the chat too")
	o.flags(cmd)
	return cmd
}

func (o *resetOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	j := job{verb: "reset", past: "reset", common: plan{{"delete", "data, flags, intent, file and last message of each, " + o.chats("the chats")}}}
	if j.deeds, err = o.prepare(ctx, o.refs, o.one); err != nil {
		return err
	}
	return o.perform(ctx, j)
}

// chats says what becomes of the chat.
func (o *resetOptions) chats(chat string) string {
	if o.chat {
		return "and " + chat
	}
	return "but not " + chat
}

func (o *resetOptions) one(ctx context.Context, f *fleet, s *store.Session) (d deed, err error) {
	status, err := s.Status(ctx)
	if err != nil {
		return d, err
	}
	d.plan.add("state", "%s → %s", text.Clean(status.State), text.Clean(f.settings.Options.Initial))
	d.plan.add("delete", "data, flags, intent, file and last message, %s of %s", o.chats("the chat"), text.Count(status.Messages, "message", "messages"))
	if status.Unsent > 0 {
		d.plan.add("drop", "%s that %s not sent yet", text.Count(status.Unsent, "reply", "replies"), is(status.Unsent))
	}
	if holds(status, session.WorkEvent, session.WorkReply, session.WorkUpdate) {
		d.plan.add("holder", "%s since %s: it will be fenced; what its handler does outside goes on", text.Clean(status.Lease.Holder), o.at(status.Lease.Since, status.Now))
	}
	if status.Waiting > 0 {
		then := text.Count(status.Waiting, "event that waits is", "events that wait are") + " handled in the new life"
		if tried := attempts(status.Event); tried != "" {
			then += "; that the first had " + tried + " is forgotten"
		}
		d.plan.add("then", "%s", then)
	}
	how := session.KeepChat
	if o.chat {
		how = session.DropChat
	}
	d.do = func(ctx context.Context, s *store.Session) (string, error) { return "reset", s.Reset(ctx, how) }
	return d, nil
}

// is is the verb of so many.
func is(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
