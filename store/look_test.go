package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
)

// A belfry is a store of one bucket, and a client to look at its bells.
type belfry struct {
	*testing.T
	*Store
	c redis.UniversalClient
}

func newBelfry(t *testing.T) *belfry {
	url := redistest.Single(t)
	return &belfry{t, opened(t, url, &Options{Buckets: 1, Lease: time.Minute}), client(t, url)}
}

func (b *belfry) key(name, bot string) string {
	return b.layout.key(name, place{ref: session.Ref{Bot: bot}})
}

// rings returns when a bell rings, in ms; zero if there is none.
func (b *belfry) rings(bell string) int64 {
	score, err := b.c.ZScore(b.Context(), b.key("bells", ""), bell).Result()
	if !errors.Is(err, redis.Nil) {
		noError(b.T, err)
	}
	return int64(score)
}

func (b *belfry) set(bell string, at int64) {
	noError(b.T, b.c.ZAdd(b.Context(), b.key("bells", ""), redis.Z{Score: float64(at), Member: bell}).Err())
}

// waits accepts an event that waits, and returns the session's place. The wake-up
// believes what the store knows of the replicas, which may be what the test has set.
func (b *belfry) waits(bot *Bot, id string) place {
	b.fleet.mu.Lock()
	b.fleet.asked = time.Now()
	b.fleet.mu.Unlock()
	_, err := bot.Accept(b.Context(), id, session.Event{ID: "e", Text: "hi"})
	noError(b.T, err)
	return b.layout.place(session.Ref{Bot: bot.name, ID: id})
}

// handedOut accepts an event, and lists its session as accept does that hands it out
// without due.
func (b *belfry) handedOut(bot *Bot, id string, until int64) place {
	at := b.waits(bot, id)
	noError(b.T, b.c.ZRem(b.Context(), b.key("due", bot.name), id).Err())
	if len(b.due(bot.name)) == 0 {
		noError(b.T, b.c.ZRem(b.Context(), b.key("bells", ""), "d"+bot.name).Err())
	}
	b.set("h"+bot.name+"/"+id, until)
	return at
}

func (b *belfry) due(bot string) []redis.Z {
	list, err := b.c.ZRangeWithScores(b.Context(), b.key("due", bot), 0, -1).Result()
	noError(b.T, err)
	return list
}

// looks looks once, as a process that serves nothing and knows of those replicas.
func (b *belfry) looks(replicas ...presence) {
	b.T.Helper()
	b.fleet.set(replicas)
	noError(b.T, b.look(b.Context(), b.layout.all()))
}

// mute returns another process, which wakes nobody: what it accepts is found by looking.
func (b *belfry) mute() *belfry {
	c := client(b.T, "redis://"+b.c.(*redis.Client).Options().Addr)
	c.AddHook(mute{})
	st, err := New(b.Context(), c, nil)
	noError(b.T, err)
	return &belfry{b.T, st, b.c}
}

type mute struct{}

func (mute) DialHook(next redis.DialHook) redis.DialHook { return next }

func (mute) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "publish" {
			return nil
		}
		return next(ctx, cmd)
	}
}

func (mute) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestASessionThatWasHandedOutOfAnotherBotIsMovedWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	later := time.Now().Add(time.Hour).UnixMilli()
	b.handedOut(bot, "over", 1000)
	b.handedOut(bot, "held", later)
	b.looks()
	if due := b.due("bot"); len(due) != 1 || due[0] != (redis.Z{Score: 1000, Member: "over"}) || b.rings("dbot") != 1000 || b.rings("hbot/over") != 0 {
		t.Errorf("due lists %v, its bell rings at %d, the session's at %d", due, b.rings("dbot"), b.rings("hbot/over"))
	}
	if b.rings("hbot/held") != later {
		t.Error("one whose lease is not over was touched")
	}
	noError(t, b.Whole(t.Context()))
}

func TestAHundredSessionsAreMovedByOneCall(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	for i := range 250 {
		b.set(fmt.Sprint("hbot/", i), 1)
		b.set(fmt.Sprint("hother/", i), 1)
	}
	count := func() (n int) {
		_, rest, _ := strings.Cut(b.c.Info(t.Context(), "commandstats").Val(), "cmdstat_evalsha:calls=")
		calls, _, _ := strings.Cut(rest, ",")
		n, _ = strconv.Atoi(calls)
		return n
	}
	before := count()
	b.looks()
	if n := count() - before; n != 2*3 && n != 2*2*3 { // each was sent in full where the server did not know it
		t.Errorf("%d calls moved 250 sessions of each of two bots", n)
	}
	if len(b.due("bot")) != 250 || len(b.due("other")) != 250 || b.c.ZCard(t.Context(), b.key("bells", "")).Val() != 2 {
		t.Errorf("moved are %d and %d, and %d bells are left", len(b.due("bot")), len(b.due("other")), b.c.ZCard(t.Context(), b.key("bells", "")).Val())
	}
}

func TestASessionThatWasHandedOutOfAServedBotIsLeasedWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	handled := make(chan string, 1)
	servedWith(t, bot, func(_ context.Context, turn *Turn) error { handled <- turn.Ref().ID; return nil }, 1)
	eventually(t, "it has looked at all that was due", func() bool { return b.rings("dbot") == 0 && b.fleet.serves("bot") && b.fleet.size() > 0 })
	other := b.mute()
	noDue := func() bool { return len(b.due("bot")) == 0 }
	other.handedOut(botOf(t, other.Store, "bot", nil), "1", 1)
	if id := bounded.Receive(t, "the event is handled", handled); id != "1" {
		t.Errorf("handled is %s", id)
	}
	eventually(t, "its bells are silent", func() bool { return noDue() && b.rings("hbot/1") == 0 })
}

func TestABellOfABotThatNobodyServesIsPutOff(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	b.waits(botOf(t, b.Store, "bot", nil), "1")
	before := b.rings("dbot") - 1000 // for sure, also by an estimate of the clock
	b.set("dbot", before)
	serves := presence{name: "r", Bots: map[string]service{"bot": {}}}
	b.looks(serves) // which has no room now
	if b.rings("dbot") != before {
		t.Errorf("the bell of a bot that another replica serves was moved by %d ms", b.rings("dbot")-before)
	}
	b.fleet.asked = time.Now().Add(-time.Hour)
	noError(t, b.look(t.Context(), []int{0}))
	if b.rings("dbot") != before {
		t.Error("the bell was moved by a process that does not know who serves the bot")
	}
	expires := b.rings("xbot")
	b.set("xbot", before)
	b.set("dgone", before)
	b.looks(presence{name: "r", Bots: map[string]service{"other": {}}})
	now := b.c.Time(t.Context()).Val().UnixMilli()
	if by := b.rings("dbot") - before; by < 10_000 || b.rings("dbot") > now+10_000 {
		t.Errorf("the bell was put off by %d ms, and rings in %d", by, b.rings("dbot")-now)
	}
	if b.rings("xbot") != expires {
		t.Errorf("a bell for nothing that is due rings at %d, and the first is due at %d", b.rings("xbot"), expires)
	}
	if b.rings("dgone") != 0 {
		t.Error("a bell for an empty list is still there")
	}
	b.looks()
	if b.rings("dbot") > now+10_000 {
		t.Error("a bell that does not ring was put off again")
	}
	noError(t, b.Whole(t.Context()))
}

// Whatever its bells say: they may have been put off.
func TestServeBeginsWithALookAtEachBucketOfItsShare(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), &Options{Buckets: 64})
	b := &belfry{t, st, nil}
	bot := botOf(t, st, "bot", nil)
	hidden, left := map[int]bool{}, map[string]bool{}
	for i := 0; len(hidden) < 64; i++ {
		at := b.waits(bot, fmt.Sprint(i))
		hidden[at.bucket], left[at.ref.ID] = true, true
		noError(t, st.client.ZAdd(t.Context(), st.layout.key("bells", at), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: "dbot"}).Err())
	}
	handled := make(chan string, len(left))
	servedWith(t, bot, func(_ context.Context, turn *Turn) error { handled <- turn.Ref().ID; return nil }, 8)
	for range len(left) {
		delete(left, bounded.Receive(t, "an event is handled", handled))
	}
	if len(left) > 0 {
		t.Errorf("not handled: %v", left)
	}
}

func TestABellThatWasLostIsMended(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	handled := make(chan string, 1)
	servedWith(t, botOf(t, b.Store, "bot", nil), func(_ context.Context, turn *Turn) error { handled <- turn.Ref().ID; return nil }, 1)
	eventually(t, "it is there", func() bool { return b.fleet.size() == 1 })
	other := b.mute()
	other.waits(botOf(t, other.Store, "bot", nil), "1")
	noError(t, b.c.Del(t.Context(), b.key("bells", "")).Err())
	if id := bounded.Receive(t, "the event is handled", handled); id != "1" {
		t.Errorf("handled is %s", id)
	}
}

func TestOneBotCannotHideAnother(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	full, free, unserved := botOf(t, b.Store, "a", nil), botOf(t, b.Store, "b", nil), botOf(t, b.Store, "c", nil)
	for i := range 100 { // before all others, in each kind of list
		b.waits(full, fmt.Sprint("due ", i))
		b.handedOut(full, fmt.Sprint("handed ", i), 1)
		b.handedOut(unserved, fmt.Sprint("handed ", i), 1)
	}
	begun := make(chan struct{}, 1)
	servedWith(t, full, func(ctx context.Context, _ *Turn) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return ctx.Err()
	}, 1)
	bounded.Receive(t, "the one place is taken", begun)
	handled := make(chan string, 1)
	servedWith(t, free, func(_ context.Context, turn *Turn) error { handled <- turn.Ref().ID; return nil }, 1)
	other := b.mute()
	for i := range 2 {
		id := strconv.Itoa(i)
		other.waits(botOf(t, other.Store, "b", nil), id)
		if got := bounded.Receive(t, "the free bot's event is handled", handled); got != id {
			t.Errorf("handled is %s, want %s", got, id)
		}
	}
	eventually(t, "what is nobody's is moved", func() bool { return len(b.due("c")) == 100 })
}

func TestABellIsSetToTheFirstThatIsLeft(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	for kind, list := range map[string]string{bellDue: "due", bellExpiry: "expiry"} {
		read := func() (ids []string) {
			found, _, unread, err := bot.passed(t.Context(), kind, bot.lists([]int{0}))
			noError(t, err)
			if len(unread) > 0 {
				t.Errorf("not read are %v", unread)
			}
			for _, at := range found {
				ids = append(ids, at.ref.ID)
			}
			return ids
		}
		future := time.Now().Add(time.Hour).UnixMilli()
		list := b.key(list, "bot")
		noError(t, b.c.ZAdd(t.Context(), list, redis.Z{Score: 1000, Member: "passed"}, redis.Z{Score: float64(future), Member: "first"}, redis.Z{Score: float64(future + 1), Member: "second"}).Err())
		b.set(kind+"bot", 1)
		if ids := read(); !slices.Equal(ids, []string{"passed"}) || b.rings(kind+"bot") != 1000 {
			t.Errorf("%v passed, and the bell of kind %s rings at %d: want that of what is still listed", ids, kind, b.rings(kind+"bot"))
		}
		b.c.ZRem(t.Context(), list, "passed")
		if ids := read(); len(ids) > 0 || b.rings(kind+"bot") != future {
			t.Errorf("%v passed, and the bell of kind %s rings at %d, want %d", ids, kind, b.rings(kind+"bot"), future)
		}
		b.c.Del(t.Context(), list)
		if ids := read(); len(ids) > 0 || b.rings(kind+"bot") != 0 {
			t.Errorf("%v passed, and the bell of kind %s rings at %d, want none", ids, kind, b.rings(kind+"bot"))
		}
	}
}

func TestABellBuriesWhatHasExpired(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	served(t, bot, 1)
	_, err := bot.Session("1").Create(t.Context(), Origin{TTL: 10 * time.Millisecond})
	noError(t, err)
	if b.rings("xbot") == 0 {
		t.Error("no bell rings for a session that expires")
	}
	eventually(t, "it is buried", func() bool {
		return b.c.Exists(t.Context(), b.layout.key("session", b.layout.place(session.Ref{Bot: "bot", ID: "1"}))).Val() == 0
	})
	noError(t, b.Whole(t.Context()))
}

// Whatever handles a session that was handed out without due takes its bell away, or
// lists it in due.
func TestABellOfASessionIsSilentWhenTheSessionIsHandled(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	ctx := t.Context()
	drain := func(err error) func(bot *Bot, s *Session) {
		return func(bot *Bot, s *Session) {
			turns, e := bot.Drain(ctx, func(context.Context, *Turn) error { return err }, nil)
			if turns != 1 || e != nil {
				t.Errorf("%d turns, %v", turns, e)
			}
		}
	}
	for name, handle := range map[string]func(bot *Bot, s *Session){
		"a turn that is committed": drain(nil),
		"a turn that failed":       drain(errors.New("as it was told")),
		"a dead letter":            drain(GiveUp(errors.New("as it was told"))),
		"an Update": func(bot *Bot, s *Session) {
			_, err := bot.Update(ctx, s.ref.ID, func(context.Context, *Turn) error { return nil })
			noError(t, err)
		},
		"a Reset":   func(_ *Bot, s *Session) { noError(t, s.Reset(ctx, session.KeepChat)) },
		"a Destroy": func(_ *Bot, s *Session) { _, err := s.Destroy(ctx); noError(t, err) },
		"a session that is gone": func(bot *Bot, s *Session) {
			_, err := s.Destroy(ctx)
			noError(t, err)
			b.set("hbot/"+s.ref.ID, 1)
			_, err = bot.Drain(ctx, func(context.Context, *Turn) error { return nil }, nil)
			noError(t, err)
		},
	} {
		bot := botOf(t, b.Store, "bot", nil)
		b.handedOut(bot, name, 1)
		handle(bot, bot.Session(name))
		if at := b.rings("hbot/" + name); at != 0 {
			t.Errorf("after %s the bell of the session rings at %d", name, at)
		}
		noError(t, b.Whole(ctx))
		noError(t, b.c.Del(ctx, b.c.Keys(ctx, "bs:{*").Val()...).Err())
	}
}

func TestASessionThatWasHandedOutAndCannotBeReadIsPutOff(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	at := b.handedOut(bot, "1", 1)
	noError(t, b.c.HSet(t.Context(), b.layout.key("session", at), "rec", "x").Err())
	_, err := bot.Drain(t.Context(), func(context.Context, *Turn) error { return nil }, nil)
	if !errors.Is(err, session.ErrCorrupt) {
		t.Errorf("the error is %v", err)
	}
	if by := b.rings("hbot/1") - b.caller.Clock.At(0, time.Now()); by < 5000 || by > 10_000 {
		t.Errorf("the session's bell rings in %d ms", by)
	}
}

// A key of another type in the place of the bells stops a call before its first write.
func TestBellsOfAnotherTypeStopACallBeforeItWrites(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	ctx := t.Context()
	bot := botOf(t, b.Store, "bot", nil)
	b.waits(bot, "1")
	noError(t, b.c.Del(ctx, b.key("bells", "")).Err())
	noError(t, b.c.Set(ctx, b.key("bells", ""), "x", 0).Err())
	dump := func() (all []string) {
		for _, key := range b.c.Keys(ctx, "bs:{*").Val() {
			all = append(all, key+b.c.Dump(ctx, key).Val())
		}
		slices.Sort(all)
		return all
	}
	before := dump()
	_, accept := bot.Accept(ctx, "1", session.Event{ID: "f"})
	_, first := bot.Accept(ctx, "2", session.Event{ID: "f"})
	_, create := bot.Session("2").Create(ctx, Origin{})
	_, destroy := bot.Session("1").Destroy(ctx)
	_, drain := bot.Drain(ctx, func(context.Context, *Turn) error { return nil }, nil)
	for what, err := range map[string]error{"Accept": accept, "the first Accept": first, "Create": create, "Destroy": destroy, "Drain": drain, "Reset": bot.Session("1").Reset(ctx, session.KeepChat)} {
		if err == nil || errors.Is(err, session.ErrUnknownOutcome) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := dump(); !slices.Equal(before, after) {
		t.Errorf("stored is\n%q\nand was\n%q", after, before)
	}
}

func TestTheNameOfABellIsTakenApart(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][3]string{
		"da": {"d", "a", ""}, "xa:b": {"x", "a:b", ""}, "ha/b/c": {"h", "a", "b/c"}, "hh/h": {"h", "h", "h"},
		"": {}, "d": {}, "x": {}, "h": {}, "ha": {}, "ha/": {}, "h/a": {}, "da/b": {}, "ya": {}, "d a": {},
	} {
		kind, bot, id := splitBell(name)
		if got := [3]string{kind, bot, id}; got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestAMailboxHasEachThingOnce(t *testing.T) {
	t.Parallel()
	m := newMailbox()
	a, b := place{bucket: 1}, place{bucket: 2}
	m.add(a, b, a)
	m.add(b)
	if got := m.take(t.Context()); !slices.Equal(got, []place{a, b}) {
		t.Errorf("it had %v", got)
	}
	m.add(b)
	if got := m.take(t.Context()); !slices.Equal(got, []place{b}) {
		t.Errorf("then it had %v", got)
	}
	for i := range mailboxSize + 1 {
		m.add(place{bucket: i})
	}
	if got := m.take(t.Context()); len(got) != mailboxSize {
		t.Errorf("it takes %d", len(got))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := m.take(ended); got != nil {
		t.Errorf("when nobody waits it had %v", got)
	}
}

// commands are those that a server was asked for, by name, also by scripts.
func commands(t *testing.T, c redis.UniversalClient) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.Lines(c.Info(t.Context(), "commandstats").Val()) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		n, _, _ := strings.Cut(rest, ",")
		if found && name != "info" {
			counts[name], _ = strconv.Atoi(n)
		}
	}
	return counts
}

// Each round of an idle fleet is one command for each bucket, and little else, however
// many bots its one replica serves.
func TestAnIdleFleetAsksEachBucketOnceARound(t *testing.T) {
	t.Parallel()
	for bots, most := range map[int]int{1: 300, 40: 360} {
		t.Run(fmt.Sprint(bots), func(t *testing.T) {
			url := redistest.Single(t)
			c, st := client(t, url), opened(t, url, nil)
			for i := range bots {
				served(t, botOf(t, st, fmt.Sprint("bot", i), nil), 4)
			}
			rounds := func() int { return commands(t, c)["zrangebyscore"] / 256 }
			// Each Serve begins with a look at each bucket, and the rounds go on.
			eventually(t, "all have begun", func() bool { return rounds() >= bots+3 })
			before, began := commands(t, c), rounds()
			eventually(t, "ten rounds", func() bool { return rounds() >= began+10 })
			after := commands(t, c)
			all := 0
			for name, n := range after {
				all += n - before[name]
			}
			looks := float64(after["zrangebyscore"]-before["zrangebyscore"]) / 256
			t.Logf("%d bots: %.0f commands a round", bots, float64(all)/looks)
			if float64(all) > float64(most)*looks {
				t.Errorf("%d commands in %.2f rounds: more than %d a round", all, looks, most)
			}
		})
	}
}

// A session in hand that somebody looks at is looked at again when its lease ends, and is
// listed nowhere: its turn's end by commit removes its bell alone.
func TestALookAtASessionInHandListsItNowhere(t *testing.T) {
	t.Parallel()
	b := newBelfry(t)
	bot := botOf(t, b.Store, "bot", nil)
	at := b.layout.place(session.Ref{Bot: "bot", ID: "1"})
	for i := range 2 {
		_, err := bot.Accept(t.Context(), "1", session.Event{ID: fmt.Sprint(i), Text: "hi"})
		noError(t, err)
		_, err = bot.Drain(t.Context(), func(context.Context, *Turn) error { return nil }, nil)
		noError(t, err)
	}
	e, err := bot.encodeEvent(session.Event{ID: "held", Text: "held"}, bot.options())
	noError(t, err)
	e.window = time.Hour.Milliseconds()
	answer, err := b.do(t.Context(), at, bot.askAccept(bot.options(), at, e, bot.options().room(), true, ""))
	noError(t, err)
	if next := answer.Next().Status(); next != "hand" {
		t.Fatalf("the event is not in hand but: %s", next)
	}
	ends := b.rings("hbot/1")
	noError(t, b.c.ZAdd(t.Context(), b.key("bells", ""), redis.Z{Score: float64(ends - 1000), Member: "hbot/1"}).Err()) // as before a renewal
	noError(t, b.c.ZAdd(t.Context(), b.key("due", "bot"), redis.Z{Score: 1, Member: "1"}).Err())
	if _, err := b.do(t.Context(), at, bot.askLease(bot.options(), at, "serve", "")); !errors.Is(err, session.ErrBusy) {
		t.Errorf("the lease of a session in hand: %v", err)
	}
	if n := b.c.ZCard(t.Context(), b.key("due", "bot")).Val(); n != 0 || b.rings("hbot/1") != ends || ends == 0 {
		t.Errorf("%d sessions are listed, its bell rings at %d, and its lease ends at %d", n, b.rings("hbot/1"), ends)
	}
}
