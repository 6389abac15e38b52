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
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// A request is a script and what it is given; ask makes one.
type request struct {
	script *lua.Script
	args   []string
	id     ids.Call // of the call, if it has more than one request; else empty
}

// ask returns a request. named are the arguments, each behind its name in the script's
// header; see [call.Args].
func ask(script *lua.Script, named []string, rest ...[]string) request {
	return request{script: script, args: call.Args(script, named, rest...)}
}

// request is a request for the keys of a place.
func (s *Store) request(q request, at place) call.Request {
	return call.Request{Script: q.script, Keys: s.layout.keys(q.script, at), Args: q.args, Node: at.bucket, ID: q.id}
}

// do is run, with a refusal as the error that it means.
func (s *Store) do(ctx context.Context, at place, q request) (reply, error) {
	r, err := s.run(ctx, at, q)
	if err != nil {
		return reply{}, err
	}
	if err := refusal(r, at.ref); err != nil {
		return reply{}, err
	}
	return r, nil
}

// run runs a script to its outcome, until ctx ends or the store's Timeout is over;
// see [call.Call.Run] for what comes back. What has expired and is in the script's
// way is removed, and the call, the same one, goes on.
func (s *Store) run(ctx context.Context, at place, q request) (reply, error) {
	if s.opts.Observer == nil {
		return s.runUnobserved(ctx, at, q)
	}
	ctx, o := s.begin(ctx, Stage{Kind: StageCall, Name: q.script.Name, Ref: at.ref})
	r, err := s.runUnobserved(ctx, at, q)
	o.endWith(err)
	return r, err
}

func (s *Store) runUnobserved(ctx context.Context, at place, q request) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, context.Cause(ctx)
	}
	if err := s.usable(); err != nil {
		return reply{}, err
	}
	if q.script.Writes && s.opts.ReadOnly {
		return reply{}, session.ErrReadOnly
	}
	if err := s.landed(ctx, at.ref); err != nil {
		return reply{}, err
	}
	ctx, cancel := s.caller.Bound(ctx, q.script, s.opts.Timeout)
	defer cancel()
	c := s.caller.Begin(s.request(q, at))
	for removed := 0; ; {
		r, err := c.Run(ctx)
		if err != nil {
			return reply{}, s.explain(ctx, err, q.script, at)
		}
		if r.Status() != "EXPIRED" {
			return r, nil
		}
		if _, err = s.bury(ctx, at, "expired"); err == nil {
			if removed++; removed <= 3 {
				continue
			}
			err = errors.New("an expired session is in the way, and cannot be removed")
		}
		if err := c.Again(ctx, err); err != nil {
			return reply{}, err
		}
	}
}

// explain says of the error of a call what a reply meant that could not be taken
// for final, and names the key behind a type error, which Redis does not.
func (s *Store) explain(ctx context.Context, err error, script *lua.Script, at place) error {
	var refused *call.Refusal
	if errors.As(err, &refused) {
		err = causes.Join(err, refusal(refused.Reply, at.ref))
	}
	var known *session.CorruptError
	if !strings.Contains(err.Error(), "WRONGTYPE") || errors.As(err, &known) {
		return err
	}
	wrong := &session.CorruptError{Ref: at.ref, Field: script.Name, Reason: err}
	for _, name := range script.Keys {
		want := forms[name].typ
		key := s.layout.key(name, at)
		if is := call.Type(key); s.caller.Do(ctx, is) == nil && is.Val != "none" && is.Val != want {
			wrong.Field, wrong.Reason = name, fmt.Errorf("the key %q is a %s, not a %s", key, is.Val, want)
			break
		}
	}
	if errors.Is(err, session.ErrUnknownOutcome) {
		return causes.Join(err, wrong)
	}
	return wrong
}

// errGone is the ErrFenced of a holder whose session is not there any more.
var errGone = fmt.Errorf("%w: the session is gone", session.ErrFenced)

// A reply is what a script returned.
type reply = call.Reply

// refusal turns a reply's status into the error it means; nil for OK and for
// what only one script returns.
func refusal(r reply, ref session.Ref) error {
	switch r.Status() {
	case "OK", "DUPLICATE", "EXISTS", "NOTHING", "WAITS", "HANDLED", "DEAD", "DROPPED":
		return nil
	case "CHANGED":
		if !r.Has("version") { // of commit: settle is asked
			return nil
		}
		return fmt.Errorf("%w: its version is %d", session.ErrChanged, r.Int("version"))
	case "MOVED":
		return fmt.Errorf("%w: something else is at its head by now", session.ErrChanged)
	case "NOLETTER":
		return errNoLetter
	case "OTHERS":
		return fmt.Errorf("%w: %d events wait by now", session.ErrChanged, r.Int("waiting"))
	case "RELEASED":
		if r.Text("holder") == "" {
			return fmt.Errorf("%w: nobody holds the session by now", session.ErrChanged)
		}
		return fmt.Errorf("%w: it is held by %s under token %s by now", session.ErrChanged, ids.Call(r.Text("holder")).Replica(), r.Text("under"))
	case "INHAND":
		since, _ := strconv.ParseInt(r.Text("token"), 10, 64)
		return &session.InHandError{Ref: ref, Holder: ids.Call(r.Text("holder")).Replica(), Since: time.UnixMicro(since).UTC()}
	case "NOTFOUND":
		return session.ErrNotFound
	case "FENCED":
		return session.ErrFenced
	case "GONE":
		return errGone
	case "BUSY":
		return session.ErrBusy
	case "NOPERM":
		return fmt.Errorf("%w: %s", session.ErrNoPermission, r.Text("command"))
	case "FULL":
		return fmt.Errorf("%w: %d events, %d bytes wait", session.ErrInboxFull, r.Int("waiting"), r.Int("bytes"))
	case "TOOLARGE":
		return fmt.Errorf("%w: the private data would have %d bytes (Options.MaxData)", session.ErrTooLarge, r.Int("bytes"))
	case "WRONGSTATE":
		return &session.StateError{Ref: ref, Found: r.Text("state")}
	case "OTHER":
		return errors.New("another process has changed the settings")
	case "LAYOUT":
		if version, err := strconv.ParseInt(r.Text("layout"), 10, 64); err == nil {
			if err := stored.OtherLayout(version, stored.Layout); err != nil {
				return err
			}
		}
		return &session.CorruptError{Ref: ref, Field: stored.FieldRecord, Reason: errors.New("it begins with no layout")}
	case "CORRUPT":
		return &session.CorruptError{Ref: ref, Field: r.Text("field"), Reason: errors.New("it is missing or damaged")}
	}
	return errors.New("a script returned a status that this version does not know")
}
