package main

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A display is what the demo shows on stderr while it runs: lines of what
// happens, and below them, on a terminal, a bar with live figures.
type display struct {
	env *env

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil: no terminal, or closed
}

const barWidth = 15

func newDisplay(e *env, total int) *display {
	d := &display{env: e}
	if !terminal(e.err) || e.getenv("TERM") == "dumb" {
		return d
	}
	d.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(e.err),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionShowCount(),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
	)
	return d
}

// say prints a line above the bar.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	fmt.Fprintln(d.env.err, fmt.Sprintf(format, args...))
	if d.bar != nil {
		d.bar.RenderBlank()
	}
}

// Write prints whole lines above the bar.
func (d *display) Write(p []byte) (int, error) {
	d.say("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// show sets the bar and the figures beside it: the first of the texts that fits
// beside the bar, since a bar that wraps cannot be redrawn.
func (d *display) show(done int64, figures ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar == nil {
		return
	}
	room := 80
	if f, ok := d.env.err.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			room = width
		}
	}
	counts := fmt.Sprintf("100%%  (%d/%d) ", d.bar.GetMax(), d.bar.GetMax())
	room -= barWidth + len(counts) + 1
	text := ""
	for _, text = range figures {
		if len(text) <= room {
			break
		}
	}
	d.bar.Describe(text[:max(0, min(len(text), room))])
	d.bar.Set64(done)
}

// close takes the bar away.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	d.bar = nil
}

func (d *display) clear() {
	if d.bar != nil {
		d.bar.Clear()
	}
}
