package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// A pair is one goal's figure, measured in one run with two versions of the
// library.
type pair struct {
	Figure string `json:"figure"`
	Goal   string `json:"goal"`
	Other  spread `json:"other"`
	This   spread `json:"this"`
	Note   string `json:"note,omitempty"` // of this version's last measurement
	Met    bool   `json:"reached"`        // by this version, each time

	other, this []float64
}

// compare runs this program and the one built of another version, in turn, with
// the same flags, and sets their figures side by side.
func (o *options) compare(ctx context.Context, args []string, out, errs io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var pairs []*pair
	find := func(g goal) *pair {
		for _, p := range pairs {
			if p.Figure == g.Figure {
				return p
			}
		}
		pairs = append(pairs, &pair{Figure: g.Figure, Goal: g.Goal, Met: true})
		return pairs[len(pairs)-1]
	}
	args = append(withoutPair(args), "--json", "--repeats", "1")
	for repeat := range o.repeats {
		for _, program := range []string{o.pair, self} {
			fmt.Fprintf(errs, "\r\033[Krepeat %d of %d: %s\n", repeat+1, o.repeats, program)
			goals, err := goalsOf(ctx, program, args, errs)
			if err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
			for _, g := range goals {
				// Zero is a figure of the race alone: elsewhere it was not measured.
				measured := g.By != notMeasured
				switch p := find(g); {
				case program == self:
					p.Note, p.Met = g.Note, p.Met && g.Met
					if measured {
						p.this = append(p.this, g.Value)
					}
				case measured:
					p.other = append(p.other, g.Value)
				}
			}
		}
	}
	lines := json.NewEncoder(out)
	p := &printer{out: out, markdown: o.markdown}
	var rows []table.Row
	for _, x := range pairs {
		x.Other, x.This = spreadOf(x.other), spreadOf(x.this)
		x.Met = x.Met && len(x.this) > 0
		if o.json {
			if err := lines.Encode(map[string]any{"kind": "pair", "value": x}); err != nil {
				return err
			}
			continue
		}
		verdict := "reached"
		if !x.Met {
			verdict = "missed"
		}
		if x.Note != "" {
			verdict += " " + p.note(x.Note)
		}
		rows = append(rows, table.Row{x.Figure, shownSpread(x.other), x.Goal, shownSpread(x.this), verdict})
	}
	if !o.json {
		p.table(fmt.Sprintf("Two versions in one run, median of %d (min–max)", o.repeats), 5,
			table.Row{"figure", o.pair, "goal", "this version", ""}, rows)
	}
	return nil
}

func shownSpread(values []float64) string {
	if len(values) == 0 {
		return notMeasured
	}
	s := spreadOf(values)
	return fmt.Sprintf("%s (%s–%s)", short(s.Median), short(s.Min), short(s.Max))
}

// withoutPair returns the flags that both programs get.
func withoutPair(args []string) (rest []string) {
	for i := 0; i < len(args); i++ {
		switch name, _, whole := strings.Cut(strings.TrimLeft(args[i], "-"), "="); {
		case name == "pair" && !whole:
			i++
		case name == "pair":
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}

// goalsOf runs a program, and returns the goals that it prints.
func goalsOf(ctx context.Context, program string, args []string, errs io.Writer) (goals []goal, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, errs
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its servers then
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	for decoder := json.NewDecoder(&out); ; {
		var line struct {
			Kind  string
			Value json.RawMessage
		}
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if line.Kind != "goal" {
			continue
		}
		var g goal
		if err := json.Unmarshal(line.Value, &g); err != nil {
			return nil, err
		}
		goals = append(goals, g)
	}
	if len(goals) == 0 {
		return nil, errors.New("it printed no goals")
	}
	return goals, nil
}
