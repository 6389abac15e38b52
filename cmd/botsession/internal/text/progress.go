package text

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
)

// A Progress shows what happens while something runs: a line for each event, and
// below them, on a terminal, a bar with figures.
type Progress struct {
	out *Writer

	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil: no terminal, or closed
}

const barWidth = 15

// NewProgress returns a Progress whose bar is full at total.
func NewProgress(out *Writer, total int) *Progress {
	p := &Progress{out: out}
	if !out.live {
		return p
	}
	p.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(out.Writer),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionShowCount(),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
	)
	return p
}

// Say prints a line above the bar.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.out, fmt.Sprintf(format, args...))
	if p.bar != nil {
		p.bar.RenderBlank()
	}
}

// Write prints whole lines above the bar.
func (p *Progress) Write(lines []byte) (int, error) {
	p.Say("%s", strings.TrimSuffix(string(lines), "\n"))
	return len(lines), nil
}

// Show sets the bar, and the figures beside it to the first of the texts that fits,
// or to none: a bar that wraps cannot be drawn anew.
func (p *Progress) Show(done int64, figures ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		return
	}
	counts := fmt.Sprintf("100%%  (%d/%d) ", p.bar.GetMax(), p.bar.GetMax())
	room := p.out.width() - barWidth - len(counts) - 1
	text := ""
	if i := slices.IndexFunc(figures, func(s string) bool { return len(s) <= room }); i >= 0 {
		text = figures[i]
	}
	p.bar.Describe(text)
	p.bar.Set64(done)
}

// Close takes the bar away.
func (p *Progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.bar = nil
}

func (p *Progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
