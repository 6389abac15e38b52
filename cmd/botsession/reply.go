package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// replyOptions are what reply was asked.
type replyOptions struct {
	acting
	ref  session.Ref
	text string
}

func newReply(e *env) *cobra.Command {
	o := &replyOptions{acting: acting{env: e}}
	cmd := &cobra.Command{
		Use:   "reply REF TEXT",
		Short: "Tell a user something, as the bot",
		Long: `Add a text to the chat of a session as the bot's. A replica that serves the bot
sends it, behind the replies that are to be sent already. This is for a user
who waits for an answer that the bot cannot give, as after botsession skip.`,
		Example: `  botsession reply pizza/42 "We are sorry: please order again."`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			o.ref, o.text, err = textArgs(cmd, args)
			return err
		},
		ValidArgsFunction: e.completeRef,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	o.flags(cmd)
	return cmd
}

// textArgs reads the arguments of a command that says something in one session.
func textArgs(cmd *cobra.Command, args []string) (ref session.Ref, said string, err error) {
	if len(args) == 0 {
		_, err = refArg(cmd, args)
		return ref, "", err
	}
	if ref, err = refArg(cmd, args[:1]); err != nil {
		return ref, "", err
	}
	hint := fmt.Sprintf("%s %s \"What can I do for you?\"", cmd.CommandPath(), text.Shell(args[0]))
	switch {
	case len(args) > 2:
		return ref, "", usage(errors.New("a text of several words is written in quotes"), hint)
	case len(args) < 2 || args[1] == "":
		return ref, "", usage(errors.New("a text is needed"), hint)
	}
	return ref, args[1], nil
}

func (o *replyOptions) run(ctx context.Context, cmd *cobra.Command) error {
	ctx, err := o.begin(ctx, cmd)
	if err != nil {
		return err
	}
	defer o.st.Close()
	j := job{verb: "reply", past: "replied", asks: "Say it?"}
	if j.deeds, err = o.prepare(ctx, []session.Ref{o.ref}, o.one); err != nil {
		return err
	}
	return o.perform(ctx, j)
}

func (o *replyOptions) one(ctx context.Context, f *fleet, s *store.Session) (d deed, err error) {
	status, err := s.Status(ctx)
	if err != nil {
		return d, err
	}
	d.plan.add("say", "%s", o.said(o.text))
	d.plan.add("to", "%s", who(status.User, status.Platform))
	switch {
	case f.settings.Options.RecordOnly:
		d.plan.add("then", "it is in the chat, and is not sent: the bot only records its replies (recordonly)")
	case status.Unsent > 0:
		d.plan.add("then", "it is in the chat, and is sent behind %s", text.Count(status.Unsent, "reply", "replies"))
	default:
		d.plan.add("then", "it is in the chat, and is sent")
	}
	d.do = func(ctx context.Context, s *store.Session) (string, error) { return "replied", s.Reply(ctx, o.text) }
	return d, nil
}

// who names a user.
func who(user, platform string) string {
	line := "user " + orDash(text.Clean(user))
	if platform != "" {
		line += " on " + text.Clean(platform)
	}
	return line
}
