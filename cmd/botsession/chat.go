package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/demo"
	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// chatOptions are what chat was asked.
type chatOptions struct {
	*env
	client   *demo.Client
	session  string
	patience time.Duration // patience is --timeout
}

func newChat(e *env) *cobra.Command {
	o := &chatOptions{env: e}
	cmd := &cobra.Command{
		Use:   "chat URL",
		Short: "Talk to the bot of a running fleet",
		Long: `Talk to the bot that the fleet of docker-compose.yml serves, or a replica with
--listen: each line is posted to URL/webhook as an event with an id of its own,
and the bot's replies are printed.

Where no reply comes the same event is posted again, under the same id, so that
it is handled once whatever happens to the replicas meanwhile. The chat ends with
ctrl-D; the next one with the same --session goes on with it.`,
		Example: `  botsession chat http://127.0.0.1:8080
  echo "a pizza" | botsession chat http://127.0.0.1:8080 --session ann`,
		Args: func(_ *cobra.Command, args []string) (err error) {
			hint := "botsession chat http://127.0.0.1:8080"
			if len(args) != 1 {
				return usage(fmt.Errorf("chat needs one address, not %d", len(args)), hint)
			}
			if o.client, err = demo.NewClient(args[0]); err != nil {
				return usage(err, hint)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.patience <= 0 {
				return usage(fmt.Errorf("--timeout %v is not positive", o.patience), "botsession chat --help")
			}
			o.session = cmp.Or(o.session, e.getenv("USER"), "user")
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.session, "session", "", "`id` of the session (default: the environment's USER)")
	flags.DurationVar(&o.patience, "timeout", time.Minute, "for how long a line is posted again")
	return cmd
}

// run talks until the input ends, or ctx does while nothing is under way.
func (o *chatOptions) run(ctx context.Context) error {
	// Before anything is typed it is said that nobody is there. A replica that is
	// there, or a proxy before it, and is not ready yet, is waited for.
	if err := o.client.Ready(ctx); err != nil && !errors.Is(err, demo.ErrNotNow) {
		return o.explain(ctx, err)
	}
	prompts := text.OnTerminal(o.in)
	if prompts {
		fmt.Fprintf(o.err, "you are %s; ctrl-D ends the chat\n", text.Clean(o.session))
	}
	run, lines, unread := rand.Text()[:8], make(chan string), make(chan error, 1)
	go o.read(ctx, lines, unread)
	var unhandled error
	for n := 1; ; n++ {
		if prompts {
			fmt.Fprint(o.err, o.err.Paint(text.Bold, "> "))
		}
		select {
		case line := <-lines:
			err := o.say(ctx, fmt.Sprintf("%s-%d", run, n), line)
			switch {
			case err == nil:
				continue
			case errors.Is(err, demo.ErrRefused), errors.Is(err, session.ErrDead), errors.Is(err, session.ErrDropped):
				o.tell(failed(err, "")) // the next line may be handled
				unhandled = errSilent
				continue
			}
			return o.explain(ctx, err)
		case err := <-unread:
			if err != nil {
				return failed(fmt.Errorf("read the input: %w", err), "")
			}
		case <-ctx.Done():
		}
		if prompts {
			fmt.Fprintln(o.err)
		}
		return unhandled
	}
}

// read sends the lines of the input, and then why there are no more: nil at its end.
// A terminal is read until the process ends.
func (o *chatOptions) read(ctx context.Context, lines chan<- string, unread chan<- error) {
	input := bufio.NewScanner(o.in)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		if strings.TrimSpace(input.Text()) == "" {
			continue
		}
		select {
		case lines <- input.Text():
		case <-ctx.Done():
			return
		}
	}
	unread <- input.Err()
}

// say posts one line, again where no reply came, and prints the replies.
func (o *chatOptions) say(ctx context.Context, id, line string) error {
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	const shortest, longest = 100 * time.Millisecond, 2 * time.Second
	for pause := shortest; ; pause = min(2*pause, longest) {
		replies, err := o.client.Say(ctx, o.session, id, line)
		if err == nil {
			for _, reply := range replies {
				for line := range strings.SplitSeq(reply, "\n") {
					fmt.Fprintln(o.out, text.Clean(line))
				}
			}
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, demo.ErrNobody) && !errors.Is(err, demo.ErrNotNow) {
			return err
		}
		if pause == shortest {
			fmt.Fprintf(o.err, "%s; the line is posted again\n", text.Clean(err.Error()))
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// explain says what to do about an error that ends the chat.
func (o *chatOptions) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err // interrupted
	case errors.Is(err, demo.ErrNobody):
		return &toldError{fmt.Errorf("%s: %w", o.client, err), "does a fleet run there? docker compose up starts one", exitUnreachable}
	case errors.Is(err, demo.ErrNotNow):
		return &toldError{fmt.Errorf("%s: %w", o.client, err), "do replicas run there, and does their server? docker compose ps", exitUnreachable}
	}
	return failed(err, "the address is that of a replica, or of the proxy before it")
}
