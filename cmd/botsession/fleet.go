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

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// oneBot reads the argument of a command that is about one bot, or about all of them.
func oneBot(name *string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage(fmt.Errorf("%s takes one bot, not %d", cmd.Name(), len(args)), cmd.CommandPath()+" is about all bots")
		}
		if len(args) == 0 {
			return nil
		}
		*name = args[0]
		return botArg(*name)
	}
}

// theBot reads the argument of a command that is about one bot.
func theBot(name *string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(errors.New("a bot is needed"), cmd.CommandPath()+" pizza")
		}
		return oneBot(name)(cmd, args)
	}
}

// openQuietly opens the store to look at it, for a command that shows what the store
// warns of itself.
func (e *env) openQuietly(ctx context.Context, readOnly bool) (*store.Store, error) {
	quiet := *e
	quiet.err = text.NewWriter(io.Discard, e.getenv)
	return quiet.open(ctx, readOnly)
}

// bots returns the bot of that name, or all of them if it is empty. The failures are of
// bots that cannot be taken beside others.
func (e *env) bots(ctx context.Context, st *store.Store, name string) (bots []*store.Bot, failed failures, err error) {
	if name != "" {
		bot, err := e.declared(ctx, st, name)
		return []*store.Bot{bot}, nil, err
	}
	names, err := st.Bots(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		bot, err := e.declared(ctx, st, name)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		bots = append(bots, bot)
	}
	return bots, failed, nil
}

// A fleet is what serves one bot, and by which rules.
type fleet struct {
	bot      *store.Bot
	settings store.Settings
	replicas []store.Replica
	held     map[string][]session.Status // held are the sessions that a replica holds, by its name
}

// serving are the replicas that are there and take sessions.
func (f *fleet) serving() (there []store.Replica) {
	for _, r := range f.replicas {
		if r.Present {
			there = append(there, r)
		}
	}
	return there
}

// lost are the replicas that were not heard of again and did not leave.
func (f *fleet) lost() (gone []store.Replica) {
	for _, r := range f.replicas {
		if !r.Present && !r.Leaving {
			gone = append(gone, r)
		}
	}
	return gone
}

// slots sums up those of the replicas that are there.
func (f *fleet) slots() (all, used, stuck int) {
	for _, r := range f.serving() {
		all, used, stuck = all+r.Slots, used+r.Used, stuck+r.Stuck
	}
	return all, used, stuck
}

// versions are those of the replicas that are there.
func (f *fleet) versions() []string {
	all := map[string]bool{}
	for _, r := range f.serving() {
		all[r.Version] = true
	}
	delete(all, "")
	return slices.Sorted(maps.Keys(all))
}

// fleet reads who serves a bot.
func (e *env) fleet(ctx context.Context, bot *store.Bot) (f fleet, err error) {
	f.bot = bot
	if f.settings, err = bot.Settings(ctx); err != nil {
		return f, err
	}
	for r, err := range bot.Replicas(ctx) {
		if err != nil {
			return f, err
		}
		f.replicas = append(f.replicas, r)
	}
	return f, nil
}

// holds reads what the replicas hold.
func (f *fleet) holds(ctx context.Context) error {
	f.held = map[string][]session.Status{}
	for s, err := range f.bot.Sessions(ctx, store.Filter{Held: true}) {
		if err != nil {
			return err
		}
		f.held[s.Lease.Holder] = append(f.held[s.Lease.Holder], s)
	}
	return nil
}

// headline says in one line who serves the bot.
func (f *fleet) headline() string {
	line := fmt.Sprintf("nobody serves %s", f.bot.Name())
	switch there := f.serving(); len(there) {
	case 0:
	case 1:
		line = fmt.Sprintf("1 replica serves %s", f.bot.Name())
	default:
		line = fmt.Sprintf("%d replicas serve %s", len(there), f.bot.Name())
	}
	all, used, stuck := f.slots()
	if all > 0 && used >= all {
		line += ", none with room"
	}
	if stuck > 0 {
		line += ", " + text.Count(stuck, "handler does not return", "handlers do not return")
	}
	for i, r := range f.lost() {
		if i == 3 {
			line += fmt.Sprintf("; and %d more are gone", len(f.lost())-i)
			break
		}
		line += fmt.Sprintf("; %s was last seen %s ago", text.Clean(r.Name), text.Duration(r.Now.Sub(r.Seen)))
	}
	return line
}

// said shows what a user or a bot said, or how long it is where that is not to be shown.
func (e *env) said(s string) string {
	if e.redact() {
		return text.Redacted(len(s))
	}
	return text.Value(s)
}

// redact is whether what users and bots said is not to be shown.
func (e *env) redact() bool {
	switch strings.ToLower(e.getenv("BOTSESSION_REDACT")) {
	case "", "0", "false", "no":
		return e.redacted
	}
	return true
}

// moment reads a flag that is a duration before now, or a moment.
func moment(flag, value string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(value); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return at, usage(fmt.Errorf("--%s %q is neither a duration nor a moment", flag, value), fmt.Sprintf("as in --%s 90m, or --%s 2026-01-02T15:04:05Z", flag, flag))
	}
	return at, nil
}
