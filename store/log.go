package store

import (
	"context"
	"log/slog"
)

// A careful handler passes on what is at least of its level, and survives a
// handler of the user's that panics: no line is worth a process.
type careful struct {
	slog.Handler
	least slog.Level
}

func (c careful) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return level >= c.least && c.Handler.Enabled(ctx, level)
}

func (c careful) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() { _ = recover() }()
	return c.Handler.Handle(ctx, r)
}

func (c careful) WithAttrs(attrs []slog.Attr) (h slog.Handler) {
	h = c
	defer func() { _ = recover() }()
	return careful{c.Handler.WithAttrs(attrs), c.least}
}

func (c careful) WithGroup(name string) (h slog.Handler) {
	h = c
	defer func() { _ = recover() }()
	return careful{c.Handler.WithGroup(name), c.least}
}
