package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// Erased is what [Bot.Erase] did: the receipt for whoever asked for it. It has no name
// and no id.
type Erased struct {
	Sessions int64     // Sessions is how many sessions were removed.
	Letters  int64     // Letters is how many dead letters were removed, those of the sessions included.
	Acts     int64     // Acts is how many acts in the audit lost the session's name and the reason.
	Until    time.Time // Until is until when digests of events' ids stay, by the server's clock. It is zero if there are none.
	Beyond   []string  // Beyond names what Erase does not reach, one thing in each text.
}

// beyond is what Erase does not reach.
var beyond = []string{
	"the server's append-only file, until it is rewritten, and its snapshots",
	"backups of them",
	"replicas of the server that are away",
	"the server's slow log and monitor, and what networks and clients log",
	"logs and traces of the program",
	"what the bot's settings, and other people's chats and audit reasons, say of the user",
	"sessions in which another user was the first: name them by their ids, or wait for their expiry",
	"dead letters of replies, of sessions that are gone, with no event of the user beside them: name the sessions by their ids",
}

// mostPasses is how often Erase goes through everything until it finds nothing more.
const mostPasses = 5

// Erase removes what is kept of a user of the bot, as a data-protection request asks:
// the sessions that the user began, the sessions with these ids, all of them with their
// dead letters, and the letters of the user's events in other sessions. A turn in hand is
// fenced, and what waits is dropped. In the audit the acts on these sessions lose the
// session's name, the object and the reason.
//
// What stays are the digests, 16 bytes each, of the ids of events, until
// [Erased.Until]: without them an event that the platform delivers once more would begin
// the session anew. An event that is new begins a new session at any time, so stop the
// user's events first.
//
// Erase goes through everything until it finds nothing more, at least twice, and returns
// [session.ErrChanged] if there is more after the fifth time. One script removes one
// session, so it may be stopped and called again. With an error comes what was done; what
// could not be read is named by the error, and is still there. user may be empty if
// there are ids.
func (b *Bot) Erase(ctx context.Context, user string, ids ...string) (e Erased, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("erase from %s: %w", b.name, err)
		}
	}()
	e.Beyond = slices.Clone(beyond)
	if user == "" && len(ids) == 0 {
		return e, fmt.Errorf("%w: Erase needs a user or the ids of sessions", session.ErrInvalid)
	}
	if err := session.ValidLabel("user", user); err != nil {
		return e, err
	}
	for _, id := range ids {
		if _, err := b.place(id); err != nil {
			return e, err
		}
	}
	for pass := range mostPasses {
		before := e
		if err := b.erasePass(ctx, user, ids, &e); err != nil {
			return e, err
		}
		if pass > 0 && e.Sessions == before.Sessions && e.Letters == before.Letters && e.Acts == before.Acts {
			return e, nil
		}
	}
	return e, fmt.Errorf("%w: there is more to erase after %d times: stop the user's events", session.ErrChanged, mostPasses)
}

// erasePass goes through everything once.
func (b *Bot) erasePass(ctx context.Context, user string, ids []string, e *Erased) error {
	var faults []error
	erase := func(id string, whole bool, letters []string) {
		if err := b.erase(ctx, id, whole, letters, e); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", session.Ref{Bot: b.name, ID: id}, err))
		}
	}
	for _, id := range ids {
		erase(id, true, nil)
	}
	if user == "" {
		return causes.Join(faults...)
	}
	w, err := b.filtered(Filter{User: user})
	if err != nil {
		return err
	}
	for steps := w.next(ctx, pageSize); len(steps) > 0; steps = w.next(ctx, pageSize) {
		for _, at := range steps {
			erase(at.ref.ID, true, nil)
		}
	}
	faults = append(faults, w.err())
	var of session.Ref   // of is the session whose letters come now
	var letters []string // letters are those of the user
	alone := true        // alone is whether no other user has one there
	next := func(ref session.Ref) {
		if len(letters) > 0 {
			whole := false
			if alone {
				_, _, err := b.Session(of.ID).load(ctx, 0)
				whole = errors.Is(err, session.ErrNotFound)
			}
			erase(of.ID, whole, letters)
		}
		of, letters, alone = ref, nil, true
	}
	for letter, err := range b.DeadLetters(ctx) {
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if letter.Ref != of {
			next(letter.Ref)
		}
		if letter.Event != nil && letter.Event.User == user {
			letters = append(letters, stored.StampOf(letter.Time))
		} else if letter.Event != nil {
			alone = false
		}
	}
	next(session.Ref{})
	return causes.Join(faults...)
}

// erase removes a whole session, or some of its dead letters.
func (b *Bot) erase(ctx context.Context, id string, whole bool, letters []string, e *Erased) error {
	at, err := b.place(id)
	if err == nil {
		err = b.store.inTurn(ctx, at.ref, false)
	}
	if err != nil {
		return err
	}
	none := session.Ref{Bot: b.name}
	r, err := b.store.do(ctx, at, ask(lua.Erase, []string{
		"id", id, "bot", b.name, "whole", flag(whole), "about", stored.ActBegins(at.ref), "without", stored.ActBegins(none),
		"audit", b.store.audit(ctx, none, "erase", "", true),
	}, letters))
	if err != nil {
		return err
	}
	if r.Int("sessions") > 0 {
		b.store.tellDropped(at.ref)
	}
	e.Sessions, e.Letters, e.Acts = e.Sessions+r.Int("sessions"), e.Letters+r.Int("removed"), e.Acts+r.Int("acts")
	if till := r.Int("until"); till > 0 {
		if until := time.UnixMilli(till).UTC(); until.After(e.Until) {
			e.Until = until
		}
	}
	return nil
}
