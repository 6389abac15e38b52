package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/faultnet"
)

// A call is one that writes. begin makes what it finds; do answers what it
// answers, as a value that can be compared; end, if set, ends what it began.
type call struct {
	name  string
	begin func(s *scene)
	do    func(ctx context.Context, b *store.Bot) (answer any, err error)
	end   func(s *scene)

	buries bool // it finds an expired session in its way
	fails  bool // it answers an error, and has changed nothing
}

// full makes a session with something of everything, in the state s0.
func full(s *scene) {
	s.Helper()
	sess := s.session()
	_, err := sess.Create(s.Context(), store.Origin{State: "s0", Platform: "web", User: "ann"})
	s.ok(err)
	_, err = sess.Apply(s.Context(), session.Change{
		Set: map[string]any{"k": "old"}, SetIntent: true, Intent: &session.Intent{Name: "old"}, File: &session.File{Name: "old", Data: []byte("old")},
		Chat: []session.Entry{{Message: session.Message{From: session.FromUser, Content: "old"}}, {Message: session.Message{From: session.FromBot, Content: "older"}, Send: true}},
	})
	s.ok(err)
}

// working is full, and events wait.
func working(s *scene) {
	s.Helper()
	full(s)
	s.events("one", "two")
}

// quiet is full, and its reply was sent.
func quiet(s *scene) {
	s.Helper()
	full(s)
	s.rest()
}

func (s *scene) events(texts ...string) {
	s.Helper()
	for _, text := range texts {
		_, err := s.eye.Accept(s.Context(), theID, session.Event{ID: text, Text: text})
		s.ok(err)
	}
}

// expired makes a session that has expired and that nobody has removed.
func expired(s *scene) {
	s.Helper()
	_, err := s.session().Create(s.Context(), store.Origin{TTL: time.Millisecond, State: "old", User: "old"})
	s.ok(err)
	s.eventually("it has expired", s.gone)
}

// failing is quiet, then an event has failed and waits a little, and others wait behind.
func failing(s *scene) {
	s.Helper()
	quiet(s)
	s.events("one", "two", "three")
	_, err := s.eye.Drain(s.Context(), func(context.Context, *store.Turn) error { return store.RetryAfter(200*time.Millisecond, errNo) }, with(s.eye))
	s.ok(err)
}

// buried is quiet, then an event became a dead letter, and another waits.
func buried(s *scene) {
	s.Helper()
	quiet(s)
	s.events("one", "two")
	s.ok(s.session().Skip(store.As(s.Context(), "ann", ""), store.Head{Event: "one"}))
}

// lastLetter is the time of the session's last dead letter; zero if it has none.
func lastLetter(ctx context.Context, s *store.Session) (at time.Time, err error) {
	letters, err := s.DeadLetters(ctx)
	for _, l := range letters {
		at = l.Time
	}
	return at, err
}

func none(*scene) {}

// free has handled two events, so that the first lines of accept hand it out.
func free(s *scene) {
	s.Helper()
	for _, text := range []string{"before", "again"} {
		s.events(text)
		_, err := s.eye.Drain(s.Context(), func(_ context.Context, t *store.Turn) error { t.Reply("re " + text); return nil }, with(s.eye))
		s.ok(err)
	}
	s.rest()
}

func (s *scene) gone() bool {
	_, err := s.session().Load(s.Context())
	if !errors.Is(err, session.ErrNotFound) {
		s.ok(err)
	}
	return err != nil
}

var errNo = errors.New("no")

// calls are all that write, but for the turns.
func calls() []call {
	type sess = *store.Session
	live := func(do func(ctx context.Context, s sess) (any, error)) func(context.Context, *store.Bot) (any, error) {
		return func(ctx context.Context, b *store.Bot) (any, error) { return do(ctx, b.Session(theID)) }
	}
	accept := func(ctx context.Context, b *store.Bot) (any, error) {
		r, err := b.Accept(ctx, theID, session.Event{ID: "new", Text: "new", User: "bob"})
		if err != nil {
			return nil, err
		}
		return fmt.Sprintf("duplicate: %t, created: %t", r.Duplicate, r.Created), nil
	}
	create := live(func(ctx context.Context, s sess) (any, error) {
		return s.Create(ctx, store.Origin{State: "s0", User: "bob", TTL: time.Hour})
	})
	set := live(func(ctx context.Context, s sess) (any, error) { return nil, s.Set(ctx, "k", "new") })
	move := func(from string) func(context.Context, *store.Bot) (any, error) {
		return live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Move(ctx, session.Transition{From: from, To: "s1"})
		})
	}
	update := func(f func(t *store.Turn) error) func(context.Context, *store.Bot) (any, error) {
		return func(ctx context.Context, b *store.Bot) (any, error) {
			_, err := b.Update(ctx, theID, func(_ context.Context, t *store.Turn) error { return f(t) })
			return nil, err
		}
	}
	write := func(t *store.Turn) error {
		tick(t)
		t.Move("s1")
		t.Record(session.Message{Content: "new"})
		return nil
	}
	ttl := time.Hour
	everything := session.Change{
		Reset: session.KeepChat, Moves: []string{"s1", "s2"}, Set: map[string]any{"k": "new", "l": 1}, Delete: []string{"m"},
		SetIntent: true, File: &session.File{Name: "new", Data: []byte("new")}, Flags: map[string]bool{"new": true}, TTL: &ttl,
		Chat: []session.Entry{{Message: session.Message{From: session.FromBot, Content: "new"}, Send: true}},
	}
	redeliver := live(func(ctx context.Context, s sess) (any, error) {
		at, err := lastLetter(ctx, s)
		if err != nil {
			return nil, err
		}
		r, err := s.Redeliver(ctx, at)
		if err != nil {
			return nil, err
		}
		return fmt.Sprintf("event %s, created: %t", r.EventID, r.Created), nil
	})
	return []call{
		{name: "Accept for a new session", begin: none, do: accept},
		{name: "Accept", begin: full, do: accept},
		{name: "Accept behind others", begin: working, do: accept},
		{name: "Accept for an expired session", begin: expired, do: accept, buries: true},
		{name: "Create", begin: none, do: create},
		{name: "Create over an expired session", begin: expired, do: create, buries: true},
		{name: "Create of one that is there", begin: full, do: create},
		{name: "Set", begin: full, do: set},
		{name: "Set in no session", begin: none, do: set, fails: true},
		{name: "Delete", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return s.Delete(ctx, "k") })},
		{name: "SetIntent", begin: full, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.SetIntent(ctx, &session.Intent{Name: "new"})
		})},
		{name: "SetFile", begin: full, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.SetFile(ctx, session.File{Name: "new", Data: []byte("new")})
		})},
		{name: "SetFlag", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.SetFlag(ctx, "new", true) })},
		{name: "Move", begin: full, do: move("s0")},
		{name: "Move from another state", begin: full, do: move("s9"), fails: true},
		{name: "Move from whatever state", begin: full, do: live(func(ctx context.Context, s sess) (any, error) {
			return s.Apply(ctx, session.Change{Moves: []string{"s1"}})
		})},
		{name: "Reply", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Reply(ctx, "new") })},
		{name: "Record", begin: full, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Record(ctx, session.Message{Content: "new"})
		})},
		{name: "Touch", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Touch(ctx) })},
		{name: "SetTTL", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.SetTTL(ctx, time.Hour) })},
		{name: "Reset that keeps the chat", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Reset(ctx, session.KeepChat) })},
		{name: "Reset", begin: working, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Reset(ctx, session.DropChat) })},
		{name: "Apply", begin: full, do: live(func(ctx context.Context, s sess) (any, error) { return s.Apply(ctx, everything) })},
		{name: "Destroy", begin: working, do: live(func(ctx context.Context, s sess) (any, error) { return s.Destroy(ctx) })},
		{name: "Retry", begin: failing, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Retry(store.As(ctx, "ann", ""), store.Head{Event: "one"}, store.Retrial{Reset: true})
		})},
		{name: "Retry of what is not at the head", begin: failing, fails: true, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Retry(ctx, store.Head{Event: "two"}, store.Retrial{})
		})},
		{name: "Skip", begin: failing, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Skip(store.As(ctx, "ann", ""), store.Head{Event: "one"})
		})},
		{name: "Drop", begin: failing, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Drop(store.As(ctx, "ann", ""), 3) })},
		{name: "Drop of another number", begin: failing, do: live(func(ctx context.Context, s sess) (any, error) { return nil, s.Drop(ctx, 2) }), fails: true},
		{name: "Redeliver", begin: buried, do: redeliver},
		{name: "Redeliver to a session that is gone", begin: func(s *scene) { buried(s); destroy(s) }, do: redeliver},
		{name: "Discard", begin: buried, do: live(func(ctx context.Context, s sess) (any, error) {
			at, err := lastLetter(ctx, s)
			if err != nil {
				return nil, err
			}
			return nil, s.Discard(ctx, at)
		})},
		{name: "Discard what is no letter", begin: buried, fails: true, do: live(func(ctx context.Context, s sess) (any, error) {
			return nil, s.Discard(ctx, time.Unix(1, 0))
		})},
		{name: "Update", begin: quiet, do: update(write)},
		{name: "Update of a session with work", begin: func(s *scene) { quiet(s); s.events("one", "two") }, do: update(write)},
		// Its reply was sent, or is to be sent by others.
		{name: "Update that replies", begin: quiet, do: update(func(t *store.Turn) error { t.Reply("new"); return write(t) }), end: (*scene).rest},
		{name: "Update that changes nothing", begin: full, do: update(func(*store.Turn) error { return nil })},
		{name: "Update that fails", begin: full, do: update(func(t *store.Turn) error { _ = write(t); return errNo }), fails: true},
	}
}

// rest has the undisturbed replica send what is unsent, and remove what is over.
func (s *scene) rest() {
	s.Helper()
	s.eventually("nothing is left to do", func() bool {
		_, err := s.eye.Drain(s.Context(), func(context.Context, *store.Turn) error { return nil }, with(s.eye))
		s.ok(err)
		status, err := s.session().Status(s.Context())
		return err != nil || status.Unsent+status.Waiting == 0
	})
}

// A reference is what a call does without a fault.
type reference struct {
	call
	scripts int // that it sends
	answer  any
	err     error
	once    view // since before
}

// reference makes the call twice: the first time the server learns its scripts.
func (l *lab) reference(t *testing.T, c call) reference {
	t.Helper()
	l.makeOnce(t, c)
	return l.makeOnce(t, c)
}

func (l *lab) references(t *testing.T, calls []call) []reference {
	t.Helper()
	var all []reference
	for _, c := range calls {
		all = append(all, l.reference(t, c))
	}
	return all
}

// begun makes a session as the call wants it, and rules for the network from now on.
func (l *lab) begun(t *testing.T, c call, rules ...faultnet.Rule) (s *scene, before view) {
	t.Helper()
	s = l.scene(t, store.BotOptions{})
	c.begin(s)
	before = s.look()
	l.net.Strike(rules...)
	return s, before
}

func (l *lab) makeOnce(t *testing.T, c call) reference {
	t.Helper()
	s, before := l.begun(t, c)
	r := reference{call: c}
	r.answer, r.err = c.do(t.Context(), s.bot)
	r.scripts = l.net.Counts().Scripts
	if c.end != nil {
		c.end(s)
	}
	r.once = s.look().since(before)
	if r.scripts == 0 || (r.err != nil) != c.fails {
		t.Fatalf("%s without a fault sends %d scripts and answers %v", c.name, r.scripts, r.err)
	}
	return r
}

// judge compares what a call says with what became of the session.
func (r reference) judge(s *scene, before, after view, answer any, err error) {
	s.Helper()
	wrong, touched := differ(r.once, after.since(before)), differ(before, after)
	switch {
	case err == nil && wrong != "":
		s.Errorf("no error, and it is not applied once:\n%s", wrong)
	case err == nil && answer != r.answer:
		s.Errorf("it answers %v, want %v", answer, r.answer)
	case err != nil && errors.Is(err, session.ErrUnknownOutcome) && wrong != "" && touched != "":
		s.Errorf("%v, and it is neither applied once:\n%s\nnor not at all:\n%s", err, wrong, touched)
	case err != nil && !errors.Is(err, session.ErrUnknownOutcome) && touched != "":
		s.Errorf("%v, and the session has changed:\n%s", err, touched)
	}
}

// A tally counts how calls ended: a test that met no unknown outcome, or no
// success, would prove little.
type tally struct{ struck, fine, unknown, failed atomic.Int64 }

func (n *tally) count(err error, seen faultnet.Counts) {
	if seen.Struck > 0 {
		n.struck.Add(1)
	}
	switch {
	case err == nil:
		n.fine.Add(1)
	case errors.Is(err, session.ErrUnknownOutcome):
		n.unknown.Add(1)
	default:
		n.failed.Add(1)
	}
}

// report fails the test if it proves little. That a fault misses now and then is
// normal: how many requests there are depends on the time.
func (n *tally) report(t *testing.T, combinations int) {
	t.Helper()
	t.Logf("%d combinations, %d struck: %d calls succeeded, %d had an unknown outcome, %d failed",
		combinations, n.struck.Load(), n.fine.Load(), n.unknown.Load(), n.failed.Load())
	if n.fine.Load() == 0 || n.unknown.Load() == 0 || int(n.struck.Load()) < combinations/2 {
		t.Error("too few faults struck, or one kind of outcome is missing")
	}
}

// A combination is a call and what strikes it.
type combination struct {
	reference
	name  string
	rules []faultnet.Rule
}

func (r reference) struck(name string, rules ...faultnet.Rule) combination {
	return combination{r, r.name + ", " + name, rules}
}

// combinations are all of them: a fault at one request, at one and all after
// it, and one upon another, which strikes the retry.
func (r reference) combinations() []combination {
	var all []combination
	add := func(name string, rules ...faultnet.Rule) {
		all = append(all, r.struck(name, rules...))
	}
	for at := 1; at <= r.scripts; at++ {
		for _, f := range allFaults {
			add(fmt.Sprintf("request %d: %v", at, f), faultnet.Rule{At: at, Fault: f})
			add(fmt.Sprintf("request %d and all after it: %v", at, f), faultnet.Rule{At: at, Fault: f, Every: true})
		}
		for _, f := range unsure {
			for _, g := range allFaults {
				add(fmt.Sprintf("request %d: %v, then: %v", at, f, g), faultnet.Rule{At: at, Fault: f}, faultnet.Rule{At: at + 1, Fault: g})
			}
		}
	}
	return all
}

func TestACallIsAppliedAsItSaysWhateverTheNetworkDoes(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 24, "calls", callTimeout)
	var all []combination
	for _, r := range calm.references(t, calls()) {
		all = append(all, r.combinations()...)
	}
	var ends tally
	runEach(t, labs, all, combination.String, func(t *testing.T, l *lab, c combination) { c.run(t, l, &ends) })
	ends.report(t, len(all))
}

func (c combination) String() string { return c.name }

func (c combination) run(t *testing.T, l *lab, ends *tally) {
	s, before := l.begun(t, c.call, c.rules...)
	answer, err := c.do(t.Context(), s.bot)
	ends.count(err, l.net.Counts())
	if c.end != nil {
		s.net.Strike()
		c.end(s)
	}
	after := s.look()
	c.judge(s, before, after, answer, err)
	s.changesNothing(after, ended(err))
}

// A server that does not know a script is sent it in full: one request more.
func TestACallIsAppliedAsItSaysByAServerThatForgetsScripts(t *testing.T) {
	t.Parallel()
	labs, calm := newLabs(t, 1, "forgetful", callTimeout)
	var all []combination
	for _, c := range calls() {
		do := c.do
		c.do = func(ctx context.Context, b *store.Bot) (any, error) {
			if err := calm.client.ScriptFlush(ctx).Err(); err != nil {
				return nil, err
			}
			return do(ctx, b)
		}
		r := calm.reference(t, c)
		for at := 1; at <= r.scripts; at++ {
			for _, f := range faultnet.Cuts {
				all = append(all, r.struck(fmt.Sprintf("request %d: %v", at, f), faultnet.Rule{At: at, Fault: f}))
			}
		}
	}
	var ends tally
	runEach(t, labs, all, combination.String, func(t *testing.T, l *lab, c combination) { c.run(t, l, &ends) })
	t.Logf("%d combinations, %d struck", len(all), ends.struck.Load())
}

// Calls that are made at the same time may share a connection, and what strikes
// one of them then strikes those behind it.
func TestCallsAtTheSameTimeAreAppliedAsEachSays(t *testing.T) {
	t.Parallel()
	const together, requests = 12, 14
	labs, calm := newLabs(t, 8, "together", callTimeout)
	var refs []reference
	for _, c := range calls() {
		if c.end == nil {
			refs = append(refs, calm.reference(t, c))
		}
	}
	type crowd struct {
		name  string
		calls []reference
		rules []faultnet.Rule
	}
	var all []crowd
	add := func(name string, rules ...faultnet.Rule) {
		c := crowd{name: name, rules: rules}
		for n := range together {
			c.calls = append(c.calls, refs[(len(all)+n*7)%len(refs)])
		}
		all = append(all, c)
	}
	for at := 1; at <= requests; at += 2 {
		for _, f := range turnFaults {
			add(fmt.Sprintf("request %d and a later one: %v", at, f), faultnet.Rule{At: at, Fault: f}, faultnet.Rule{At: at + together/2, Fault: f})
		}
		for _, f := range unsure {
			add(fmt.Sprintf("request %d and all after it: %v", at, f), faultnet.Rule{At: at, Fault: f, Every: true})
		}
	}
	var ends tally
	var judged atomic.Int64
	runEach(t, labs, all, func(c crowd) string { return c.name }, func(t *testing.T, l *lab, c crowd) {
		type one struct {
			s             *scene
			before, after view
			answer        any
			err           error
		}
		ones := make([]one, len(c.calls))
		for i, r := range c.calls {
			ones[i].s = l.scene(t, store.BotOptions{})
			r.begin(ones[i].s)
			ones[i].before = ones[i].s.look()
		}
		l.net.Strike(c.rules...)
		var wg sync.WaitGroup
		for i, r := range c.calls {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), callTimeout/time.Duration(1+3*(i%2))) // every second one is in a hurry
				defer cancel()
				ones[i].answer, ones[i].err = r.do(ctx, ones[i].s.bot)
			})
		}
		bounded.Wait(t, "all calls return", &wg)
		for i, r := range c.calls {
			o := &ones[i]
			ends.count(o.err, l.net.Counts())
			judged.Add(1)
			o.after = o.s.look()
			r.judge(o.s, o.before, o.after, o.answer, o.err)
		}
		for _, o := range ones {
			o.s.changesNothing(o.after, ended(o.err))
		}
	})
	ends.report(t, int(judged.Load()))
}
