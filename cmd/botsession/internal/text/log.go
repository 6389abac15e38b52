package text

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// NewLogger returns a logger of warnings and errors, each in one line for people:
//
//	warning: the server takes no writes now (error OOM command not allowed)
func NewLogger(w *Writer) *slog.Logger { return slog.New(logHandler{out: w}) }

type logHandler struct {
	out  *Writer
	with []slog.Attr
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs []string
	add := func(a slog.Attr) bool {
		if a.Key != "replica" { // this process itself
			attrs = append(attrs, a.Key+" "+a.Value.Resolve().String())
		}
		return true
	}
	for _, a := range h.with {
		add(a)
	}
	r.Attrs(add)
	line := r.Message
	if len(attrs) > 0 {
		line += " (" + strings.Join(attrs, ", ") + ")"
	}
	what := h.out.Paint(Yellow, "warning:")
	if r.Level >= slog.LevelError {
		what = h.out.Paint(Red, "error:")
	}
	_, err := fmt.Fprintln(h.out, what, Clean(line))
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.with = append(h.with[:len(h.with):len(h.with)], attrs...)
	return h
}

func (h logHandler) WithGroup(string) slog.Handler { return h }
