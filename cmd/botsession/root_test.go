package main

import (
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	env := map[string]string{"REDIS_URL": "redis://127.0.0.1:1"}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"an unknown command", []string{"lss"}, `
error: unknown command "lss"
hint: did you mean botsession ls?
`},
		{"a command unlike any", []string{"frobnicate"}, `
error: unknown command "frobnicate"
hint: botsession --help lists the commands
`},
		{"an unknown flag", []string{"ls", "--colour"}, `
error: unknown flag: --colour
hint: botsession ls --help lists the flags
`},
		{"a flag of the wrong type", []string{"demo", "--replicas", "few"}, `
error: invalid argument "few" for "--replicas" flag: strconv.ParseInt: parsing "few": invalid syntax
hint: botsession demo --help lists the flags
`},
		{"no session", []string{"show"}, `
error: show needs one session, not 0
hint: botsession show pizza/42, as botsession ls prints it
`},
		{"two sessions", []string{"history", "a/1", "a/2"}, `
error: history needs one session, not 2
hint: botsession history pizza/42, as botsession ls prints it
`},
		{"a bot where a session is wanted", []string{"show", "pizza"}, `
error: invalid: session "pizza": want bot/id
hint: botsession show pizza/42, as botsession ls prints it
`},
		{"a session where a bot is wanted", []string{"ls", "pizza/42"}, `
error: invalid: bot name "pizza/42": '/' is not a letter, a digit, '.', '_', '-' or ':'
hint: one session: botsession show pizza/42
`},
		{"two bots", []string{"ls", "pizza", "bank"}, `
error: ls takes one bot, not 2
hint: botsession ls lists the sessions of all bots
`},
		{"an argument where none is wanted", []string{"version", "please"}, `
error: version takes no arguments
hint: botsession version --help
`},
		{"a URL of a strange scheme", []string{"ls", "--redis", "http://u:s3cret@h"}, `
error: invalid: redis URL: unknown scheme: want redis, rediss, unix, redis+cluster, rediss+cluster, redis+sentinel or rediss+sentinel
hint: an address looks like redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or redis+sentinel://HOST:PORT/MASTER
`},
		{"a control character in an argument", []string{"\x1b[2J"}, `
error: unknown command "\x1b[2J"
hint: botsession --help lists the commands
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command(t, env, test.args...).check(t, transcript{Code: 2, Err: test.want})
		})
	}
	t.Run("no Redis", func(t *testing.T) {
		t.Parallel()
		command(t, nil, "ls").check(t, transcript{Code: 2, Err: `
error: no Redis is given
hint: --redis redis://HOST:PORT, or REDIS_URL in the environment
`})
	})
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"ls", "--help"}, {"help", "demo"}, {"help", "history"}, {"help", "settings"}, {"help", "show"},
		{"help", "retry"}, {"help", "skip"}, {"help", "reply"}, {"help", "send"}, {"help", "move"}, {"help", "reset"}, {"help", "rm"}, {"help", "erase"}, {"help", "audit"}, {"help", "dead", "retry"}, {"help", "dead", "rm"},
	} {
		got := rawCommand(t, nil, args...)
		if got.Code != 0 || !strings.Contains(got.Stdout, "Usage:") || got.Err != "" {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, got.Code, got.Stdout, got.Err)
		}
		if regexp.MustCompile(`(?m)^  (replica|soak) `).MatchString(got.Stdout) {
			t.Errorf("%q shows a hidden command:\n%s", args, got.Stdout)
		}
		for line := range strings.Lines(got.Stdout) {
			if len(line) > 81 || strings.Contains(line, "(default )") {
				t.Errorf("%q: %q", args, line)
			}
		}
	}
}

// Help leads from what shows that something is wrong to what mends it.
func TestHelpGroupsTheCommands(t *testing.T) {
	t.Parallel()
	got := rawCommand(t, nil, "--help").Stdout
	at := 0
	for _, want := range []string{"\nLook:\n  stats ", "\n  stuck ", "\n  show ", "\nAct, which says first what it will do, and asks:\n  retry ", "\n  skip ", "\n  move ", "\n  rm ", "\nRun:\n  demo ", "\n  help ", "\nFlags:\n"} {
		n := strings.Index(got[at:], want)
		if n < 0 {
			t.Fatalf("%q is not behind what comes before it:\n%s", want, got)
		}
		at += n
	}
	if strings.Contains(got, "Additional Commands") {
		t.Errorf("a command is in no group:\n%s", got)
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		if conn, err := silent.Accept(); err == nil {
			interrupt()
			<-t.Context().Done()
			conn.Close()
		}
	}()
	var errs strings.Builder
	code := run(ctx, []string{"ls", "--redis", "redis://" + silent.Addr().String()}, strings.NewReader(""), io.Discard, &errs)
	if code != exitFailed || errs.String() != "error: interrupted\n" {
		t.Errorf("exit %d, stderr %q", code, errs.String())
	}
}
