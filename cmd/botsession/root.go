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
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// env is what every command is given: its streams and the global flags. It has
// no clock: how long ago something was is told by the server's.
type env struct {
	in     io.Reader
	out    *text.Writer   // data
	err    *text.Writer   // messages
	zone   *time.Location // of the times that people read
	getenv func(string) string

	redis     string // --redis; empty means REDIS_URL
	namespace string // --namespace
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run runs one command line and answers its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	return (&env{in: in, out: text.NewWriter(out, os.Getenv), err: text.NewWriter(errs, os.Getenv), zone: time.Local, getenv: os.Getenv}).run(ctx, args)
}

func (e *env) run(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second ctrl-C ends the process at once

	root, started := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var told *toldError
	if !errors.As(err, &told) {
		told = &toldError{err: err, code: exitFailed}
		if !*started { // cobra found the command line wrong
			told = usage(err, "")
		}
	}
	if told.err != nil {
		fmt.Fprintln(e.err, e.err.Paint(text.Red, "error:"), text.Clean(strings.ReplaceAll(strings.TrimSpace(told.err.Error()), "\n", "; ")))
	}
	if told.hint != "" {
		fmt.Fprintln(e.err, e.err.Paint(text.Bold, "hint:"), told.hint)
	}
	return told.code
}

// newRoot builds the commands. Started becomes true when one of them was
// called with flags and arguments that it can take.
func newRoot(e *env) (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "botsession",
		Short: "Look into the sessions of a chatbot fleet",
		Long: `botsession looks into the sessions that a fleet of chatbot replicas keeps in
Redis. Its demo shows, with real processes, what the fleet survives.`,
		Example: `  botsession demo                     three replicas, one is killed, nothing is lost
  botsession ls pizza                 who is talking to the bot
  botsession show pizza/42            everything about one session
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
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(err, cmd.CommandPath()+" --help lists the flags")
	})
	flags := root.PersistentFlags()
	flags.StringVar(&e.redis, "redis", "", "address of the Redis: redis://, redis+cluster:// or redis+sentinel:// (default: REDIS_URL)")
	flags.StringVar(&e.namespace, "namespace", "", `first part of every key (default "bs")`)
	root.AddCommand(newDemo(e), newList(e), newShow(e), newHistory(e), newSettings(e), newVersion(e), newReplica(e), newSoak(e))
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

// errSilent ends a command with exit code 1 when it has said why.
var errSilent = &toldError{code: exitFailed}

// inspect opens the store to look at it: nothing is written, and a server that
// does not answer is given up soon.
func (e *env) inspect(ctx context.Context) (*store.Store, error) {
	url, err := e.url()
	if err != nil {
		return nil, err
	}
	return openStore(ctx, url, &store.Options{Namespace: e.namespace, ReadOnly: true})
}

// open opens the store to change something.
func (e *env) open(ctx context.Context) (*store.Store, error) {
	url, err := e.url()
	if err != nil {
		return nil, err
	}
	return openStore(ctx, url, &store.Options{Namespace: e.namespace})
}

// url is the Redis that a command works on: the flag wins.
func (e *env) url() (string, error) {
	url := e.redis
	if url == "" {
		url = e.getenv("REDIS_URL")
	}
	if url == "" {
		return "", usage(errors.New("no Redis is given"), "--redis redis://HOST:PORT, or REDIS_URL in the environment")
	}
	return url, nil
}

// openStore opens a store and tells the user which server is at fault.
func openStore(ctx context.Context, url string, opts *store.Options) (*store.Store, error) {
	client, err := store.ParseURL(url)
	if err != nil {
		return nil, usage(err, "an address looks like redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT/MASTER")
	}
	client.Close()
	st, err := store.Open(ctx, url, opts)
	switch {
	case err == nil:
		return st, nil
	case errors.Is(err, session.ErrInvalid):
		return nil, usage(err, "")
	case errors.Is(err, session.ErrNewerLayout):
		return nil, failed(err, "use the botsession of the fleet's version")
	case errors.Is(err, session.ErrNoPermission):
		return nil, failed(err, "the README lists the rights that a user needs to look, and to serve")
	case errors.Is(err, session.ErrUnsupported):
		return nil, failed(err, "the README says which servers and which data this version works with")
	case errors.Is(err, session.ErrCorrupt):
		return nil, failed(err, "is it the right server, and the right --namespace?")
	case ctx.Err() != nil:
		return nil, failed(errors.New("interrupted"), "")
	}
	return nil, failed(fmt.Errorf("%s: %w", text.Address(url), err), "does the server run there? Another one: --redis or REDIS_URL")
}

// refArg reads the one argument of a command that is about one session.
func refArg(cmd *cobra.Command, args []string) (session.Ref, error) {
	if len(args) != 1 {
		return session.Ref{}, usage(fmt.Errorf("%s needs one session, not %d", cmd.Name(), len(args)), fmt.Sprintf("botsession %s pizza/42, as botsession ls prints it", cmd.Name()))
	}
	ref, err := session.ParseRef(args[0])
	if err != nil {
		return ref, usage(err, fmt.Sprintf("botsession %s pizza/42, as botsession ls prints it", cmd.Name()))
	}
	return ref, nil
}

// notFound explains a session that is not there.
func notFound(ref session.Ref, err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return failed(fmt.Errorf("no session %s: it was never created, was destroyed, or has expired", ref), "botsession ls "+ref.Bot)
	}
	return err
}
