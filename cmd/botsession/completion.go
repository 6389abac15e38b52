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
	return e.complete(cmd, args, func(ctx context.Context, st *store.Store) ([]string, error) { return st.Bots(ctx) })
}

// completionTakes is for how long somebody who has pressed Tab waits for a server.
var completionTakes = 2 * time.Second

// complete completes the first argument with words from the server.
func (e *env) complete(cmd *cobra.Command, args []string, read func(context.Context, *store.Store) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTakes)
	defer cancel()
	st, err := e.open(ctx, true)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer st.Close()
	words, err := read(ctx, st)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return words, cobra.ShellCompDirectiveNoFileComp
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
	return e.complete(cmd, args, func(ctx context.Context, st *store.Store) (refs []string, err error) {
		b, err := st.Bot(ctx, bot, nil)
		if err != nil {
			return nil, err
		}
		for status, err := range b.Sessions(ctx, store.Filter{}) {
			if err != nil && len(refs) == 0 && !errors.Is(err, session.ErrCorrupt) {
				return nil, err
			}
			if err == nil {
				refs = append(refs, status.Ref.String())
			}
			if len(refs) == 100 {
				break
			}
		}
		return refs, nil
	})
}

// completeRefs completes each of several sessions.
func (e *env) completeRefs(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	return e.completeRef(cmd, nil, begun)
}
