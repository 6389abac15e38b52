package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// completeBot completes the name of a bot from the server.
func (e *env) completeBot(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	st, err := e.open(ctx, true)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer st.Close()
	bots, err := st.Bots(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return bots, cobra.ShellCompDirectiveNoFileComp
}

// completeRef completes a bot's name, and behind its slash the id of one of
// its newest sessions.
func (e *env) completeRef(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	bot, _, slash := strings.Cut(begun, "/")
	if !slash {
		bots, directive := e.completeBot(cmd, args, begun)
		for i := range bots {
			bots[i] += "/"
		}
		return bots, directive | cobra.ShellCompDirectiveNoSpace
	}
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	st, err := e.open(ctx, true)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer st.Close()
	b, err := st.Bot(ctx, bot, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var refs []string
	for status, err := range b.Sessions(ctx, store.Filter{}) {
		if err != nil && len(refs) == 0 && !errors.Is(err, session.ErrCorrupt) {
			return nil, cobra.ShellCompDirectiveError
		}
		if err == nil {
			refs = append(refs, status.Ref.String())
		}
		if len(refs) == 100 {
			break
		}
	}
	return refs, cobra.ShellCompDirectiveNoFileComp
}
