package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// A sieve counts the commands that a process sends, and swallows some: those seem to
// have been sent.
type sieve struct {
	swallows func(cmd redis.Cmder) bool
	on       atomic.Bool

	mu   sync.Mutex
	seen map[string]int // by commandName, and of PUBLISH by the channel, too
}

func (f *sieve) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *sieve) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.takes(cmd) {
			return nil
		}
		return next(ctx, cmd)
	}
}

func (f *sieve) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds = slices.DeleteFunc(slices.Clone(cmds), f.takes); len(cmds) == 0 {
			return nil
		}
		return next(ctx, cmds)
	}
}

func (f *sieve) takes(cmd redis.Cmder) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[commandName(cmd)]++
	if cmd.Name() == "publish" {
		f.seen[cmd.Args()[1].(string)]++
	}
	return f.on.Load() && f.swallows(cmd)
}

func (f *sieve) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[name]
}

// commandName is the command's name, of a script that of the script, and of PUBLISH
// what its channel is for.
func commandName(cmd redis.Cmder) string {
	args := cmd.Args()
	switch cmd.Name() {
	case "publish":
		return "publish " + strings.Split(args[1].(string), ":")[2]
	case "evalsha":
		for _, script := range lua.All {
			if args[1] == script.SHA() {
				return script.Name
			}
		}
	}
	return cmd.Name()
}

func published(to string) func(redis.Cmder) bool {
	return func(cmd redis.Cmder) bool { return commandName(cmd) == "publish "+to }
}

// A telling is a process that accepts events and waits for them, and another that
// serves the bot. A handler replies with the event's text, and one of "held" waits for
// the gate before it does.
type telling struct {
	*testing.T
	url              string
	waiting, serving *Store
	bot              *Bot // of the process that waits
	waits, serves    *sieve
	log              lockedBuilder
	stop             func() // ends Serve
	held             chan struct{}
	open             func()
	n                atomic.Int64
}

// forever is for waiters that only look when they must.
const forever = 24 * time.Hour

func newTelling(t *testing.T, url string, patience time.Duration) *telling {
	t.Helper()
	w := &telling{T: t, url: url, waits: &sieve{}, serves: &sieve{}, held: make(chan struct{}, 1000)}
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	w.waiting, w.serving = opened(t, url, &Options{Logger: log}), opened(t, url, &Options{Logger: log})
	w.waiting.told.patience = patience
	w.waiting.client.AddHook(w.waits)
	w.serving.client.AddHook(w.serves)
	w.bot = botOf(t, w.waiting, "bot", &BotOptions{RecordOnly: true, MaxAttempts: 1})
	gate := make(chan struct{})
	w.open = sync.OnceFunc(func() { close(gate) })
	w.stop = servedWith(t, botOf(t, w.serving, "bot", nil), func(ctx context.Context, turn *Turn) error {
		switch text := turn.Event().Text; text {
		case "held":
			w.held <- struct{}{}
			<-gate
		case "bad":
			return errors.New("the boiler is out")
		}
		turn.Reply("re " + turn.Event().Text)
		return nil
	}, 300)
	t.Cleanup(w.open)
	return w
}

// accept accepts an event for a new session.
func (w *telling) accept(text string) *Receipt {
	w.Helper()
	n := fmt.Sprint(w.n.Add(1))
	r, err := w.bot.Accept(w.Context(), n, session.Event{ID: "e" + n, Text: text})
	noError(w.T, err)
	return r
}

// begin waits for an event beside the test.
func (w *telling) begin(r *Receipt) <-chan string {
	ended := make(chan string, 1)
	go func() {
		o, err := r.Wait(w.Context())
		got := string(o.Status) + " " + o.Reason
		for _, m := range o.Replies {
			got += fmt.Sprint(m.Seq, " ", m.Content)
		}
		if err != nil {
			got = err.Error()
		}
		ended <- got
	}()
	eventually(w.T, "somebody waits", func() bool {
		t := &w.waiting.told
		t.mu.Lock()
		defer t.mu.Unlock()
		return len(t.waiters[waited{r.Ref, r.digest}]) > 0 || len(ended) > 0
	})
	return ended
}

func (w *telling) ends(what string, ended <-chan string, want string) {
	w.Helper()
	if got := bounded.Receive(w.T, what, ended); got != want {
		w.Errorf("%s: %.80q, want %.80q", what, got, want)
	}
}

// known has both processes know that somebody waits.
func (w *telling) known() *telling {
	w.Helper()
	w.ends("the first event ends", w.begin(w.accept("first")), "handled 2 re first")
	w.waiting.beTold()
	eventually(w.T, "the replica knows, and nothing is on its way", func() bool {
		return w.serving.told.waits(w.waiting.tag) && w.waiting.told.covers(time.Now())
	})
	return w
}

func TestAWaiterWhoIsToldDoesNotLook(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func() string{
		"one server": func() string { return redistest.Single(t) },
		"a cluster":  func() string { return redistest.Cluster(t, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTelling(t, server(), forever).known()
			before := w.waits.count("outcome")
			for i := range 30 {
				text := fmt.Sprint("text ", i)
				w.ends("it is handled", w.begin(w.accept(text)), "handled 2 re "+text)
			}
			w.ends("it becomes a dead letter", w.begin(w.accept("bad")), "dead the boiler is out")
			if looks := w.waits.count("outcome") - before; looks > 0 {
				t.Errorf("waiters looked %d times", looks)
			}
			before = w.waits.count("outcome")
			large := strings.Repeat("x", mostToldBytes)
			w.ends("a large reply", w.begin(w.accept(large)), "handled 2 re "+large)
			if looks := w.waits.count("outcome") - before; looks != 1 {
				t.Errorf("who waited for a large reply looked %d times, want once", looks)
			}
		})
	}
}

func TestWaitersWhoseHandlersTakeTheirTimeAskForNothing(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever).known()
	const many = 200
	var ends []<-chan string
	for range many {
		ends = append(ends, w.begin(w.accept("held")))
	}
	for range many {
		bounded.Receive(t, "the handlers run", w.held)
	}
	looks, said := w.waits.count("outcome"), w.waits.count("publish waits")
	eventually(t, "it says twice that somebody waits", func() bool { return w.waits.count("publish waits") >= said+2 })
	if n := w.waits.count("outcome") - looks; n > 0 {
		t.Errorf("they looked %d times", n)
	}
	w.open()
	for _, end := range ends {
		w.ends("a held one ends", end, "handled 2 re held")
	}
	if n, batches := w.waits.count("outcome")-looks, w.serves.count("publish told"); n > 0 || batches == 0 {
		t.Errorf("they looked %d times, and were told in %d batches", n, batches)
	}
}

// The turn runs in the process that waits, which is nobody else's to tell.
func TestWaitersInTheProcessOfTheHandlerAskForNothing(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), nil)
	st.told.patience = forever
	f := &sieve{}
	st.client.AddHook(f)
	bot := botOf(t, st, "bot", &BotOptions{RecordOnly: true})
	w := &telling{T: t, waiting: st, bot: bot, held: make(chan struct{}, 1000)}
	gate := make(chan struct{})
	servedWith(t, bot, func(_ context.Context, turn *Turn) error {
		if turn.Event().Text == "held" {
			w.held <- struct{}{}
			<-gate
		}
		return nil
	}, 100)
	var ends []<-chan string
	for i := range 30 { // each behind another of its session: only the first is handed out at once
		for range 2 {
			r, err := bot.Accept(t.Context(), fmt.Sprint(i), session.Event{ID: fmt.Sprint(w.n.Add(1)), Text: "held"})
			noError(t, err)
			ends = append(ends, w.begin(r))
		}
		bounded.Receive(t, "a handler runs", w.held)
	}
	st.beTold()
	eventually(t, "they are told", func() bool { return st.told.covers(time.Now()) })
	quiet := 0
	for last := -1; quiet < 30; quiet++ { // each has looked once more since then
		if n := f.count("outcome"); n != last {
			last, quiet = n, 0
		}
		time.Sleep(longestPause / 10)
	}
	looks := f.count("outcome")
	close(gate)
	for _, end := range ends {
		if got := bounded.Receive(t, "it ends", end); !strings.HasPrefix(got, "handled ") {
			t.Errorf("it ended: %s", got)
		}
	}
	if n := f.count("outcome") - looks; n > 0 || f.count("publish told") > 0 {
		t.Errorf("they looked %d times at the end, and %d batches were published", n, f.count("publish told"))
	}

	// One that ended here before its wait began; of it the server knows nothing.
	eventually(t, "they are told", func() bool { return st.told.covers(time.Now()) })
	early := bot.Receipt("1", "early")
	early.accepted = time.Now()
	st.settle(early.Ref, &event{digest: early.digest, extras: stored.Extras{From: st.tag}}, session.Handled, "", nil)
	w.ends("the early one ends", w.begin(early), "handled ")
}

func TestAnEventThatEndsBeforeItsWaitBeginsIsToldOfAllTheSame(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever).known()
	r := w.accept("early")
	eventually(t, "its end is told", func() bool {
		t := &w.waiting.told
		t.mu.Lock()
		defer t.mu.Unlock()
		_, told := t.kept[waited{r.Ref, r.digest}]
		return told
	})
	before := w.waits.count("outcome")
	for range 2 {
		w.ends("it was handled", w.begin(r), "handled 2 re early")
	}
	if looks := w.waits.count("outcome") - before; looks > 0 {
		t.Errorf("who came late looked %d times", looks)
	}
}

func TestNobodyPublishesWhereNobodyWaits(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever)
	for range 20 {
		w.accept("alone")
	}
	eventually(t, "all are handled", func() bool {
		return w.serves.count("commit")+w.serves.count("settle") >= 20
	})
	w.stop()
	if told, said := w.serves.count("publish told"), w.waits.count("publish waits"); told > 0 || said > 0 {
		t.Errorf("%d batches and %d announcements were published", told, said)
	}
	if n := w.serving.told.interest.Load(); n != 0 {
		t.Errorf("the replica believes that %d wait", n)
	}
}

// Whatever is lost on the way, a look finds what became of the event.
func TestWhatIsNotToldIsFound(t *testing.T) {
	t.Parallel()
	t.Run("the announcements are lost", func(t *testing.T) {
		w := newTelling(t, redistest.Single(t), time.Second)
		w.waits.swallows = published("waits")
		w.waits.on.Store(true)
		end := w.begin(w.accept("held"))
		bounded.Receive(t, "the handler runs", w.held)
		eventually(t, "it believes that it is told", func() bool { return w.waiting.told.covers(time.Now()) })
		w.open()
		w.ends("it is handled", end, "handled 2 re held")
		if n := w.serves.count("publish told"); n > 0 {
			t.Errorf("the replica told of it %d times", n)
		}
	})
	t.Run("the replica dies before it tells", func(t *testing.T) {
		w := newTelling(t, redistest.Single(t), time.Second).known()
		w.serves.swallows = published("told")
		w.serves.on.Store(true)
		end := w.begin(w.accept("held"))
		bounded.Receive(t, "the handler runs", w.held)
		w.open()
		w.stop()
		w.ends("it is handled", end, "handled 2 re held")
	})
	t.Run("the replica dies when it has told", func(t *testing.T) {
		w := newTelling(t, redistest.Single(t), forever).known()
		end := w.begin(w.accept("held"))
		bounded.Receive(t, "the handler runs", w.held)
		before := w.serves.count("publish told")
		w.open()
		eventually(t, "it has told", func() bool { return w.serves.count("publish told") > before })
		w.stop()
		noError(t, w.serving.Close())
		w.ends("it is handled", end, "handled 2 re held")
	})
	t.Run("the subscription was lost, and is back", func(t *testing.T) {
		w := newTelling(t, redistest.Single(t), forever).known()
		w.serves.swallows = published("told") // as while there is no subscription
		w.serves.on.Store(true)
		end := w.begin(w.accept("held"))
		bounded.Receive(t, "the handler runs", w.held)
		eventually(t, "nothing is on its way", func() bool { return w.waiting.told.covers(time.Now()) })
		before := w.serves.count("publish told")
		w.open()
		eventually(t, "it would have told", func() bool { return w.serves.count("publish told") > before })
		if len(end) > 0 {
			t.Fatal("who waits heard of it")
		}
		noError(t, client(t, w.url).Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
		w.ends("it is handled", end, "handled 2 re held")
		w.serves.on.Store(false)
		w.known() // and goes on as before
		before = w.waits.count("outcome")
		w.ends("the next one", w.begin(w.accept("next")), "handled 2 re next")
		if looks := w.waits.count("outcome") - before; looks > 0 {
			t.Errorf("who waited for the next one looked %d times", looks)
		}
	})
	t.Run("the session is destroyed", func(t *testing.T) {
		w := newTelling(t, redistest.Single(t), forever).known()
		r := w.accept("held")
		bounded.Receive(t, "the handler runs", w.held)
		end := w.begin(r)
		_, err := botOf(t, opened(t, w.url, nil), "bot", nil).Session(r.Ref.ID).Destroy(t.Context())
		noError(t, err)
		w.ends("it is dropped", end, "dropped ")
	})
}

func TestAReplicaThatComesAsksWhoWaits(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever)
	w.waiting.told.every = forever // and so only when it is asked
	w.known()
	heir := opened(t, w.url, nil)
	served(t, botOf(t, heir, "bot", nil), 1)
	eventually(t, "the new replica knows that somebody waits", func() bool { return heir.told.waits(w.waiting.tag) })
}

func TestAProcessInWhichNobodyWaitsIsNotTold(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever).known()
	other := opened(t, w.url, nil)
	bot := botOf(t, other, "bot", nil)
	for i := range 20 {
		_, err := bot.Accept(t.Context(), "other", session.Event{ID: fmt.Sprint(i), Text: "hi"})
		noError(t, err)
	}
	w.ends("the one of the process that waits", w.begin(w.accept("mine")), "handled 2 re mine")
	eventually(t, "all are handled", func() bool {
		st, err := bot.Session("other").Status(t.Context())
		noError(t, err)
		return st.Waiting == 0
	})
	w.stop()
	to := func(s *Store) int { return w.serves.count(s.layout.toldChannel(s.identity().id, s.tag)) }
	if mine, its := to(w.waiting), to(other); mine == 0 || its > 0 {
		t.Errorf("the process that waits was told in %d batches, the other in %d", mine, its)
	}
}

func TestWithoutTheRightToTheChannelsWaitersLook(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	noError(t, c.Do(t.Context(), "ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "&*").Err())
	w := newTelling(t, strings.Replace(url, "redis://", "redis://narrow:secret@", 1), time.Second).known()
	noError(t, c.Do(t.Context(), "ACL", "SETUSER", "narrow", "resetchannels").Err())
	for range 5 {
		w.ends("it is handled", w.begin(w.accept("hi")), "handled 2 re hi")
	}
	logged := func() int { return strings.Count(w.log.String(), "looks for them") }
	eventually(t, "each process has logged it", func() bool { return logged() >= 2 })
	w.ends("one more is handled", w.begin(w.accept("hi")), "handled 2 re hi")
	if n := logged(); n != 2 {
		t.Errorf("two processes logged it %d times:\n%s", n, w.log.String())
	}
}

type lockedBuilder struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuilder) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestMessagesOfAWrongFormAreIgnored(t *testing.T) {
	t.Parallel()
	w := newTelling(t, redistest.Single(t), forever).known()
	r := w.accept("held")
	bounded.Receive(t, "the handler runs", w.held)
	end := w.begin(r)
	c, id := client(t, w.url), w.waiting.identity().id
	other := waited{session.Ref{Bot: "bot", ID: "another"}, r.digest}.record(ending{status: session.Handled})
	good := waited{r.Ref, r.digest}.record(ending{status: session.Handled, why: "no such thing", replies: []entry{{encoded: []byte("no message")}}})
	for _, record := range [][]byte{nil, []byte("d"), []byte("w"), []byte("wlong tag"), []byte("o"), []byte("z" + string(good[1:])), good, good[:len(good)-1], other} {
		for _, channel := range []string{w.waiting.layout.waitsChannel(id), w.waiting.layout.toldChannel(id, w.waiting.tag)} {
			noError(t, c.Publish(t.Context(), channel, string(record)).Err())
			noError(t, c.Publish(t.Context(), channel, string(appendText(nil, string(record)))).Err())
		}
	}
	w.ends("another one", w.begin(w.accept("another")), "handled 2 re another")
	if len(end) > 0 {
		t.Fatalf("who waits was told: %s", <-end)
	}
	w.open()
	w.ends("it is handled", end, "handled 2 re held")
}

func TestAnEndingComesBackAsItWasTold(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), nil)
	bot := botOf(t, st, "bot", nil)
	what := waited{session.Ref{Bot: "bot", ID: "a/b"}, ids.DigestOf("e")}
	reply := func(content any) entry {
		e, err := bot.entry(session.Message{Content: content, Metadata: map[string]any{"k": int64(1)}}, true)
		noError(t, err)
		e.message.Seq, e.message.Time = 1<<40, time.UnixMilli(1_700_000_000_123).UTC()
		return e
	}
	for _, want := range []ending{
		{}, {status: session.Handled}, {status: session.Dead, why: "a reason"},
		{status: session.Handled, replies: []entry{reply("text"), reply([]any{"a", int64(2)})}},
	} {
		record := what.record(want)
		got, e, ok := readEnding(string(record))
		a, _ := want.outcome()
		b, err := e.outcome()
		if !ok || err != nil || got != what || fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Errorf("%+v came back as %+v of %+v, %v, %v", a, b, got, ok, err)
		}
		for i := range record { // what is cut off is not read as something else
			if got, e, ok := readEnding(string(record[:i])); ok && (got != what || len(e.replies) > 0 && len(e.replies) == len(want.replies)) {
				t.Errorf("the first %d of %d bytes are read as %+v of %+v", i, len(record), e, got)
			}
		}
		for range 1000 { // and what is damaged does no harm
			damaged := slices.Clone(record)
			damaged[rand.IntN(len(damaged))] ^= byte(1 + rand.IntN(255))
			_, e, ok := readEnding(string(damaged))
			if _, err := e.outcome(); ok && err != nil {
				t.Fatalf("%q is taken, and cannot be read: %v", damaged, err)
			}
		}
	}
	large := ending{status: session.Dead, why: strings.Repeat("x", mostToldBytes+1)}
	if got, e, ok := readEnding(string(what.record(large))); !ok || got != what || e.status != "" {
		t.Errorf("one that is too large is read as %+v of %+v, %v", e, got, ok)
	}
}

func TestWhatIsRememberedOfWaitsIsBounded(t *testing.T) {
	t.Parallel()
	st := opened(t, redistest.Single(t), nil)
	d := &st.told
	for i := range mostTags + 10 {
		d.remember(fmt.Sprint(i))
	}
	if len(d.tags) != mostTags {
		t.Errorf("%d tags are remembered", len(d.tags))
	}
	for tag := range d.tags {
		d.tags[tag] = time.Now().Add(-time.Second)
	}
	d.swept = time.Time{}
	if d.waits("1") || len(d.tags) != 0 || d.interest.Load() != 0 {
		t.Errorf("of tags that are over %d are remembered, and %d wait", len(d.tags), d.interest.Load())
	}

	key := func(i int) waited { return waited{session.Ref{Bot: "bot", ID: fmt.Sprint(i)}, "digest"} }
	d.deliver(key(0), ending{status: session.Handled}, true)
	if len(d.kept) > 0 {
		t.Error("an ending is kept where nobody has waited")
	}
	d.announced(time.Now())
	began := time.Now()
	for i := range mostKept + 10 {
		d.deliver(key(i), ending{status: session.Handled}, true)
	}
	if len(d.kept) != mostKept || len(d.order) != mostKept || d.lost.Before(began) {
		t.Errorf("%d endings are kept, %d in order, those until %v are lost", len(d.kept), len(d.order), d.lost)
	}
	d.deliver(key(-1), ending{status: session.Dead, why: strings.Repeat("x", mostKeptBytes)}, true)
	if len(d.kept) != 0 || d.bytes != 0 {
		t.Errorf("after one that is too large %d are kept, of %d bytes", len(d.kept), d.bytes)
	}

	d.mu.Lock()
	d.sending = true // nobody takes them
	d.mu.Unlock()
	for i := range 300 {
		st.publish(fmt.Sprint("channel ", i%7), make([]byte, 10_000))
	}
	n := 0
	for _, batch := range d.out {
		n += len(batch)
	}
	if n > mostOut+10_000 || n < mostOut-20_000 {
		t.Errorf("what is to be published has %d bytes", n)
	}
}
