package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// open opens the store, to look at it alone or to change something too.
func (e *env) open(ctx context.Context, readOnly bool) (*store.Store, error) {
	url, err := e.url()
	if err != nil {
		return nil, err
	}
	return openStore(ctx, url, &store.Options{Namespace: e.namespace, ReadOnly: readOnly, Logger: text.NewLogger(e.err)})
}

// url returns the Redis that a command works on: the flag wins.
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

// openStore opens a store. Its errors tell the user what to do.
func openStore(ctx context.Context, url string, opts *store.Options) (*store.Store, error) {
	client, err := store.ParseURL(url)
	if err != nil {
		return nil, usage(err, "an address looks like redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT/MASTER")
	}
	client.Close()
	st, err := store.Open(ctx, url, opts)
	var refusal redis.Error
	switch {
	case err == nil:
		return st, nil
	case ctx.Err() != nil:
		return nil, err
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
	case errors.As(err, &refusal):
		return nil, failed(err, refused(refusal))
	}
	return nil, &toldError{err, "does the server run there? Another one: --redis or REDIS_URL", exitUnreachable}
}

// refused returns what to do about an error that the server has sent.
func refused(err redis.Error) string {
	switch code, _, _ := strings.Cut(err.Error(), " "); code {
	case "WRONGPASS", "NOAUTH":
		return "user and password stand in the address: redis://USER:PASSWORD@HOST:PORT"
	case "READONLY":
		return "this server only follows another one: give the address of that, or redis+sentinel:// or redis+cluster://, which find it"
	case "OOM":
		return "the server's memory is full: skip, skip --all, rm and dead rm work, and free some"
	case "CLUSTERDOWN":
		return "a cluster serves again when the server that is down is back, or a replica of it is promoted"
	case "ERR":
		return "does the address fit the server? One server: redis://HOST:PORT/DATABASE; a cluster: redis+cluster://; Sentinel: redis+sentinel://"
	}
	return "the server is there, but not ready: try again"
}

// declared returns a bot. If no program has declared it, the error says which bots
// there are.
func (e *env) declared(ctx context.Context, st *store.Store, name string) (*store.Bot, error) {
	bot, err := st.Bot(ctx, name, nil)
	if !errors.Is(err, session.ErrNotFound) {
		return bot, err
	}
	bots, err := st.Bots(ctx)
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(bots, name):
		return nil, failed(fmt.Errorf("bot %s has sessions, but its settings are gone from the server", name),
			"a process that serves the bot puts them back within ten seconds")
	case len(bots) == 0:
		return nil, missing(fmt.Errorf("no bot %s: no program has declared it", name), "there is no bot here; is it the right server, and the right --namespace?")
	}
	hint := "bots here: " + strings.Join(bots[:min(len(bots), maxTold)], ", ")
	if more := len(bots) - maxTold; more > 0 {
		hint += fmt.Sprintf(", and %d more", more)
	}
	return nil, missing(fmt.Errorf("no bot %s: no program has declared it", name), hint)
}

// botArg checks an argument that names a bot.
func botArg(name string) error {
	err := session.ValidBot(name)
	if err == nil {
		return nil
	}
	hint := ""
	if ref, err := session.ParseRef(name); err == nil {
		hint = "one session: botsession show " + text.Shell(ref.String())
	}
	return usage(err, hint)
}

// refArg reads the one argument of a command that is about one session.
func refArg(cmd *cobra.Command, args []string) (session.Ref, error) {
	hint := fmt.Sprintf("botsession %s pizza/42, as botsession ls prints it", cmd.Name())
	if len(args) != 1 {
		return session.Ref{}, usage(fmt.Errorf("%s needs one session, not %d", cmd.Name(), len(args)), hint)
	}
	ref, err := session.ParseRef(args[0])
	if err != nil {
		return ref, usage(err, hint)
	}
	return ref, nil
}

// refsArg reads the arguments of a command that is about one session or several.
func refsArg(cmd *cobra.Command, args []string) (refs []session.Ref, err error) {
	if len(args) == 0 {
		_, err := refArg(cmd, args)
		return nil, err
	}
	for _, arg := range args {
		ref, err := refArg(cmd, []string{arg})
		if err != nil {
			return nil, err
		}
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// notFound explains a session that is not there.
func notFound(ref session.Ref, err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return missing(goneError{ref}, "botsession ls "+ref.Bot)
	}
	return err
}

// A goneError is the error of a session that is not there.
type goneError struct{ ref session.Ref }

func (e goneError) Error() string {
	return fmt.Sprintf("no session %s: it was never created, was destroyed, or has expired", e.ref)
}
func (e goneError) Unwrap() error { return session.ErrNotFound }
