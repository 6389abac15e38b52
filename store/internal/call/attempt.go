package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
)

// A Request is a script and what it is given.
type Request struct {
	Script *lua.Script
	Keys   []string
	Args   []string // Args follow the call's id and its deadline
	Node   int      // Node is where the Clock has the server of the keys
	ID     ids.Call // ID is the call's id; empty for one of its own. Requests with one id are one call to the scripts
}

// Bound gives ctx the deadline by which a call's outcome is settled, timeout from
// now or its own. A script that writes is seen through once it was sent: a
// cancelled ctx does not abandon it, because its outcome would be unknown for no
// need; ctx's deadline does.
func (c *Caller) Bound(ctx context.Context, script *lua.Script, timeout time.Duration) (context.Context, context.CancelFunc) {
	end := time.Now().Add(timeout)
	if !script.Writes {
		return context.WithDeadline(ctx, end)
	}
	limit, limited := ctx.Deadline()
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	if limited && limit.Before(end) {
		return context.WithDeadline(ctx, limit)
	}
	return bound{c.ending(end, timeout/64), ctx}, func() {}
}

// A bound has the end of one context and the values of another.
type bound struct {
	context.Context
	values context.Context
}

func (b bound) Value(key any) any { return b.values.Value(key) }

// ending returns a context that ends at end or, by at most early, before: calls that
// begin soon after one another have the same.
func (c *Caller) ending(end time.Time, early time.Duration) context.Context {
	if last := c.last.Load(); last != nil {
		if at, _ := (*last).Deadline(); !at.After(end) && end.Sub(at) <= early {
			return *last
		}
	}
	next, cancel := context.WithDeadline(context.Background(), end)
	context.AfterFunc(next, cancel) // at its end; until then it may be anybody's
	c.last.Store(&next)
	return next
}

// A Call is a request under one id, from its first attempt to its outcome.
type Call struct {
	caller   *Caller
	script   *lua.Script
	node     int
	key      string // the first
	words    []any  // of the command
	deadline int    // which of them is the deadline

	attempts int
	inDoubt  bool  // an attempt may have been applied, or may yet be
	telling  error // the last cause that says more than that time was over
}

// NewID returns the id of a new call.
func (c *Caller) NewID() ids.Call { return ids.NewCall(c.Name, c.calls.Add(1)) }

// Begin returns a call that was not attempted yet.
func (c *Caller) Begin(r Request) Call {
	id := r.ID
	if id == "" {
		id = c.NewID()
	}
	words, deadline := r.words(id)
	return Call{caller: c, script: r.Script, node: r.Node, key: r.Keys[0], words: words, deadline: deadline}
}

// Made returns how many calls were begun.
func (c *Caller) Made() uint64 { return c.calls.Load() }

// words returns the words of the request's command, of which the first two, which
// name the script, and the deadline are still to be filled in.
func (r *Request) words(id ids.Call) (words []any, deadline int) {
	words = make([]any, 0, 6+len(r.Keys)+len(r.Args))
	// Pointers to strings, because each string in an any is one more allocation.
	// Hooks that print commands see the first key, and nothing of what users said.
	words = append(words, nil, nil, len(r.Keys), r.Keys[0])
	for i := range r.Keys[1:] {
		words = append(words, &r.Keys[1+i])
	}
	words = append(words, string(id), "")
	for i := range r.Args {
		words = append(words, &r.Args[i])
	}
	return words, 4 + len(r.Keys)
}

// A verdict is what one attempt tells of the call.
type verdict int

const (
	settled verdict = iota // a reply that stays true
	open                   // a reply that an earlier attempt, still on its way, may make untrue
	late                   // it reached the server after its deadline
	denied                 // certainly not applied; will not work later
	notNow                 // certainly not applied; may work later
	lost                   // perhaps applied
	torn                   // stopped after some of its writes, perhaps; to repeat it would repeat those
)

// A step is what comes after a verdict.
type step int

const (
	give  step = iota // the reply goes to the caller
	again             // after a pause, if there is time
	stop              // the error goes to the caller
)

// steps is the table above Run.
var steps = [...]struct{ sure, inDoubt step }{
	settled: {give, give},
	open:    {give, again},
	late:    {again, stop},
	denied:  {stop, again},
	notNow:  {again, again},
	lost:    {again, again},
	torn:    {stop, stop},
}

// Run attempts the call until there is a reply that stays true, or ctx, which
// Bound made, ends. What comes next depends on the verdict, and on whether an
// attempt of the call, this one or one before, is in doubt: it may have been
// applied, or may still be on its way. One that leaves nothing behind is never.
//
//	verdict  none in doubt       one in doubt
//	settled  the reply           the reply
//	open     the reply           again: the other attempt may still be applied
//	late     again               stop: so is every attempt that is still on its way
//	denied   stop                again
//	notNow   again               again
//	lost     again               again: in doubt from now on, if the script writes
//	torn     stop                stop: likewise
//
// What comes back is one of
//
//   - a reply, of any status but LATE and NOPERM. After EXPIRED the caller may
//     remove what has expired, and run the call again;
//   - an error that says why it was certainly not applied;
//   - session.ErrUnknownOutcome joined with the last cause. By then the deadline
//     that the request carried has passed, so it was applied before or never will
//     be.
func (c *Call) Run(ctx context.Context) (Reply, error) {
	for {
		r, v, err := c.attempt(ctx)
		if (v == lost || v == torn) && c.script.Writes {
			c.inDoubt = true
		}
		switch c.step(v) {
		case give:
			return r, nil
		case stop:
			return Reply{}, c.failure(ctx, err)
		}
		if err := c.pause(ctx, err); err != nil {
			return Reply{}, err
		}
	}
}

// Again pauses a call whose caller could not remove what is in its way. It returns
// the call's error if it must not be run again.
func (c *Call) Again(ctx context.Context, trouble error) error {
	v := notNow
	if errors.Is(trouble, session.ErrNoPermission) {
		v = denied
	}
	if c.step(v) == stop {
		return c.failure(ctx, trouble)
	}
	return c.pause(ctx, trouble)
}

func (c *Call) step(v verdict) step {
	if c.inDoubt {
		return steps[v].inDoubt
	}
	return steps[v].sure
}

// A Refusal is the error of an attempt whose reply an earlier one may make untrue.
type Refusal struct{ Reply Reply }

func (r *Refusal) Error() string { return "refused, but an earlier request may still be applied" }

// attempt sends the request once.
func (c *Call) attempt(ctx context.Context) (Reply, verdict, error) {
	if !c.inDoubt {
		// After that it stays: what the script remembers of the first attempt it
		// remembers only until the deadline that came with it.
		end, _ := ctx.Deadline()
		c.words[c.deadline] = c.caller.Clock.At(c.node, end)
	}
	c.attempts++
	r, err := c.caller.sendScript(ctx, c.script, c.words)
	if err != nil {
		v := judge(err)
		if v == lost || v == notNow {
			c.caller.lookAround(ctx, err)
		}
		if v == denied || v == torn && !c.script.Writes {
			err = NoRight(err)
		}
		return Reply{}, v, err
	}
	c.caller.Clock.Heard(c.node, r.Now())
	switch status := r.Status(); {
	case status == "LATE":
		// Too late by the estimate of a clock that this reply has corrected.
		return Reply{}, late, errors.New("the request reached the server after its deadline")
	case status == "NOPERM":
		return Reply{}, denied, fmt.Errorf("%w: %s", session.ErrNoPermission, r.Text("command"))
	case status != "EXPIRED" && !c.script.IsFinal(status):
		return r, open, &Refusal{r}
	}
	return r, settled, nil
}

// pause waits for the next attempt. It returns the call's error if there is no time
// for one.
func (c *Call) pause(ctx context.Context, err error) error {
	end, _ := ctx.Deadline()
	if Sleep(ctx, c.backoff()) && time.Now().Before(end) {
		c.note(err)
		return nil
	}
	return c.failure(ctx, err)
}

// failure returns the error of a call that ends with err.
func (c *Call) failure(ctx context.Context, err error) error {
	c.note(err)
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = causes.Join(cause, err)
	}
	if c.telling != nil && !errors.Is(err, c.telling) {
		err = causes.Join(c.telling, err)
	}
	if c.inDoubt {
		err = causes.Join(session.ErrUnknownOutcome, err)
	}
	return err
}

func (c *Call) note(err error) {
	if !TimeOver(err) {
		c.telling = err
	}
}

func (c *Call) backoff() time.Duration { return c.caller.Backoff(c.attempts-1, c.key) }

// Backoff is the time before the next attempt, after so many before the last: 5 ms,
// doubling up to 200, of which the second half is jitter.
func (c *Caller) Backoff(attempt int, key string) time.Duration {
	most := min(5*time.Millisecond<<min(attempt, 8), 200*time.Millisecond)
	return most/2 + c.Jitter(most/2, key)
}

// Sleep waits, and reports whether ctx still lives.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
