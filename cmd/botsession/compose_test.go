package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// root is where the repository begins.
const root = "../../"

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// found returns what a pattern's only group is wherever it fits, at least once.
func found(t *testing.T, pattern, in string) (groups []string) {
	t.Helper()
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(in, -1) {
		groups = append(groups, match[1])
	}
	if groups == nil {
		t.Errorf("nothing fits %s", pattern)
	}
	return groups
}

func TestTheComposeFileSetsWhatTheREADMERecommends(t *testing.T) {
	t.Parallel()
	compose := readFile(t, "docker-compose.yml")
	recommended := found(t, `(?m)^x-recommended: &recommended >-\n(.*)$`, compose)[0]
	_, block, _ := strings.Cut(readFile(t, "README.md"), "Recommended settings ([docker-compose.yml](docker-compose.yml)):\n\n```\n")
	block, _, closed := strings.Cut(block, "```")
	if !closed {
		t.Fatal("the README has no block of recommended settings")
	}
	for line := range strings.Lines(block) {
		setting, _, _ := strings.Cut(line, "#")
		if setting = strings.TrimSpace(setting); !strings.Contains(recommended+" ", "--"+setting+" ") {
			t.Errorf("the README recommends %q, the compose file sets %s", setting, recommended)
		}
	}
	for _, command := range found(t, `redis-server ((?:[^\n\\]|\\\n)+)`, compose) {
		if !strings.Contains(command, "$$SETTINGS") && !strings.Contains(command, "--sentinel") {
			t.Errorf("a server without the recommended settings: %s", command)
		}
	}
}

func TestTheComposeFileListensOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	for _, ports := range found(t, `ports: \[(.*)\]`, readFile(t, "docker-compose.yml")) {
		for port := range strings.SplitSeq(ports, ", ") {
			if !strings.HasPrefix(port, `"127.0.0.1:`) {
				t.Errorf("a port is open to others: %s", port)
			}
		}
	}
}

// Each command line that the compose file has or recommends is one of this program,
// with flags that it knows; each address is one that the library takes.
func TestTheComposeFileNamesCommandsAndAddressesThatThereAre(t *testing.T) {
	t.Parallel()
	compose := readFile(t, "docker-compose.yml")
	lines := found(t, `(?m)(?:run --rm replica|\./cmd/botsession|command:) ((?:replica|chat|ls)\b.*?)(?:  .*)?$`, compose)
	if len(lines) < 4 {
		t.Errorf("command lines: %q", lines)
	}
	for _, line := range lines {
		e := &environment{out: text.NewWriter(io.Discard, os.Getenv), err: text.NewWriter(io.Discard, os.Getenv), getenv: os.Getenv}
		commands, _ := newRoot(e)
		command, args, err := commands.Find(strings.Fields(line))
		if err == nil && command == commands {
			t.Errorf("%s: there is no such command", line)
			continue
		}
		if err == nil {
			err = command.ParseFlags(args)
		}
		if err == nil && command.Args != nil {
			err = command.Args(command, command.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, url := range found(t, `(rediss?(?:\+\w+)?://[^\s}]+)`, compose) {
		client, err := store.ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		client.Close()
	}
}

func TestTheImageIsBuiltWithTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	module := found(t, `(?m)^go (\d+\.\d+)`, readFile(t, "go.mod"))[0]
	if image := found(t, `(?m)^FROM golang:(\S+)`, readFile(t, "cmd/botsession/Dockerfile"))[0]; image != module {
		t.Errorf("the image is built with Go %s, the module is of %s", image, module)
	}
}
