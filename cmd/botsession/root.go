package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
)

// env is what every command is given: its streams and the global flags. It has
// no clock: how long ago something was is told by the server's.
type env struct {
	in     io.Reader
	asks   bool           // whether somebody reads err and answers in in
	out    *text.Writer   // data
	err    *text.Writer   // messages
	zone   *time.Location // of the times that people read
	getenv func(string) string

	redis     string // --redis; empty means REDIS_URL
	namespace string // --namespace
	redacted  bool   // --redact
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitChanged     = 5 // what was to be done does not fit what is there now
)

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	return (&env{
		in: in, asks: text.OnTerminal(in) && text.OnTerminal(errs),
		out: text.NewWriter(out, os.Getenv), err: text.NewWriter(errs, os.Getenv), zone: time.Local, getenv: os.Getenv,
	}).run(ctx, args)
}

func (e *env) run(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second ctrl-C ends the process at once

	root, started := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var told *toldError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &told):
	case !*started: // cobra found the command line wrong
		told = usage(err, "")
	case ctx.Err() != nil:
		told = failed(errors.New("interrupted"), "")
	default:
		told = failed(err, "")
	}
	e.tell(told)
	return told.code
}

// maxTold is how many errors are told at once.
const maxTold = 10

// tell prints an error, or each of several on a line of its own, and what the user
// can do about it.
func (e *env) tell(told *toldError) {
	errs := failures{told.err}
	errors.As(told.err, &errs)
	for i, err := range errs {
		if err == nil {
			break // the command has told why
		}
		line := err.Error()
		if i == maxTold {
			line = fmt.Sprintf("and %d more errors", len(errs)-maxTold)
		}
		fmt.Fprintln(e.err, e.err.Paint(text.Red, "error:"), text.Clean(line))
		if i == maxTold {
			break
		}
	}
	if told.hint != "" {
		fmt.Fprintln(e.err, e.err.Paint(text.Bold, "hint:"), text.Clean(told.hint))
	}
}

func init() { cobra.EnableCommandSorting = false } // help lists the commands in the order of their use

// newRoot builds the commands. Started becomes true when one of them was
// called with flags and arguments that it can take.
func newRoot(e *env) (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "botsession",
		Short: "Look into the sessions of a chatbot fleet, and mend them",
		Long: `botsession looks into the sessions that a fleet of chatbot replicas keeps in
Redis, and mends what is wrong with them. Begin with stats, then stuck: it says
what waits and why. show tells all about one session; what helps then is below
it in this list. Its demo shows, with real processes, what the fleet survives.`,
		Example: `  botsession demo                     three replicas, one is killed, no loss
  botsession stats                    how all bots are, on one screen
  botsession stuck                    what waits for too long, and why
  botsession ls pizza                 who is talking to the bot
  botsession show pizza/42            everything about one session
  botsession skip pizza/42            give up the event that it cannot handle
  botsession history pizza/42 -n 20   what was said, and what waits`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "botsession --help lists the commands"
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "did you mean botsession " + strings.Join(near, ", or ") + "?"
			}
			return usage(fmt.Errorf("unknown command %q", args[0]), hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(err, cmd.CommandPath()+" --help lists the flags")
	})
	flags := root.PersistentFlags()
	flags.StringVar(&e.redis, "redis", "", "address of the Redis: redis://, redis+cluster:// or redis+sentinel:// (default: REDIS_URL)")
	flags.StringVar(&e.namespace, "namespace", "", `first part of every key (default "bs")`)
	flags.BoolVar(&e.redacted, "redact", false, "do not show what users and bots said (also BOTSESSION_REDACT=1)")
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, cmd := range commands {
			cmd.GroupID = id
		}
		root.AddCommand(commands...)
	}
	group("look", "Look:", newStats(e), newStuck(e), newList(e), newShow(e), newHistory(e), newTail(e), newReplicas(e), newFlow(e),
		newDead(e), newAudit(e), newSettings(e), newDoctor(e))
	group("act", "Act, which says first what it will do, and asks:", newRetry(e), newSkip(e), newReply(e), newSend(e), newMove(e), newReset(e), newRemove(e), newErase(e))
	group("run", "Run:", newDemo(e), newChat(e), newExporter(e), newVersion(e), newReplica(e), newSoak(e), newCrowd(e))
	root.SetHelpCommandGroupID("run")
	root.SetCompletionCommandGroupID("run")
	return root, started
}

// A toldError is an error with what the user can do about it.
type toldError struct {
	err  error
	hint string
	code int
}

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

// failed is the error of a command that was asked rightly and could not do it.
func failed(err error, hint string) *toldError { return &toldError{err, hint, exitFailed} }

// usage is the error of a command that was asked wrongly.
func usage(err error, hint string) *toldError { return &toldError{err, hint, exitUsage} }

// missing is the error of a command that was asked about what is not there.
func missing(err error, hint string) *toldError { return &toldError{err, hint, exitNotFound} }

// errSilent ends a command with exit code 1 when it has said why.
var errSilent = &toldError{code: exitFailed}

// failures are several errors of one command.
type failures []error

func (f failures) Error() string {
	var texts []string
	for _, err := range f {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// err returns the failures as an error, nil if there are none.
func (f failures) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// noArgs is for commands without arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("%s takes no arguments", cmd.Name()), cmd.CommandPath()+" --help")
	}
	return nil
}
