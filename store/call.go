package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/stored"
)

// once is a command that go-redis sends at most once. By default it would send it
// again by itself after a lost reply, and nobody would learn that the first
// attempt may have been applied; here the store sends it again, and knows.
type once struct {
	*redis.Cmd
	writes bool // what must not be lost
}

func (once) NoRetry() bool { return true }

// do is run, with a refusal as the error that it means.
func (s *Store) do(ctx context.Context, script *lua.Script, at place, args ...string) (reply, error) {
	r, err := s.run(ctx, script, at, args...)
	if err != nil {
		return nil, err
	}
	if err := r.refusal(at.ref); err != nil {
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
	full = append(full, s.name+"#"+strconv.FormatUint(s.calls.Add(1), 36), nil)
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
			full[deadline] = s.clock.at(at.bucket, end)
		}
		r, err := s.send(ctx, script, full)
		final := false
		switch {
		case err == nil:
			s.clock.heard(at.bucket, r.int(1))
			switch {
			case r.status() == "LATE":
				// Too late by the estimate of a clock that this reply has corrected.
				err = errors.New("the request reached the server after its deadline")
				final = unsure
			case r.status() == "EXPIRED":
				if _, err = s.bury(ctx, at, "expired"); err == nil {
					if attempt < 3 {
						continue // under the same id: it stays one call
					}
					err = errors.New("an expired session is in the way, and cannot be removed")
				}
				final = errors.Is(err, session.ErrNoPermission) && !unsure
			case r.status() == "NOPERM":
				err, final = r.refusal(at.ref), !unsure
			case unsure && writes && !script.IsFinal(r.status()):
				// The attempt before may still arrive, and find the session changed.
				err = causes.Join(errors.New("refused, but an earlier request may still be applied"), r.refusal(at.ref))
			default:
				return r, nil
			}
		default:
			switch whatHappened(err) {
			case unknown:
				unsure = true
				s.lookAround(ctx, err)
			case notYet:
				s.lookAround(ctx, err)
			case halfway:
				unsure, final = true, true
			case refused:
				err, final = s.explain(ctx, err, script, at), !unsure || !writes
			}
		}
		if !timeOver(err) {
			telling = err
		}
		if !final && sleep(ctx, s.backoff(attempt, keys[0])) && time.Now().Before(end) {
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

// timeOver tells whether an error says no more than that time was over.
func timeOver(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// lookAround has a cluster's client find out who is the master now, if a node
// cannot be reached. For commands that it may not retry it does not by itself.
func (s *Store) lookAround(ctx context.Context, err error) {
	var fromServer redis.Error
	if cluster, ok := s.client.(*redis.ClusterClient); ok && !errors.As(err, &fromServer) {
		cluster.ReloadState(ctx)
	}
}

// send sends the script once, by its digest or, where the server does not know
// it yet, in full.
func (s *Store) send(ctx context.Context, script *lua.Script, full []any) (reply, error) {
	full[0], full[1] = "evalsha", script.SHA
	cmd := redis.NewCmd(ctx, full...)
	cmd.SetFirstKeyPos(3)
	writes := script.Writes && !script.Losable
	err := s.sender.send(ctx, once{cmd, writes})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		full[0], full[1] = "eval", script.Text
		cmd = redis.NewCmd(ctx, full...)
		cmd.SetFirstKeyPos(3)
		err = s.sender.send(ctx, once{cmd, writes})
	}
	if err != nil {
		return nil, err
	}
	values, ok := cmd.Val().([]any)
	if !ok || len(values) < 2 {
		return nil, fmt.Errorf("script %s: the answer %v is none of ours", script.Name, cmd.Val())
	}
	return values, nil
}

// fate is what an error tells about the request.
type fate int

const (
	notYet  fate = iota // certainly not applied; may work later
	unknown             // perhaps applied
	refused             // certainly not applied; will not work later
	halfway             // stopped after some of its writes, perhaps; to repeat it would repeat those
)

// whatHappened sorts errors:
//
//	the server's "not now": LOADING, READONLY, a cluster that moves     notYet
//	a script stopped: an error of its own, a right that Redis 6 missed   halfway
//	any other error reply: no right to run scripts, out of memory       refused
//	no connection was made, none was free, or it was never sent         notYet
//	the client is closed                                                refused
//	anything else: a reset, an EOF, a time-out                          unknown
//
// Redis does not undo what a script wrote before it was stopped. Types and
// rights the scripts check before they write, memory and its role Redis itself.
func whatHappened(err error) fate {
	var fromServer redis.Error
	var network *net.OpError
	switch {
	case errors.Is(err, session.ErrNotAcked):
		return unknown
	case errors.As(err, &fromServer):
		text := err.Error()
		if i := strings.LastIndex(text, ": -"); i >= 0 && strings.HasPrefix(text, "ERR Error running script") {
			text = text[i+len(": -"):] // so Redis 6 passes on the error of a command in a script
		}
		for _, prefix := range []string{"LOADING", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "BUSY",
			"MOVED", "ASK", "max number of clients"} {
			if strings.HasPrefix(text, prefix) {
				return notYet
			}
		}
		if (strings.HasPrefix(text, "ERR") || strings.HasPrefix(text, "NOPERM")) && strings.Contains(text, "script") && !strings.Contains(text, "WRONGTYPE") {
			return halfway
		}
		return refused
	case errors.As(err, &network) && network.Op == "dial", errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return notYet
	case errors.Is(err, errNeverSent):
		return notYet
	case errors.Is(err, redis.ErrClosed):
		return refused
	}
	return unknown
}

// explain names the key behind a type error, which Redis does not, and says of
// a command that the user lacks the right to it.
func (s *Store) explain(ctx context.Context, err error, script *lua.Script, at place) error {
	if !strings.Contains(err.Error(), "WRONGTYPE") {
		return noRight(err)
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

// backoff is the time before the next attempt: 5 ms, doubling up to 200, of
// which the second half is jitter.
func (s *Store) backoff(attempt int, key string) time.Duration {
	most := min(5*time.Millisecond<<min(attempt, 8), 200*time.Millisecond)
	return most/2 + s.jitter(most/2, key)
}

// sleep waits, and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// A reply is a script's answer: its status, the server's time in ms, the rest.
type reply []any

func (r reply) status() string { return r.text(0) }

func (r reply) text(i int) string {
	if i >= len(r) {
		return ""
	}
	text, _ := r[i].(string)
	return text
}

// int reads a number, which scripts send as such or in decimal.
func (r reply) int(i int) int64 {
	if i >= len(r) {
		return 0
	}
	switch v := r[i].(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func (r reply) list(i int) reply {
	if i >= len(r) {
		return nil
	}
	list, _ := r[i].([]any)
	return list
}

// texts reads a list of strings.
func (r reply) texts(i int) []string {
	list := r.list(i)
	texts := make([]string, len(list))
	for j := range list {
		texts[j] = list.text(j)
	}
	return texts
}

// refusal turns a reply's status into the error it means; nil for OK and for
// what only one script answers.
func (r reply) refusal(ref session.Ref) error {
	switch r.status() {
	case "OK", "DUPLICATE", "EXISTS", "NOTHING":
		return nil
	case "NOTFOUND":
		return session.ErrNotFound
	case "FENCED":
		return session.ErrFenced
	case "BUSY":
		return session.ErrBusy
	case "NOPERM":
		return fmt.Errorf("%w: %s", session.ErrNoPermission, r.text(2))
	case "FULL":
		return fmt.Errorf("%w: %d events, %d bytes wait", session.ErrInboxFull, r.int(2), r.int(3))
	case "TOOLARGE":
		return fmt.Errorf("%w: the private data would have %d bytes (Options.MaxData)", session.ErrTooLarge, r.int(2))
	case "WRONGSTATE":
		return &session.StateError{Ref: ref, Found: r.text(2)}
	case "LAYOUT":
		if version, err := strconv.ParseInt(r.text(2), 10, 64); err == nil {
			if err := stored.OtherLayout(version, stored.Layout); err != nil {
				return err
			}
		}
		return &session.CorruptError{Ref: ref, Field: stored.FieldHead, Reason: errors.New("it begins with no layout")}
	case "CORRUPT":
		return &session.CorruptError{Ref: ref, Field: r.text(2), Reason: errors.New("it is missing or no number")}
	}
	return fmt.Errorf("a script answered %q", r.status())
}
