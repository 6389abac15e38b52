package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// slack is by how much two moments may differ that should be the same.
const slack = 10 * time.Second

// An exam is a look at all that there is of one session.
type exam struct {
	*checker
	at     place
	now    time.Time           // now is the server's time
	keys   map[string]keyState // keys has the session's keys that are there, by name
	scores map[string]string   // scores has its score in each list of sessions; empty for none, "?" for a key of another type
	rec    *stored.Record      // rec is nil if there is no hash, or none that can be read
	stamp  string              // stamp is the hash's, as it was read
	other  bool                // other is whether the session is stored in another layout, and so nothing of it can be judged
	found  []Finding

	elements map[string]*call.Value[[]string]    // elements has the first of each list
	lines    map[string]*call.Value[call.Fields] // lines has the first of each hash but the session's
}

// A keyState is what is known of a key of a session.
type keyState struct {
	typ     string
	expires int64 // expires is in how many ms; negative for never
	size    int64 // size is the length of a list
}

// session checks a session, or what is left of one.
func (c *checker) session(ctx context.Context, at place) error {
	return c.look(ctx, func(ctx context.Context) ([]Finding, error) {
		for try := 1; ; try++ {
			e := &exam{checker: c, at: at, keys: map[string]keyState{}, scores: map[string]string{}}
			for _, part := range []func(context.Context) error{e.read, e.first, e.index, e.work, e.chat, e.inbox, e.outbox, e.letters, e.calls} {
				if err := part(ctx); err != nil {
					return nil, err
				}
				if e.other {
					break
				}
			}
			// Its lists were read after its hash.
			if changed, err := e.changed(ctx); err != nil || !changed || try == triesOfSession {
				return e.found, err
			}
		}
	})
}

// triesOfSession is how often a session is looked at that changes meanwhile.
const triesOfSession = 50

// changed reports whether a script has written to the session since it was read. Where
// nothing was found it does not look.
func (e *exam) changed(ctx context.Context) (bool, error) {
	if len(e.found) == 0 {
		return false, nil
	}
	fields := []string{stored.FieldRecord}
	now := call.HMGet(e.store.layout.key("session", e.at), fields)
	if err := e.store.read(ctx, now); err != nil && !call.WrongType(err) {
		return false, err
	}
	return stampOf(present(fields, now.Val)) != e.stamp, nil
}

// stampOf returns what every script that writes to a session changes of its hash.
func stampOf(pairs []string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == stored.FieldRecord {
			return pairs[i+1]
		}
	}
	return ""
}

func (e *exam) wrong(name, format string, args ...any) {
	e.found = append(e.found, e.finding(name, e.at, format, args...))
}

// gone is the finding of a session without a hash of which something is left.
func (c *checker) gone(at place) Finding {
	return c.finding("session", at, "its hash is gone, and not all that belongs to it")
}

// read reads what must fit together, in one moment, and checks the hash.
func (e *exam) read(ctx context.Context) error {
	r := e.store.readEach(ctx, []call.Request{e.store.request(ask(lua.Check, []string{"id", e.at.ref.ID, "bot", e.at.ref.Bot}), e.at)})[0]
	if r.Err != nil {
		return r.Err
	}
	e.now = time.UnixMilli(r.Reply.Now())
	for key := range r.Reply.Rows("keys") {
		if typ := key.Text("type"); typ != "none" {
			e.keys[key.Text("key")] = keyState{typ, key.Int("expiry"), key.Int("size")}
		}
	}
	for list := range r.Reply.Rows("scores") {
		e.scores[list.Text("list")] = list.Text("score")
	}
	pairs := r.Reply.Texts("hash")
	e.stamp = stampOf(pairs)
	if e.keys["session"].typ != "hash" {
		return nil
	}
	rec, err := stored.ReadRecord(e.at.ref, pairs)
	if err != nil {
		e.unreadable(err)
		return nil
	}
	e.rec = rec
	if _, err := rec.Snapshot(); err != nil {
		e.unreadable(err)
	}
	for _, err := range []error{session.ValidState(rec.State()), session.ValidLabel("user", rec.User())} {
		if err != nil {
			e.wrong("session", "its hash has a name that none can have: %v", err)
		}
	}
	return nil
}

// unreadable takes an error of package stored, or several that are joined.
func (e *exam) unreadable(err error) {
	switch err := err.(type) {
	case *session.CorruptError:
		e.wrong("session", "the field %q of its hash cannot be read: %s", err.Field, because(err))
	case interface{ Unwrap() []error }:
		for _, err := range err.Unwrap() {
			e.unreadable(err)
		}
	default:
		e.other = true
		e.wrong("session", "its hash cannot be read: %v", errors.Unwrap(err)) // which names the session again
	}
}

// index compares the session with its entries in the lists of sessions, and with the
// expiry of its keys.
func (e *exam) index(context.Context) error {
	_, hash := e.keys["session"]
	if !hash {
		_, chat := e.keys["history"]
		_, file := e.keys["file"]
		if chat || file || e.lists("index") || e.lists("expiry") {
			e.found = append(e.found, e.gone(e.at))
		}
	}
	if e.rec == nil {
		return nil
	}
	for _, name := range []string{"session", "history", "file"} {
		key, there := e.keys[name]
		drop := e.rec.Dropped()
		switch dropped := e.now.Add(time.Duration(key.expires) * time.Millisecond); {
		case !there || key.typ != forms[name].typ:
		case drop == 0 && key.expires >= 0:
			e.wrong(name, "the key %s has an expiry, and the session's record says none: Redis would drop it", name)
		case drop > 0 && key.expires < 0:
			e.wrong(name, "the key %s has no expiry, and the session's record says %s: it would stay for ever", name, moment(drop))
		case drop > 0 && dropped.Sub(time.UnixMilli(drop)).Abs() > slack:
			e.wrong(name, "the key %s has another expiry than %s, which the session's record says", name, moment(drop))
		}
	}
	if e.rec.Ended() { // its hash only carries the lease on
		for _, name := range []string{"index", "expiry", "users"} {
			if e.lists(name) {
				e.wrong(name, "the key %s lists it, and its own turn has ended it", name)
			}
		}
		return nil
	}
	want := stored.Place(e.rec.State(), e.rec.Active())
	state, minute := stored.PlaceParts(e.listed("index"))
	switch wantState, wantMinute := stored.PlaceParts(want); {
	case e.lacks("index"):
		e.wrong("index", "the key index does not list it")
	case e.lists("index") && state != wantState:
		e.wrong("index", "the key index lists it in another state than its own")
	case e.lists("index") && minute != wantMinute:
		e.wrong("index", "the key index lists it at %s, and it was last active at %s", moment(stored.MinuteStart(minute)), moment(e.rec.Active()))
	}
	// Work may keep it alive: it is listed again then, a minute later each time.
	expires := e.rec.Expires()
	switch listed := e.listed("expiry"); {
	case expires == 0 && e.lists("expiry"):
		e.wrong("expiry", "the key expiry lists it, and it never expires")
	case expires > 0 && e.lacks("expiry"):
		e.wrong("expiry", "the key expiry does not list it, and it expires")
	case expires > 0 && listed > max(expires, e.now.Add(time.Minute+slack).UnixMilli()):
		e.wrong("expiry", "the key expiry lists it at %s, and it expires at %s", moment(listed), moment(expires))
	}
	if e.lacks("users") && e.rec.User() != "" {
		e.wrong("users", "the key users does not list it under its user")
	}
	return nil
}

// lists and lacks report whether a list has the session. Of one that cannot be
// read neither is true.
func (e *exam) lists(name string) bool { return e.scores[name] != "" && e.scores[name] != "?" }
func (e *exam) lacks(name string) bool { return e.scores[name] == "" }

// listed returns the score with which a list has the session; 0 if it does not.
func (e *exam) listed(name string) int64 {
	score, _ := strconv.ParseFloat(e.scores[name], 64)
	return int64(score)
}

func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// waits checks the list of what waits.
func (e *exam) waits() {
	since := int64(0)
	if e.rec != nil {
		since = e.rec.Since()
	}
	_, events := e.keys["inbox"]
	_, replies := e.keys["outbox"]
	switch listed := e.listed("waits"); {
	case e.rec == nil && e.lists("waits") && !events && !replies:
		e.wrong("waits", "the key waits lists it, and nothing waits")
	case e.rec == nil:
	case since == 0 && e.lists("waits"):
		e.wrong("waits", "the key waits lists it, and the session's record says that it does not")
	case since > 0 && e.lacks("waits"):
		e.wrong("waits", "the key waits does not list it, and the session's record says that it does")
	case since > 0 && e.lists("waits") && listed != since:
		e.wrong("waits", "the key waits lists it since %s, and the session's record says since %s", moment(listed), moment(since))
	case since == 0 && e.keys["inbox"].size > 1:
		e.wrong("waits", "the key waits does not list it, and %d events wait", e.keys["inbox"].size)
	}
}

// work checks that replicas are told of work, and in time.
func (e *exam) work(context.Context) error {
	if _, hash := e.keys["session"]; hash && e.rec == nil {
		return nil
	}
	var work []string
	for name, what := range map[string]string{"inbox": "events that wait", "outbox": "unsent replies"} {
		if _, there := e.keys[name]; there {
			work = append(work, what)
		}
	}
	latest := e.now.UnixMilli()
	if e.rec != nil {
		latest = max(latest, e.rec.Latest())
		if e.rec.Held() {
			work = append(work, "a lease")
		}
		if e.rec.Ended() {
			work = append(work, "its own end")
		}
	}
	e.waits()
	switch when := e.listed("due"); {
	case e.lists("due") && len(work) == 0:
		e.wrong("due", "the key due lists it, and it has no work")
	case e.lists("bells") && len(work) == 0:
		e.wrong("bells", "the bells list it as handed out, and it has no work")
	case e.lacks("due") && e.lists("bells"): // its lease's end, which due need not list
	case e.lacks("due") && len(work) > 0:
		e.wrong("due", "the key due does not list it, and it has work: %s", strings.Join(work, ", "))
	case when > latest+2*slack.Milliseconds(): // a session that could not be read is put off for ten seconds
		e.wrong("due", "the key due lists it at %s, later than its work can be done", moment(when))
	}
	return nil
}
