package store

import (
	"context"
	"log/slog"

	"github.com/botsession/botsession/session"
)

// about returns the logger with what each line about a session says of it. The keys that
// lines have in common are the same everywhere: bot, session, event, attempt, replica,
// outcome, duration, error.
func (s *Store) about(ref session.Ref) *slog.Logger {
	return s.log.With("bot", ref.Bot, "session", ref.ID)
}

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
