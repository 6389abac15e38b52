package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	replayReplicas  = 4
	replayDuplicate = 0.2
)

// A replayed is what the project's own tool says after it replayed dialogues
// through replicas that are processes: the fields are those of its --json.
type replayed struct {
	Dialogues  int     `json:"dialogues"`
	Turns      int     `json:"turns"`
	PerSecond  float64 `json:"turns_per_second"`
	Mismatched int     `json:"mismatched"` // sessions that differ from their dialogue
	Lost       int     `json:"lost"`
	Duplicated int     `json:"duplicated"`
	OutOfOrder int     `json:"out_of_order"`
	Dropped    int     `json:"duplicates_dropped"`
	Skipped    string  `json:"skipped,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// faults counts what must not happen.
func (r *replayed) faults() int { return r.Mismatched + r.Lost + r.Duplicated + r.OutOfOrder }

func (b *bench) replay(ctx context.Context) (*replayed, error) {
	if b.config.data == "" {
		return &replayed{Skipped: "no --data is given"}, nil
	}
	b.say("replay of the dialogues")
	r, err := b.demo(ctx)
	if err != nil {
		r = &replayed{Error: err.Error()}
	}
	b.say("")
	return r, ctx.Err()
}

// demo builds the tool and runs its demo, under a namespace of its own.
func (b *bench) demo(ctx context.Context) (r *replayed, err error) {
	dir, err := os.MkdirTemp("", "benchmark-tool-")
	if err != nil {
		return nil, err
	}
	e := b.env()
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir), b.server.sweep(context.WithoutCancel(ctx), e.prefix))
	}()
	tool := filepath.Join(dir, "botsession")
	build := exec.CommandContext(ctx, "go", "build", "-o", tool, "github.com/botsession/botsession/cmd/botsession")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build botsession: %w: %s", err, said)
	}
	var out, errs bytes.Buffer
	demo := exec.CommandContext(ctx, tool, "demo", "--json", "--redis", b.server.url, "--namespace", e.prefix,
		"--dialogues", b.config.data, "--limit", strconv.Itoa(b.config.dialogues), "--kill", "0",
		"--replicas", strconv.Itoa(replayReplicas), "--duplicate", fmt.Sprint(replayDuplicate))
	demo.Stdout, demo.Stderr = &out, &errs
	demo.Cancel = func() error { return demo.Process.Signal(syscall.SIGTERM) } // it ends its replicas then
	demo.WaitDelay = 10 * time.Second
	// Where it finds faults it fails, and prints them all the same.
	err = demo.Run()
	if r, bad := parseReplay(out.Bytes()); bad == nil {
		return r, nil
	}
	return nil, fmt.Errorf("botsession demo: %w: %s", err, strings.TrimSpace(errs.String()))
}

func parseReplay(out []byte) (*replayed, error) {
	r := new(replayed)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, err
	}
	if r.Turns == 0 {
		return nil, errors.New("it replayed nothing")
	}
	return r, nil
}
