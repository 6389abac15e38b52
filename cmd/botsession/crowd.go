package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/cmd/internal/crowd"
	"github.com/botsession/botsession/store"
)

// newCrowd makes a bot with a million sessions, on which the other commands are
// measured.
func newCrowd(e *env) *cobra.Command {
	var sessions, held int
	cmd := &cobra.Command{
		Use:   "crowd BOT",
		Short: "Make a bot with very many sessions, to try the other commands on",
		Long: fmt.Sprintf(`Make a bot, which must not be there, with very many sessions: in %d states, %d a
user. A tenth of them have an event that waits, up to 10,000 a dead letter, and
nobody serves them. With --held some are held, until the command is interrupted.`, crowd.States, crowd.PerUser),
		Example: "  botsession crowd many --redis redis://127.0.0.1:6390 --held 100",
		Hidden:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("crowd needs one bot, not %d", len(args)), "a new name: botsession crowd many")
			}
			return botArg(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if sessions < 1 || held < 0 {
				return usage(errors.New("--sessions must be at least 1, and --held not negative"), "")
			}
			ctx := cmd.Context()
			url, err := e.url()
			if err != nil {
				return err
			}
			// Nothing is logged, because each dead letter would be; and what is held stays so.
			st, err := openStore(ctx, url, &store.Options{Namespace: e.namespace, Logger: slog.New(slog.DiscardHandler), MaxTurn: 365 * 24 * time.Hour})
			if err != nil {
				return err
			}
			defer st.Close()
			progress := text.NewProgress(e.err, 100)
			defer progress.Close()
			c, err := crowd.Make(ctx, st, args[0], sessions, func(what string, done, of int) {
				progress.Show(int64(100*done/max(of, 1)), what)
			})
			progress.Close()
			if errors.Is(err, crowd.ErrThere) {
				return failed(err, "take another name: its events would become dead letters")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(e.out, "%s: %s; %s, %s; half were there at %s\n", args[0], text.Count(c.Sessions, "session", "sessions"),
				text.Count(c.Waiting, "waits", "wait"), text.Count(c.Dead, "has a dead letter", "have dead letters"), c.Half.UTC().Format(time.RFC3339))
			if held == 0 {
				return nil
			}
			n, release, err := c.Hold(ctx, held)
			if err != nil {
				return err
			}
			defer release()
			fmt.Fprintf(e.out, "%s, until this is interrupted\n", text.Count(n, "is held by "+st.Name(), "are held by "+st.Name()))
			<-ctx.Done()
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&sessions, "sessions", 1_000_000, "how many sessions")
	flags.IntVar(&held, "held", 0, "how many of them are held, at most a tenth")
	return cmd
}
