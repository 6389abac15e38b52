package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/bounded"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// Programs that say different things of one bot run at the same time, while its
// settings are changed under load, and are restarted and killed in between. A seed
// draws in what order they start, what they do, and who ends when.
//
// What is stored is always one of the sane settings below, and what the wrong
// programs say would each be seen, if a process went by it: sessions in a wrong state
// or gone, chats that are cut, full inboxes, ids that are forgotten, dead letters for
// the first failure or events that wait for an hour, and replies that nobody sends.

const (
	day     = 24 * time.Hour
	lastTTL = 40 * day
)

var (
	aSane = store.BotOptions{Initial: "a", TTL: 10 * day, DedupeWindow: day, MaxAttempts: 10_000, Backoff: 2 * time.Millisecond}
	bSane = store.BotOptions{Initial: "b", TTL: 20 * day, DedupeWindow: 2 * day, MaxAttempts: 20_000, Backoff: 3 * time.Millisecond}
	wrong = store.BotOptions{
		Initial: "wrong", TTL: 50 * time.Millisecond, HistoryLimit: 1, InboxLimit: 1, InboxBytes: 100, DedupeWindow: time.Millisecond,
		MaxAttempts: 1, Backoff: time.Hour, MaxWait: time.Nanosecond, DeadLimit: 1, RecordOnly: true,
	}
	brief = store.BotOptions{TTL: 40 * time.Millisecond, DedupeWindow: 2 * time.Millisecond}

	saneStates = []string{"a", "b", "c", "last"}
	saneTTLs   = []time.Duration{10 * day, 20 * day, 30 * day, lastTTL}
)

// The programs of a fleet. Those that are sane may make the bot.
var fleetPrograms = []struct {
	name string
	sane bool
	opts *store.BotOptions
}{
	{"nil", false, nil}, {"nil too", false, nil}, {"a", true, &aSane}, {"a too", true, &aSane}, {"b", true, &bSane},
	{"wrong", false, &wrong}, {"brief", false, &brief}, {"empty", false, &store.BotOptions{}},
}

const (
	fleetSessions = 6
	fleetOps      = 40 // of each program
	fleetEnds     = 6  // of processes, all in all
	fleetAge      = 50 * time.Millisecond
)

type settingsFleet struct {
	*testing.T
	url   string
	log   logged
	seats []*seat

	made    chan struct{} // closed when the bot is there
	events  atomic.Int64  // so many ids were used
	sent    sync.Map      // session, NUL, text -> number of times
	mu      sync.Mutex
	certain map[string]bool // session, NUL, text -> whether it was said for sure: events, and replies of Updates and live ones
	changed [2]int64        // settings: so often for sure, and so often perhaps
}

// A seat is one program, and the process that runs it now.
type seat struct {
	program int
	random  *rand.Rand // the driver's
	process atomic.Pointer[process]
}

type process struct {
	client redis.UniversalClient
	bot    *store.Bot
	ended  chan struct{} // Serve has returned
	stop   context.CancelFunc
	dead   atomic.Bool // killed, or shut down
}

func TestASettingIsTheBotsWhateverItsProcessesSay(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) string{
		"on one server": func(t *testing.T) string { return redistest.Single(t) },
		"on a cluster":  func(t *testing.T) string { return redistest.Cluster(t, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &settingsFleet{T: t, url: start(t), made: make(chan struct{}), certain: map[string]bool{}}
			f.run(rand.New(rand.NewPCG(seed(t), 0)))
		})
	}
}

func (f *settingsFleet) run(random *rand.Rand) {
	order := random.Perm(len(fleetPrograms))
	var starts sync.WaitGroup
	for _, program := range order {
		s := &seat{program: program, random: rand.New(rand.NewPCG(random.Uint64(), 0))}
		f.seats = append(f.seats, s)
		starts.Go(func() { f.start(s) })
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
	}
	bounded.Wait(f, "all have started", &starts)
	if f.Failed() {
		return
	}
	looks := f.seats[random.IntN(len(f.seats))].process.Load().bot
	for i := range fleetSessions {
		_, err := looks.Session(fmt.Sprint(i)).Create(f.Context(), store.Origin{})
		must(f, err)
	}

	f.drive(fleetOps, true, func() {
		for range fleetEnds {
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
			f.end(f.seats[random.IntN(len(f.seats))], random.IntN(2) == 0)
		}
	})
	f.checkChanges()
	f.lose(random)
	f.quiet()
	f.checkSessions(random)
	for _, s := range f.seats {
		f.stop(s)
	}
}

// start runs the seat's program: it declares its bot and serves it.
func (f *settingsFleet) start(s *seat) {
	program := fleetPrograms[s.program]
	if !program.sane && program.opts != nil {
		select {
		case <-f.made: // it is not the one to make the bot
		case <-f.Context().Done():
		}
	}
	client, err := store.ParseURL(f.url)
	if err != nil {
		f.Error(err)
		return
	}
	f.Cleanup(func() { client.Close() })
	p := &process{client: client, ended: make(chan struct{})}
	for limit := time.Now().Add(time.Minute); p.bot == nil; time.Sleep(time.Millisecond) {
		st, err := store.New(f.Context(), client, &store.Options{Buckets: 4, Lease: time.Second, Logger: f.log.logger()})
		if err == nil {
			st.AskForSettings(fleetAge)
			p.bot, err = st.Bot(f.Context(), "bot", program.opts)
		}
		if err != nil && !errors.Is(err, session.ErrNotFound) || time.Now().After(limit) {
			f.Errorf("%s does not start: %v", program.name, err)
			return
		}
	}
	if program.sane {
		f.mu.Lock()
		select {
		case <-f.made:
		default:
			close(f.made)
		}
		f.mu.Unlock()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(f.Context()))
	p.stop = stop
	f.Cleanup(stop)
	s.process.Store(p)
	go func() {
		defer close(p.ended)
		random := rand.New(rand.NewPCG(uint64(s.program), 1))
		var mu sync.Mutex
		fails := func(of int) bool {
			mu.Lock()
			defer mu.Unlock()
			return random.IntN(of) == 0
		}
		err := p.bot.Serve(ctx, func(_ context.Context, turn *store.Turn) error {
			if fails(8) {
				return errors.New("not this time")
			}
			turn.Reply("re " + turn.Event().ID)
			return nil
		}, &store.ServeOptions{Grace: 50 * time.Millisecond, Send: func(_ context.Context, d store.Delivery) error {
			if fails(3) {
				return store.RetryAfter(time.Millisecond, errors.New("not now"))
			}
			if fails(8) {
				return errors.New("not this time")
			}
			n, _ := f.sent.LoadOrStore(d.Ref.ID+"\x00"+d.Message.String(), new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			return nil
		}})
		if err != nil && !p.dead.Load() {
			f.Errorf("%s: Serve ends with %v", program.name, err)
		}
	}()
}

// stop shuts the seat's process down.
func (f *settingsFleet) stop(s *seat) {
	p := s.process.Load()
	p.stop()
	bounded.Receive(f, "Serve ends", p.ended)
	p.dead.Store(true)
	p.client.Close()
}

// end ends the seat's process, and starts its program again.
func (f *settingsFleet) end(s *seat, kill bool) {
	if kill {
		p := s.process.Load()
		p.dead.Store(true)
		p.client.Close() // nothing that it does from now on reaches a server
		p.stop()
	} else {
		f.stop(s)
	}
	f.start(s)
}

// drive has all programs do so many things each, and do besides.
func (f *settingsFleet) drive(ops int, configures bool, do func()) {
	var running sync.WaitGroup
	for _, s := range f.seats {
		running.Go(func() {
			for range ops {
				f.act(s, configures)
				time.Sleep(time.Duration(s.random.IntN(10)) * time.Millisecond)
			}
		})
	}
	running.Go(do)
	bounded.Wait(f, "all have done what they do", &running)
}

// act makes one call, and notes what it says.
func (f *settingsFleet) act(s *seat, configures bool) {
	p, r := s.process.Load(), s.random
	id := strconv.Itoa(r.IntN(fleetSessions))
	n := f.events.Add(1)
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	text, err := "", error(nil)
	switch kind := r.IntN(10); {
	case kind < 5:
		if n > 10 && r.IntN(3) == 0 {
			n -= int64(r.IntN(10)) // of another one, or one that somebody else is at
		}
		id, text = strconv.FormatInt(n%fleetSessions, 10), "event "+strconv.FormatInt(n, 10)
		var receipt *store.Receipt
		receipt, err = p.bot.Accept(ctx, id, session.Event{ID: text, Text: "a text of some length, so that an inbox of a hundred bytes would not take it: " + text})
		if err == nil && receipt.Created {
			f.Errorf("session %s was gone", id)
		}
	case kind < 7:
		text = fmt.Sprint("update ", n)
		_, err = p.bot.Update(ctx, id, func(_ context.Context, turn *store.Turn) error { turn.Reply(text); return nil })
	case kind < 8:
		id = fmt.Sprint("of ", n)
		_, err = p.bot.Session(id).Create(ctx, store.Origin{})
	case kind < 9 || !configures:
		text = fmt.Sprint("live ", n)
		err = p.bot.Session(id).Reply(ctx, text)
	default:
		state, ttl := saneStates[r.IntN(3)], saneTTLs[r.IntN(3)]
		err = p.bot.Configure(ctx, func(o *store.BotOptions) {
			o.DeadLimit++
			o.Initial, o.TTL, o.DedupeWindow = state, ttl, time.Duration(1+r.IntN(3))*day
		})
		f.mu.Lock()
		if err == nil {
			f.changed[0]++
		} else {
			f.changed[1]++
		}
		f.mu.Unlock()
	}
	slow := errors.Is(err, session.ErrUnknownOutcome) || errors.Is(err, session.ErrFenced) || errors.Is(err, context.DeadlineExceeded)
	if err != nil && !slow && !p.dead.Load() {
		f.Errorf("%s: %v", fleetPrograms[s.program].name, err)
	}
	if text != "" {
		f.mu.Lock()
		f.certain[id+"\x00"+text] = f.certain[id+"\x00"+text] || err == nil
		f.mu.Unlock()
	}
	if snap, err := p.bot.Session(id).Load(ctx); err == nil {
		if lives := snap.Expires.Sub(snap.Active); !slices.Contains(saneTTLs, lives) || !slices.Contains(saneStates, snap.State) {
			f.Errorf("session %s is in the state %q, and lives for %v", id, snap.State, lives)
		}
	}
}

// checkChanges checks that of the changes none was undone.
func (f *settingsFleet) checkChanges() {
	f.Helper()
	got := settingsOf(f, f.seats[0].process.Load().bot)
	if n := int64(got.Options.DeadLimit) - 100; n != got.Revision-1 || n < f.changed[0] || n > f.changed[0]+f.changed[1] {
		f.Errorf("revision %d counts %d changes, want %d, and %d more perhaps", got.Revision, n, f.changed[0], f.changed[1])
	}
}

// lose loses the settings when all processes know them, while a program starts that
// says something else.
func (f *settingsFleet) lose(random *rand.Rand) {
	f.Helper()
	changes := f.seats[random.IntN(len(f.seats))].process.Load().bot
	configure(f, changes, func(o *store.BotOptions) { o.Initial, o.TTL = "last", lastTTL })
	for _, s := range f.seats {
		until(f.T, "all have heard", func() bool { return initial(f, s.process.Load().bot) == "last" })
	}
	was := settingsOf(f, changes)
	client := f.seats[0].process.Load().client
	line := client.HGet(f.Context(), botsKey, "bot").Val()
	lose(f, client)
	other := open(f, f.url, &store.Options{Logger: f.log.logger()})
	declares := botOf(f, other, "bot", &wrong)
	f.drive(fleetOps/4, false, func() {
		until(f.T, "they are back", func() bool { return client.HGet(f.Context(), botsKey, "bot").Val() == line })
	})
	for _, bot := range []*store.Bot{declares, changes} {
		if got := settingsOf(f, bot); got != was {
			f.Errorf("settings %+v, want %+v", got, was)
		}
	}
	until(f.T, "it is in the log", func() bool { return len(f.log.lines("put back")) > 0 }) // which comes after the server has it
	if lines := f.log.lines("put back"); len(lines) != 1 {
		f.Errorf("lines in the log: %q, want one", lines)
	}
}

// quiet waits until all is handled and sent.
func (f *settingsFleet) quiet() {
	f.Helper()
	for i := range fleetSessions {
		sess := f.seats[0].process.Load().bot.Session(strconv.Itoa(i))
		until(f.T, "all is handled and sent", func() bool {
			status, err := sess.Status(f.Context())
			must(f, err)
			return status.Waiting+status.Unsent == 0 && status.Lease.Work == session.WorkNone
		})
	}
}

func (f *settingsFleet) checkSessions(random *rand.Rand) {
	f.Helper()
	any := func() *store.Bot { return f.seats[random.IntN(len(f.seats))].process.Load().bot }
	letters, err := store.Gather(any().DeadLetters(f.Context()))
	if err != nil || len(letters) > 0 {
		f.Errorf("dead letters: %+v, %v", letters, err)
	}
	for status, err := range any().Sessions(f.Context(), store.Filter{}) {
		must(f, err)
		if !slices.Contains(saneStates, status.State) {
			f.Errorf("session %s is in the state %q", status.Ref.ID, status.State)
		}
	}
	for i := range fleetSessions {
		id := strconv.Itoa(i)
		f.checkChat(id, any())
		for _, s := range f.seats {
			must(f, s.process.Load().bot.Session(id).Touch(f.Context()))
			if snap, err := any().Session(id).Load(f.Context()); err != nil || snap.Expires.Sub(snap.Active) != lastTTL {
				f.Errorf("after a touch by %s session %s expires at %v, %v; active at %v", fleetPrograms[s.program].name, id, snap.Expires, err, snap.Active)
			}
		}
	}
	f.checkIDs(any)
	must(f, open(f, f.url, nil).Whole(f.Context()))
}

// checkChat checks that what was said for sure is in the chat once, with its replies,
// and that each reply there was sent.
func (f *settingsFleet) checkChat(id string, bot *store.Bot) {
	f.Helper()
	chat, err := bot.Session(id).History(f.Context(), session.All())
	must(f, err)
	said := map[string]int{}
	for _, m := range chat {
		if m.From != session.FromBot {
			continue
		}
		said[m.String()]++
		if _, sent := f.sent.Load(id + "\x00" + m.String()); !sent {
			f.Errorf("session %s: %q was not sent", id, m)
		}
	}
	for key, certain := range f.certain {
		of, text := key[:1], key[2:]
		if of != id {
			continue
		}
		reply := text
		if text[0] == 'e' {
			reply = "re " + text
		}
		if n := said[reply]; n > 1 || n == 0 && certain {
			f.Errorf("session %s: %q was said %d times", id, reply, n)
		}
		delete(said, reply)
	}
	if len(said) > 0 {
		f.Errorf("session %s: nobody made %v", id, said)
	}
}

// checkIDs checks that each id that was promised is known, and for as long.
func (f *settingsFleet) checkIDs(any func() *store.Bot) {
	f.Helper()
	for key, certain := range f.certain {
		if id, text := key[:1], key[2:]; certain && text[0] == 'e' {
			receipt, err := any().Accept(f.Context(), id, session.Event{ID: text, Text: "again"})
			if err != nil || !receipt.Duplicate {
				f.Errorf("session %s: %s is new: %v", id, text, err)
			}
		}
	}
	least := time.Now().Add(day - time.Hour).Unix()
	looks := func(ctx context.Context, client *redis.Client) error {
		scan := client.Scan(ctx, 0, "bs:{*}:e:bot/?", 1000).Iterator()
		for scan.Next(ctx) {
			for digest, text := range client.HGetAll(ctx, scan.Val()).Val() {
				if digest == "" { // where the sweep is
					continue
				}
				if line, err := stored.ReadLine(text); err != nil {
					f.Errorf("%s: %v", scan.Val(), err)
				} else if line.Forget < least {
					f.Errorf("%s: %+v forgets too early", scan.Val(), line)
				}
			}
		}
		return scan.Err()
	}
	switch client := f.seats[0].process.Load().client.(type) {
	case *redis.ClusterClient:
		must(f, client.ForEachMaster(f.Context(), looks))
	case *redis.Client:
		must(f, looks(f.Context(), client))
	}
}
