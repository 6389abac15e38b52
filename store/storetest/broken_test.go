package storetest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// A suite that passes may be one that cannot fail. So here are scripts that are
// broken on purpose, each in one place; the suite must notice each.
var breaks = map[string]struct {
	script   *lua.Script
	old, new string
	noticed  string // by this check
}{
	"a release without its token check":    {lua.Release, "s.token ~= token or s.work ~= work", "s.work ~= work", "border/a_late_release"},
	"a repeated commit not recognised":     {lua.Settle, "if status == 'd' and by == token then before = first end", "", "once/a_call_whose_reply_is_lost"},
	"a lease taken early":                  {lua.Lease, "if s.lease > now then\n  if still()", "if s.lease > now + 200 then\n  if still()", "border/a_lease_is_not_taken"},
	"replies retried early":                {lua.Lease, "elseif unsent > 0 and s.owait <= now then", "elseif unsent > 0 then", "border/the_failures_of_event"},
	"a noted reply not looked for":         {lua.Sent, "if last and is_reply(last, upto) then", "if last then", "outbox/a_replica_that_dies_between_send_and_note"},
	"an Update that lets nobody pass":      {lua.Lease, "if mode == 'update' and s.way > now and", "if false and", "border/at_most_one_Update"},
	"what is put off counts as a failure":  {lua.Release, "verdict == 'retry' and 1 or 0", "verdict ~= 'back' and 1 or 0", "failures/Later_puts_an_event_off"},
	"an event that is put off for ever":    {lua.Release, "if s.since == 0 then s.since = off end", "", "settings/MaxWait_is"},
	"a reply that is put off for ever":     {lua.Release, "if s.osince == 0 then s.osince = off end", "", "settings/MaxWait_is"},
	"hand-backs that are not counted":      {lua.Release, "s.backs + back", "s.backs", "border/an_event_that_live_Moves"},
	"a record that is not compared":        {lua.Commit, "or found[1] ~= rec", "", "in_hand/events_that_come_during"},
	"a line that is not written":           {lua.Commit, "try('HSET', events, digest, line)", "1", "in_hand/an_event_in_hand_is_a_duplicate"},
	"a token that is used again":           {lua.Accept, "math.max(token + 1, time[1] * 1000000 + time[2])", "token + 0", "in_hand/a_turn_on_an_event_in_hand"},
	"a hash withheld for any record":       {lua.Accept, "rec ~= known and", "known == '' and", "in_hand/replicas_that_take_turns"},
	"a hash withheld by the record's end":  {lua.Accept, "rec ~= known and", "string.match(rec, ' %d+ %d+ | .*$') ~= string.match(known, ' %d+ %d+ | .*$') and", "in_hand/a_replica_whose_last_turn"},
	"a hash withheld by the turn's number": {lua.Accept, "rec ~= known and", "string.match(rec, '^%l+ %d+ %d+ %- 0 0 0 0 0 (%d+ %d+ %d+) ') ~= string.match(known, '^%l+ %d+ %d+ %- 0 0 0 0 0 (%d+ %d+ %d+) ') and", "in_hand/a_replica_whose_last_turn"},
	"a hand that is not counted":           {lua.Load, "      waiting = waiting + 1", "", "in_hand/an_event_in_hand_waits"},
	"a hand that leaves no line":           {lua.Lease, "redis.call('HSET', events, digest, hand_line(when, window))", "", "in_hand/an_event_in_hand_that_nobody_finishes"},
	"a hand without its call":              {lua.Change, "write_line('p', math.ceil((when + window) / 1000), call_end(s.holder)", "write_line('p', math.ceil((when + window) / 1000), NOBODY", "in_hand/an_event_that_leaves_the_hand"},
	"a lost hash that is a lost lease":     {lua.Settle, "return {'GONE', now}", "return {'FENCED', now}", "in_hand/an_event_in_hand_whose_session_loses"},
	"a head that is not kept in letters":   {lua.Dead, "why .. head", "why", "border/a_session_keeps_its_newest"},
}

const breakName = "BOTSESSION_TEST_BREAK"

// TestBrokenConformance is the suite with a broken script, for the test below.
func TestBrokenConformance(t *testing.T) {
	b, ok := breaks[os.Getenv(breakName)]
	if !ok {
		return // it is run by the test below
	}
	text := strings.Replace(b.script.Text(), b.old, b.new, 1)
	connected := connect(redistest.Single(t))
	storetest.Conformance(t, func(t testing.TB) redis.UniversalClient {
		client := connected(t)
		client.AddHook(spoiler{b.script.SHA(), text})
		return client
	})
}

// A spoiler sends a script with another text.
type spoiler struct{ sha, text string }

func (s spoiler) spoil(cmd redis.Cmder) {
	if args := cmd.Args(); len(args) > 1 && args[1] == s.sha {
		args[0], args[1] = "eval", s.text
	}
}

func (spoiler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s spoiler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { s.spoil(cmd); return next(ctx, cmd) }
}

func (s spoiler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s.spoil(cmd)
		}
		return next(ctx, cmds)
	}
}

func TestTheSuiteNoticesEachBreak(t *testing.T) {
	t.Parallel()
	redistest.Single(t) // or the checks do not run
	for name, b := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(b.script.Text(), b.old) != 1 {
				t.Fatalf("%s.lua has not the one place that this breaks", b.script.Name)
			}
			var out []byte
			var err error
			for range 5 { // some breaks show only if two things happen in a certain order, which a busy machine may not do
				suite := exec.Command(os.Args[0], "-test.run", "TestBrokenConformance/"+b.noticed)
				suite.Env = append(os.Environ(), breakName+"="+name)
				out, err = suite.CombinedOutput()
				if err != nil && strings.Contains(string(out), "        --- FAIL: TestBrokenConformance/"+b.noticed) {
					return
				}
			}
			t.Errorf("it is not noticed: %v\n%s", err, out)
		})
	}
}
