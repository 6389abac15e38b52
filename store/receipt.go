package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// A Receipt is the promise that an event will be handled, once.
type Receipt struct {
	Ref       session.Ref
	EventID   string
	Duplicate bool // the event had been accepted before
	Created   bool // accepting it made the session

	bot    *Bot
	at     place
	digest string
	here   *promise // of the turn, if it was handed to this process
	err    error
}

// A promise is an outcome that another goroutine will know.
type promise struct {
	done    chan struct{} // closed when outcome is set; never, if the turn ends elsewhere
	outcome Outcome
}

func newPromise() *promise { return &promise{done: make(chan struct{})} }

// Receipt returns the receipt of an event that was accepted earlier, by any
// process. There is no I/O.
func (b *Bot) Receipt(id, eventID string) *Receipt {
	at, err := b.place(id)
	return &Receipt{Ref: session.Ref{Bot: b.name, ID: id}, EventID: eventID, bot: b, at: at, digest: digestOf(eventID), err: err}
}

// OutcomeStatus says how an event ended.
type OutcomeStatus string

// How an event can end.
const (
	Handled OutcomeStatus = "handled"
	Dead    OutcomeStatus = "dead"    // it failed too often
	Dropped OutcomeStatus = "dropped" // its session was destroyed before
)

// An Outcome is how an event ended. All who wait for one event get the same
// status; its replies they get as long as the chat holds them.
type Outcome struct {
	Status  OutcomeStatus
	Replies []session.Message // of its turn, in order
	Error   string            // why it is dead
}

// Wait waits until the event has been handled, or has become a dead letter, and
// returns how it ended: when the turn is committed, not when its replies have
// been sent. It answers [session.ErrNotFound] for an event that was never
// accepted or whose window ([BotOptions.DedupeWindow]) is over, and ctx's error.
func (r *Receipt) Wait(ctx context.Context) (Outcome, error) {
	if r.err != nil {
		return Outcome{}, fmt.Errorf("wait: %w", r.err)
	}
	o, err := r.wait(ctx)
	if err != nil {
		return Outcome{}, fmt.Errorf("wait for event %q of %s: %w", r.EventID, r.Ref, err)
	}
	return o, nil
}

// wait hears of a turn in this process at once; one elsewhere, or one that goes
// elsewhere, is found by looking.
func (r *Receipt) wait(ctx context.Context) (Outcome, error) {
	var here <-chan struct{}
	pause := time.Duration(0)
	if r.here != nil {
		here, pause = r.here.done, longestPause
	}
	for {
		timer := time.NewTimer(pause)
		select {
		case <-here:
			timer.Stop()
			return r.here.outcome, nil
		case <-ctx.Done():
			timer.Stop()
			return Outcome{}, context.Cause(ctx)
		case <-timer.C:
		}
		if o, done, err := r.look(ctx); done || err != nil {
			return o, err
		}
		pause = min(max(pause*3/2, 2*time.Millisecond), longestPause)
	}
}

// longestPause is the longest time between two looks for an outcome.
const longestPause = 200 * time.Millisecond

// look reads what is known of the event, once.
func (r *Receipt) look(ctx context.Context) (o Outcome, done bool, err error) {
	s := r.bot.store
	values, err := s.client.HMGet(ctx, s.layout.key("events", r.at), r.digest).Result()
	if err != nil {
		return o, false, r.bot.Session(r.Ref.ID).wrongType("events", err)
	}
	line, ok := values[0].(string)
	if !ok {
		return o, false, session.ErrNotFound
	}
	status, rest, _ := strings.Cut(line, " ")
	switch status {
	case "p":
		return o, false, nil
	case "o":
		return Outcome{Status: Dropped}, true, nil
	case "x":
		o.Status = Dead
		o.Error, err = r.lastError(ctx)
		return o, true, err
	case "d":
		o.Status = Handled
		o.Replies, err = r.replies(ctx, strings.Fields(rest))
		return o, true, err
	}
	return o, false, &session.CorruptError{Ref: r.Ref, Field: "events", Reason: fmt.Errorf("the line %q", line)}
}

// replies reads the turn's messages from the chat, as far as they are there: it
// may have been cut, or be that of another life by now.
func (r *Receipt) replies(ctx context.Context, line []string) ([]session.Message, error) {
	if len(line) < 4 {
		return nil, nil
	}
	token, _ := strconv.ParseInt(line[1], 10, 64)
	first, _ := strconv.ParseInt(line[2], 10, 64)
	last, _ := strconv.ParseInt(line[3], 10, 64)
	chat, err := r.bot.Session(r.Ref.ID).History(ctx, session.After(first-1, int(last-first+1)))
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Lives only grow: if this one is the turn's still, so was the one that was read.
	hash, err := r.bot.store.client.HMGet(ctx, r.bot.store.layout.key("session", r.at), codec.StatusFields...).Result()
	if err != nil {
		return nil, err
	}
	rec, err := codec.ReadRecord(r.Ref, present(codec.StatusFields, hash))
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	if err != nil || rec.Life() > token {
		return nil, err
	}
	return ofBot(slices.DeleteFunc(chat, func(m session.Message) bool { return m.Seq < first || m.Seq > last })), nil
}

func ofBot(chat []session.Message) []session.Message {
	var replies []session.Message
	for _, m := range chat {
		if m.From == session.FromBot {
			replies = append(replies, m)
		}
	}
	return replies
}

func (r *Receipt) lastError(ctx context.Context) (string, error) {
	letters, err := r.bot.Session(r.Ref.ID).DeadLetters(ctx)
	for _, letter := range letters {
		if letter.Event != nil && letter.Event.ID == r.EventID {
			return letter.Error, nil
		}
	}
	return "", err
}
