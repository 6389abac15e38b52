package store

import (
	"context"
	"fmt"
	"iter"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// DeadLetters is a loop over the dead letters of all of the bot's sessions,
// also of those that no longer exist. Sessions come by the time of their last
// dead letter, the oldest first, each with its letters, oldest first. A
// session that gets one during the loop comes once, perhaps without the new
// one. For its errors see Lists in the package comment.
func (b *Bot) DeadLetters(ctx context.Context) iter.Seq2[session.DeadLetter, error] {
	return func(yield func(session.DeadLetter, error) bool) {
		if err := b.store.usable(); err != nil {
			yield(session.DeadLetter{}, fmt.Errorf("dead letters: %w", err))
			return
		}
		w := b.walk(letters).begin(nil)
		for most := 1; ; most = min(2*most, 16) { // few: a session may have many letters, and large ones
			steps := w.next(ctx, most)
			if len(steps) == 0 {
				break
			}
			lists := make([]*call.Value[[]string], len(steps))
			commands := make([]call.Command, len(steps))
			for i, at := range steps {
				lists[i] = call.LRange(b.store.layout.key("letters", at.place), 0, -1)
				commands[i] = lists[i]
			}
			_ = b.store.read(ctx, commands...) // each has its own error
			for i, list := range lists {
				if !b.lettersOf(steps[i].place, list, w, yield) {
					return
				}
			}
		}
		if err := w.err(); err != nil {
			yield(session.DeadLetter{}, fmt.Errorf("dead letters of %s: %w", b.name, err))
		}
	}
}

// lettersOf hands out the letters of one session, and reports whether the loop goes on.
func (b *Bot) lettersOf(at place, list *call.Value[[]string], w *walk, yield func(session.DeadLetter, error) bool) bool {
	corrupt := func(err error) bool {
		return yield(session.DeadLetter{}, fmt.Errorf("dead letters of %s: %w", b.name, err))
	}
	switch {
	case call.WrongType(list.Err):
		return corrupt(&session.CorruptError{Ref: at.ref, Field: "letters", Reason: list.Err})
	case list.Err != nil:
		w.fail(at.bucket, list.Err)
		return true
	}
	for letter, err := range b.letters(at, list.Val) {
		if err != nil && !corrupt(err) || err == nil && !yield(letter, nil) {
			return false
		}
	}
	return true
}

// letters reads the elements of one session's list, but for those that are too old.
// With the error of one that is damaged comes what can be read of it.
func (b *Bot) letters(at place, elements []string) iter.Seq2[session.DeadLetter, error] {
	return func(yield func(session.DeadLetter, error) bool) {
		oldest := b.store.caller.Clock.Now(at.bucket).Add(-deadLife)
		for _, element := range elements {
			letter, err := stored.DecodeDeadLetter([]byte(element))
			letter.Ref = at.ref
			if letter.Time.Before(oldest) {
				if err == nil {
					continue
				}
				letter = session.DeadLetter{}
			}
			if err != nil {
				err = &session.CorruptError{Ref: at.ref, Field: "letters", Reason: err}
			}
			if !yield(letter, err) {
				return
			}
		}
	}
}
