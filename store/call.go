package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// do is run, with a refusal as the error that it means.
func (s *Store) do(ctx context.Context, script *lua.Script, at place, args ...string) (reply, error) {
	r, err := s.run(ctx, script, at, args...)
	if err != nil {
		return nil, err
	}
	if err := refusal(r, at.ref); err != nil {
		return nil, err
	}
	return r, nil
}

// run runs a script, as often as it takes to get an answer, until ctx ends or
// the store's Timeout is over. The script gets the call's id and its deadline
// before args.
//
// A script that writes is seen through once it was sent: a cancelled ctx does
// not abandon it, because its outcome would be unknown for no need; ctx's
// deadline does. What comes back is one of
//
//   - a reply, of any status but LATE and EXPIRED: what has expired is buried
//     first, and the call goes on;
//   - an error that says why it was certainly not applied;
//   - session.ErrUnknownOutcome joined with the last cause. By then the
//     deadline that the request carried has passed, so it was applied before or
//     never will be.
func (s *Store) run(ctx context.Context, script *lua.Script, at place, args ...string) (reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	end := time.Now().Add(s.opts.Timeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = limit
	}
	writes := script.Writes
	if writes {
		if s.opts.ReadOnly {
			return nil, session.ErrReadOnly
		}
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()

	keys := s.layout.keys(script, at)
	full := make([]any, 0, 5+len(keys)+len(args))
	// Pointers to strings, because each string in an any is one more allocation.
	// Hooks that print commands see the first key, and nothing of what users said.
	full = append(full, nil, nil, len(keys), keys[0]) // send names the script
	for i := range keys[1:] {
		full = append(full, &keys[1+i])
	}
	full = append(full, s.caller.ID(), nil)
	deadline := len(full) - 1
	for i := range args {
		full = append(full, &args[i])
	}

	unsure := false   // whether an attempt before may have been applied
	var telling error // the last cause that says more than that time was over
	for attempt := 0; ; attempt++ {
		if !unsure {
			// After that it stays: what the script remembers of the first attempt it
			// remembers only until the deadline that came with it.
			full[deadline] = s.caller.Clock.At(at.bucket, end)
		}
		r, err := s.caller.Send(ctx, script, full)
		final := false
		switch {
		case err == nil:
			s.caller.Clock.Heard(at.bucket, r.Int(1))
			switch {
			case r.Status() == "LATE":
				// Too late by the estimate of a clock that this reply has corrected.
				err = errors.New("the request reached the server after its deadline")
				final = unsure
			case r.Status() == "EXPIRED":
				if _, err = s.bury(ctx, at, "expired"); err == nil {
					if attempt < 3 {
						continue // under the same id: it stays one call
					}
					err = errors.New("an expired session is in the way, and cannot be removed")
				}
				final = errors.Is(err, session.ErrNoPermission) && !unsure
			case r.Status() == "NOPERM":
				err, final = refusal(r, at.ref), !unsure
			case unsure && writes && !script.IsFinal(r.Status()):
				// The attempt before may still arrive, and find the session changed.
				err = causes.Join(errors.New("refused, but an earlier request may still be applied"), refusal(r, at.ref))
			default:
				return r, nil
			}
		default:
			switch call.WhatHappened(err) {
			case call.Unknown:
				unsure = true
				s.caller.LookAround(ctx, err)
			case call.NotYet:
				s.caller.LookAround(ctx, err)
			case call.Halfway:
				unsure, final = true, true
			case call.Refused:
				err, final = s.explain(ctx, err, script, at), !unsure || !writes
			}
		}
		if !call.TimeOver(err) {
			telling = err
		}
		if !final && call.Sleep(ctx, s.caller.Backoff(attempt, keys[0])) && time.Now().Before(end) {
			continue
		}
		if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
			err = causes.Join(cause, err)
		}
		if telling != nil && !errors.Is(err, telling) {
			err = causes.Join(telling, err)
		}
		if unsure && writes {
			err = causes.Join(session.ErrUnknownOutcome, err)
		}
		return nil, err
	}
}

// explain names the key behind a type error, which Redis does not, and says of
// a command that the user lacks the right to it.
func (s *Store) explain(ctx context.Context, err error, script *lua.Script, at place) error {
	if !strings.Contains(err.Error(), "WRONGTYPE") {
		return call.NoRight(err)
	}
	wrong := &session.CorruptError{Ref: at.ref, Field: script.Name, Reason: err}
	for _, name := range script.Keys {
		want := keyType(name)
		key := s.layout.key(name, at)
		if is, e := s.client.Type(ctx, key).Result(); e == nil && is != "none" && is != want {
			wrong.Field, wrong.Reason = name, fmt.Errorf("the key %q is a %s, not a %s", key, is, want)
			break
		}
	}
	return wrong
}

// keyType is the type of the key that scripts call name.
func keyType(name string) string {
	switch name {
	case "history", "inbox", "outbox", "letters":
		return "list"
	case "activity", "names", "expiry", "due", "dead", "replicas":
		return "zset"
	case "file", "watch":
		return "string"
	}
	return "hash"
}

// A reply is a script's answer.
type reply = call.Reply

// refusal turns a reply's status into the error it means; nil for OK and for
// what only one script answers.
func refusal(r reply, ref session.Ref) error {
	switch r.Status() {
	case "OK", "DUPLICATE", "EXISTS", "NOTHING":
		return nil
	case "NOTFOUND":
		return session.ErrNotFound
	case "FENCED":
		return session.ErrFenced
	case "BUSY":
		return session.ErrBusy
	case "NOPERM":
		return fmt.Errorf("%w: %s", session.ErrNoPermission, r.Text(2))
	case "FULL":
		return fmt.Errorf("%w: %d events, %d bytes wait", session.ErrInboxFull, r.Int(2), r.Int(3))
	case "TOOLARGE":
		return fmt.Errorf("%w: the private data would have %d bytes (Options.MaxData)", session.ErrTooLarge, r.Int(2))
	case "WRONGSTATE":
		return &session.StateError{Ref: ref, Found: r.Text(2)}
	case "LAYOUT":
		if version, err := strconv.ParseInt(r.Text(2), 10, 64); err == nil {
			if err := stored.OtherLayout(version, stored.Layout); err != nil {
				return err
			}
		}
		return &session.CorruptError{Ref: ref, Field: stored.FieldHead, Reason: errors.New("it begins with no layout")}
	case "CORRUPT":
		return &session.CorruptError{Ref: ref, Field: r.Text(2), Reason: errors.New("it is missing or no number")}
	}
	return fmt.Errorf("a script answered %q", r.Status())
}
