package store

import (
	"context"
	"errors"
	flags "flag" // flag is a function here
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

var differentialTurns = flags.Int("differential.turns", 1000, "how many turns TestTheShortWayWritesWhatTheGeneralScriptsWrite runs")

// The first lines of accept and sent, and commit with what the holder computes, must
// leave what the general scripts leave, byte for byte; so must an eager turn in one
// trip. So the same random calls are made on two servers with the same clock, on one of
// them as they are, on the other by the general scripts alone; after each step all that
// is stored is compared.
func TestTheShortWayWritesWhatTheGeneralScriptsWrite(t *testing.T) {
	t.Parallel()
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // each script makes a Lua state
	var commits, trips atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for seed := range uint64(max(*differentialTurns/turnsOfASeed, 1)) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				by, in := newDifferential(t, seed, time.UnixMilli(1_800_000_000_000), newSimulated(t), newSimulated(t)).run()
				commits.Add(by)
				trips.Add(in)
			})
		}
	})
	enoughCommits(t, commits.Load(), trips.Load(), *differentialTurns)
}

// The same on two real servers, with their own Lua and their own numbers: a tenth as
// many turns.
func TestTheShortWayWritesWhatTheGeneralScriptsWriteOnServers(t *testing.T) {
	t.Parallel()
	servers := [2]engine{newReal(t), newReal(t)}
	var commits, trips int64
	turns := max(*differentialTurns/10, 2*turnsOfASeed)
	begin := time.Now().Truncate(24 * time.Hour).Add(48 * time.Hour) // so that the server itself drops nothing
	for seed := range uint64(turns / turnsOfASeed) {
		by, in := newDifferential(t, seed, begin, servers[0], servers[1]).run()
		commits, trips = commits+by, trips+in
	}
	enoughCommits(t, commits, trips, turns)
}

// turnsOfASeed is how many turns are made of one seed.
const turnsOfASeed = 200

func enoughCommits(t *testing.T, commits, trips int64, turns int) {
	t.Logf("%d of %d turns ended by commit, and %d more were made in one trip", commits, turns, trips)
	if int(commits) < turns/10 || int(trips) < turns/200 {
		t.Error("too few to say much")
	}
}

// A differential is two servers to which the same happens.
type differential struct {
	*testing.T
	seed    uint64
	dice    *rand.Rand
	now     time.Time
	sides   [2]*side // the short way, the general one
	steps   []string
	commits int64
	trips   int64 // trips counts the eager turns that were made in one
	events  int
}

type side struct {
	server  engine
	st      *Store
	way     *road
	bots    []*Bot
	runners []*runner
	general bool
}

func newDifferential(t *testing.T, seed uint64, begin time.Time, short, general engine) *differential {
	d := &differential{T: t, seed: seed, dice: rand.New(rand.NewPCG(seed, 1)), now: begin}
	// An id is remembered for longer than a turn and its call take: what is due to the call's deadline is in this
	// process' time.
	window, limit, ttl := d.pick(time.Hour, time.Minute, 2*time.Minute), d.dice.IntN(2)*5, d.pick(time.Hour, -1, 20*24*time.Hour)
	for i, server := range []engine{short, general} {
		c := server.begin(t, d.now)
		way := &road{time: server.time()}
		c.AddHook(way)
		st, err := New(t.Context(), c, &Options{Buckets: 1, Timeout: 5 * time.Second, Lease: 30 * time.Second})
		noError(t, err)
		t.Cleanup(func() { st.Close() })
		st.caller.Name, st.tag = "replica-0123456789abcdef", ids.TagOf("replica-0123456789abcdef")
		s := &side{server: server, st: st, way: way, general: i == 1}
		for _, recordOnly := range []bool{true, false} {
			bot := botOf(t, st, fmt.Sprint("bot-", recordOnly), &BotOptions{RecordOnly: recordOnly, DedupeWindow: window, HistoryLimit: limit, TTL: ttl, Backoff: time.Second})
			s.bots = append(s.bots, bot)
			s.runners = append(s.runners, bot.newRunner(t.Context(), func(context.Context, *Turn) error { return nil }, ServeOptions{}, 1))
		}
		d.sides[i] = s
	}
	return d
}

// run makes the turns of a seed, and returns how many of them ended by commit, and how
// many were made in one trip.
func (d *differential) run() (commits, trips int64) {
	for range turnsOfASeed {
		d.step()
		if d.Failed() {
			d.Fatalf("seed %d: the steps were\n%s", d.seed, strings.Join(d.steps, "\n"))
		}
	}
	return d.commits, d.trips
}

func (d *differential) pick(from ...time.Duration) time.Duration { return from[d.dice.IntN(len(from))] }

// at has both servers at the same moment, and both processes know it.
func (d *differential) at(step time.Duration) {
	d.now = d.now.Add(step)
	for _, s := range d.sides {
		s.server.at(d.now, step)
		s.st.caller.Clock.Heard(0, d.now.UnixMilli()+1)
	}
}

// both does something on both servers, and compares what comes back.
func (d *differential) both(what string, do func(s *side) any) (results [2]any) {
	d.Helper()
	for i, s := range d.sides {
		s.st.caller.Clock.Heard(0, d.now.UnixMilli()+1)
		results[i] = do(s)
	}
	for d.sides[0].st.caller.Made() != d.sides[1].st.caller.Made() { // so that both give the next call the same id
		less := d.sides[0].st
		if d.sides[1].st.caller.Made() < less.caller.Made() {
			less = d.sides[1].st
		}
		less.caller.Begin(call.Request{Script: lua.Load, Keys: []string{""}})
	}
	d.steps = append(d.steps, fmt.Sprintf("%d %s: %v", d.now.UnixMilli(), what, results[0]))
	if !reflect.DeepEqual(results[1], results[0]) {
		d.Errorf("%s (-general +short):\n%s", what, cmp.Diff(results[1], results[0]))
	}
	return results
}

func (d *differential) step() {
	d.at(d.pick(0, 1, 20, 999, 5000, 61_000, 1_200_000) * time.Millisecond)
	switch d.dice.IntN(40) {
	case 0:
		d.at(40 * time.Hour)
	case 1:
		d.at(-d.pick(1, 500, 3000) * time.Millisecond)
	}
	bot, id := d.dice.IntN(2), fmt.Sprint(d.dice.IntN(2))
	ref := func(s *side) place { return s.st.layout.place(session.Ref{Bot: s.bots[bot].name, ID: id}) }
	if d.dice.IntN(5) == 0 {
		d.live(bot, id, 8)
		d.compare(place{})
	}
	e := session.Event{ID: fmt.Sprint("event ", d.events), Text: fmt.Sprint("text ", d.events), Platform: "web", User: "u" + id}
	d.events++
	if d.dice.IntN(20) == 0 {
		e.Text = strings.Repeat("long", 1100)
	}
	var holds [2]*hold
	lost := d.dice.IntN(10) == 0
	if what := d.dice.Uint64(); what%4 == 0 {
		d.both(fmt.Sprint("eager turn, its reply lost: ", lost), func(s *side) any {
			s.way.again = lost
			return d.hurry(s, s.runners[bot], ref(s), e, what)
		})
		d.rest(bot, ref)
		return
	}
	d.both(fmt.Sprint("accept, its reply lost: ", lost), func(s *side) any {
		s.way.again = lost
		h, told := d.accept(s, s.runners[bot], ref(s), e)
		holds[map[bool]int{true: 1}[s.general]] = h
		return told
	})
	if holds[0] == nil || holds[1] == nil {
		d.rest(bot, ref)
		return
	}
	d.at(d.pick(0, 1, 300, 20_000) * time.Millisecond)
	switch d.dice.IntN(8) {
	case 0:
		d.both("accept again", func(s *side) any {
			h, told := d.accept(s, s.runners[bot], ref(s), e)
			return fmt.Sprint(h != nil, told)
		})
	case 1:
		later := e
		later.ID += " later"
		d.both("accept another", func(s *side) any {
			h, told := d.accept(s, s.runners[bot], ref(s), later)
			return fmt.Sprint(h != nil, told)
		})
	case 2:
		d.live(bot, id, 7) // an Update would wait
	}
	if d.dice.IntN(10) == 0 {
		verdict := []string{"retry", "wait"}[d.dice.IntN(2)]
		d.both("release, "+verdict, func(s *side) any {
			h := holds[map[bool]int{true: 1}[s.general]]
			h.begin(d.Context())
			defer h.cancel(nil)
			s.runners[bot].release(h, verdict, time.Second, "no")
			return nil
		})
		d.at(2 * time.Second)
		d.rest(bot, ref)
		return
	}
	what := d.dice.Uint64()
	lost = d.dice.IntN(10) == 0
	d.both(fmt.Sprint("turn, its reply lost: ", lost), func(s *side) any {
		s.way.again = lost
		told := d.end(s, s.runners[bot], holds[map[bool]int{true: 1}[s.general]], what)
		if lost {
			told.version = 0 // settle does not know it any more
		}
		return fmt.Sprint(told)
	})
	d.rest(bot, ref)
}

// rest compares what is stored, and does what waits for a session.
func (d *differential) rest(bot int, ref func(*side) place) {
	waits := d.compare(ref(d.sides[0]))
	if !waits && d.dice.IntN(20) > 0 {
		return
	}
	d.both("what waits", func(s *side) any { return d.drain(s, s.runners[bot], ref(s)) })
	d.compare(place{})
}

// accept accepts an event as Bot.Accept does, on the general side without the first lines.
func (d *differential) accept(s *side, r *runner, at place, e session.Event) (*hold, any) {
	return d.acceptAs(s, r, at, e, "")
}

// acceptAs does so under a call's id.
func (d *differential) acceptAs(s *side, r *runner, at place, e session.Event, id ids.Call) (*hold, any) {
	opts := r.bot.options()
	ev, err := r.bot.encodeEvent(e, opts)
	noError(d.T, err)
	ev.window = s.st.window(opts)
	small, text := false, ""
	var known *stored.Record
	if !s.general && ev.fitsHand() {
		small = true
		if known = s.st.known.take(s.st.identity().id, at.ref); known != nil {
			text = known.Text()
		}
	}
	q := r.bot.askAccept(opts, at, ev, opts.room(), small, text)
	q.id = id
	answer, err := s.st.do(d.Context(), at, q)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if answer.Status() == "OK" {
		switch answer.Next().Status() {
		case "hand":
			h := r.inHand(at, time.Now(), answer, ev, known)
			noError(d.T, h.bad)
			return h, "event"
		case "event":
			h := r.hold(at, time.Now(), answer.Next())
			h.event = ev
			noError(d.T, h.bad)
			return h, "event"
		}
		return nil, answer.Next().Status()
	}
	return nil, answer.Status()
}

// hurry accepts an event and ends its turn, on the short side in one trip if it can, and
// else by settle.
func (d *differential) hurry(s *side, r *runner, at place, e session.Event, what uint64) any {
	var id ids.Call
	if h := d.eager(s, r, at, e); h != nil {
		h.begin(d.Context())
		defer h.cancel(nil)
		s.st.caller.Clock.Heard(0, d.now.UnixMilli()+1)
		if after, done := h.eager.turn(d.does(r, h, what)); done {
			d.trips++
			for after != nil {
				after = d.finish(s, r, after)
			}
			return ended{}
		}
		id = h.eager.id
	}
	h, told := d.acceptAs(s, r, at, e, id)
	if h == nil {
		return told
	}
	h.known = nil
	ends := d.end(s, r, h, what)
	ends.version = 0 // that of a trip is not returned
	return ends
}

// eager returns an eager run on the record that the short side knows, if it is still
// that of the session; else nil.
func (d *differential) eager(s *side, r *runner, at place, e session.Event) *hold {
	if s.general {
		return nil
	}
	free := s.st.known.take(s.st.identity().id, at.ref)
	if free == nil {
		return nil
	}
	is := call.HMGet(s.st.layout.key("session", at), []string{stored.FieldRecord})
	noError(d.T, s.st.read(d.Context(), is))
	opts := r.bot.options()
	ev, err := r.bot.encodeEvent(e, opts)
	noError(d.T, err)
	ev.window, ev.promise = s.st.window(opts), newPromise()
	if !slices.Contains(present([]string{stored.FieldRecord}, is.Val), free.Text()) || !ev.fitsHand() {
		return nil
	}
	g := &eager{bot: r.bot, runner: r, ctx: d.Context(), at: at, id: s.st.caller.NewID(), opts: opts, event: ev, free: free,
		mu: make(chan struct{}, 1), done: make(chan struct{}), receipt: &Receipt{}}
	g.hold = &hold{runner: r, opts: opts, at: at, work: session.WorkEvent, rec: free, event: ev, eager: g, window: ev.window}
	return g.hold
}

// does returns what a turn did, by the number what.
func (d *differential) does(r *runner, h *hold, what uint64) written {
	dice := rand.New(rand.NewPCG(what, 2))
	t := newTurn(r.bot, h.opts, h.at.ref, h.rec, h.event, h.attempt(), h.log)
	for range dice.IntN(4) {
		t.Reply(fmt.Sprint("reply ", dice.IntN(100)))
	}
	if dice.IntN(3) > 0 {
		t.Set(fmt.Sprint("key ", dice.IntN(3)), dice.IntN(3))
	}
	switch dice.IntN(6) {
	case 0, 1:
		t.Move(fmt.Sprint("state ", dice.IntN(3)))
	case 2:
		t.SetIntent(&session.Intent{Name: "intent"})
	case 3:
		t.SetFlag(fmt.Sprint("flag ", dice.IntN(2)), dice.IntN(2) == 0)
	}
	switch dice.IntN(20) {
	case 0:
		t.Delete(fmt.Sprint("key ", dice.IntN(3)))
	case 1:
		t.Reset(session.KeepChat)
	case 2:
		t.SetTTL(time.Duration(dice.IntN(3)) * time.Hour)
	case 3:
		t.Destroy()
	}
	w, err := t.end()
	noError(d.T, err)
	return w
}

// end ends a turn that did something, by the number what, and sends its replies.
func (d *differential) end(s *side, r *runner, h *hold, what uint64) (told ended) {
	h.begin(d.Context())
	defer h.cancel(nil)
	w := d.does(r, h, what)
	if s.general {
		h.known = nil
	} else if _, short := r.plain(h, w, ""); short {
		d.commits++
	}
	after, version, err := r.write(h, w, once{})
	for err == nil && after != nil {
		after = d.finish(s, r, after)
	}
	return ended{version, errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrWrongState)}
}

// ended is what became of a turn.
type ended struct {
	version           int64
	fenced, otherwise bool
}

// finish ends a hold: replies are noted as sent, and an event has a turn that says one thing.
func (d *differential) finish(s *side, r *runner, h *hold) *hold {
	noError(d.T, h.bad)
	h.begin(d.Context())
	defer h.cancel(nil)
	if s.general {
		h.known = nil
	}
	if h.work == session.WorkReply {
		h.sent = len(h.parcels)
		return r.delivered(h, nil)
	}
	t := newTurn(r.bot, h.opts, h.at.ref, h.rec, h.event, h.attempt(), h.log)
	t.Reply("drained")
	w, err := t.end()
	noError(d.T, err)
	after, _, err := r.write(h, w, once{})
	noError(d.T, err)
	return after
}

// drain does what waits for a session.
func (d *differential) drain(s *side, r *runner, at place) any {
	n := 0
	for range 20 {
		opts := r.bot.options()
		answer, err := s.st.do(d.Context(), at, r.bot.askLease(opts, at, "serve", ""))
		if err != nil {
			return fmt.Sprint(n, errors.Is(err, session.ErrBusy), errors.Is(err, session.ErrNotFound))
		}
		h := r.next(at, time.Now(), answer.Next())
		if h == nil {
			return n
		}
		for h != nil {
			h = d.finish(s, r, h)
			n++
		}
	}
	return n
}

// live calls a verb of the living session, one of so many.
func (d *differential) live(bot int, id string, kinds int) {
	kind := d.dice.IntN(kinds)
	d.both(fmt.Sprint("live verb ", kind), func(s *side) any {
		sess, ctx := s.bots[bot].Session(id), As(d.Context(), "ann", "for the test")
		var err error
		switch kind {
		case 0:
			err = sess.Move(ctx, session.Transition{To: "moved"})
		case 1:
			err = sess.Set(ctx, "live", 1)
		case 2:
			err = sess.Reply(ctx, "live")
		case 3:
			err = sess.Reset(ctx, session.DropChat)
		case 4:
			_, err = sess.Destroy(ctx)
		case 5:
			err = sess.Retry(ctx, Head{Event: fmt.Sprint("event ", d.events-1)}, Retrial{Take: true})
		case 6:
			err = sess.Skip(ctx, Head{Event: fmt.Sprint("event ", d.events-1)})
		case 7:
			_, err = s.bots[bot].Update(ctx, id, func(_ context.Context, t *Turn) error { t.Set("updated", true); return nil })
		}
		return fmt.Sprint(errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrChanged))
	})
}

// compare compares all that is stored, but for what is empty or absent, and until when
// the lines of events are kept, which the general scripts look at more often. It
// reports whether the session at that place has events or replies that wait.
func (d *differential) compare(at place) (waits bool) {
	d.Helper()
	var all [2]map[string]stands
	for i, s := range d.sides {
		all[i] = s.server.keys()
		for key, has := range all[i] {
			name, of, known := s.st.layout.parse(key)
			if name == "meta" || name == "settings" || name == "calls" && has.until != "" || !known {
				delete(all[i], key)
				continue
			}
			waits = waits || of.ref == at.ref && (name == "inbox" || name == "outbox")
			if name == "bells" { // the general scripts list a session that is handed out, so that its bot's bell may ring too early
				for j, value := range has.values {
					has.values[j] = dueBell.ReplaceAllString(value, "$1 some time")
				}
			}
			switch form := forms[name]; {
			case form.life == ends && has.until == "":
				d.Errorf("%s has no expiry", key)
			case form.life == stays && has.until != "":
				d.Errorf("%s has an expiry: %s", key, has.until)
			case form.life == ends: // by relative times, or later than it must be
				has.until = "some time"
				all[i][key] = has
			}
			for field, value := range has.fields {
				if value == "" || name == "events" && d.forgotten(value) {
					delete(has.fields, field)
				} else if field == stored.FieldRecord {
					has.fields[field] = withoutKept(value)
				}
			}
			if has.fields != nil && len(has.fields) == 0 {
				delete(all[i], key)
			}
		}
	}
	if !maps.EqualFunc(all[0], all[1], stands.equal) {
		d.Errorf("what is stored (-general +short):\n%s", cmp.Diff(all[1], all[0], cmp.AllowUnexported(stands{})))
	}
	return waits
}

var dueBell = regexp.MustCompile(`\b(dbot-[a-z]+):[^ \]]+`)

// forgotten reports whether the line of an event counts no more: it is there or not.
func (d *differential) forgotten(line string) bool {
	l, err := stored.ReadLine(line)
	return err == nil && (l.Status == stored.LineVoid || l.Status != stored.LineWaits && l.Forget*1000 <= d.now.UnixMilli())
}

// withoutKept returns a record without its word kept, which has five behind it.
func withoutKept(rec string) string {
	end := len(rec)
	for range 5 {
		end = max(strings.LastIndexByte(rec[:end], ' '), 0)
	}
	return rec[:strings.LastIndexByte(rec[:end], ' ')+1] + "kept" + rec[end:]
}
