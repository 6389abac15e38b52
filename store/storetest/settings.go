package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of what is kept with the data: which process says it, and which go by it.
var theSettings = []check{
	{promise: "a bot is there when one process has declared it; of many at once one makes it", run: declaredOnce},
	{promise: "who declares it later takes what is stored, and is warned once of what differs", run: declaredLater},
	{promise: "in one process a bot is one, and other options are refused by name", run: declaredTwice},
	{promise: "of many changes at once none is undone", run: configuredByMany},
	{promise: "old programs that start again change nothing", run: oldPrograms},
	{promise: "a change acts in each process within ten seconds", run: changeActs},
	{promise: "settings that are gone are put back as they were, with one line in the log", run: putBack},
	{promise: "settings that cannot be read stop nothing", run: unreadableSettings},
	{promise: "a field of a newer version is kept", run: newerField},
	{promise: "bad settings are refused by name, and change nothing", run: badSettings},
	{promise: "a read-only store makes no bot and changes none", run: readOnlySettings},
	{promise: "replies are sent, or kept in the chat alone, whoever makes them", run: whoSends},
	{promise: "Initial is the bot's, whoever asks", run: initialOfTheBot},
	{promise: "TTL is the bot's, whoever asks", run: ttlOfTheBot},
	{promise: "HistoryLimit is the bot's, whoever asks", run: historyLimitOfTheBot},
	{promise: "InboxLimit is the bot's, whoever asks", run: inboxLimitOfTheBot},
	{promise: "InboxBytes is the bot's, whoever asks", run: inboxBytesOfTheBot},
	{promise: "DedupeWindow is the bot's, whoever asks, and a shorter one breaks no promise", run: windowOfTheBot},
	{promise: "MaxAttempts is the bot's, whoever asks", run: maxAttemptsOfTheBot},
	{promise: "Backoff is the bot's, whoever asks", run: backoffOfTheBot},
	{promise: "MaxWait is the bot's, whoever asks", run: maxWaitOfTheBot},
	{promise: "DeadLimit is the bot's, whoever asks", run: deadLimitOfTheBot},
}

// settings reads what the server has.
func (s *scene) settings(bot *store.Bot) store.Settings {
	s.Helper()
	got, err := bot.Settings(s.Context())
	s.ok(err)
	return got
}

func (s *scene) configure(bot *store.Bot, change func(*store.BotOptions)) {
	s.Helper()
	s.ok(bot.Configure(s.Context(), change))
}

// webhook returns the bot as a process has it that says nothing of the settings,
// when another has declared these.
func (s *scene) webhook(o *options) (webhook, worker *store.Bot) {
	s.Helper()
	worker = s.replica().bot("bot", o)
	return s.replica().bot("bot", nil), worker
}

func declaredOnce(s *scene) {
	_, err := s.replica().Bot(s.Context(), "bot", nil)
	s.is(err, session.ErrNotFound)
	const n = 6
	replicas := make([]*replica, n)
	for i := range replicas {
		replicas[i] = s.replica()
	}
	var bots record[*store.Bot]
	together(s, n, func(i int) {
		bot, err := replicas[i].Bot(s.Context(), "bot", &store.BotOptions{HistoryLimit: 10 + i})
		if err != nil {
			s.Errorf("declaring: %v", err)
			return
		}
		bots.add(bot)
	})
	first := s.settings(bots.list()[0])
	for _, bot := range bots.list() {
		equal(s, "settings", s.settings(bot), first)
	}
	equal(s, "revision", first.Revision, 1)
	if first.Options.HistoryLimit < 10 || first.By == "" || first.Changed.IsZero() {
		s.Errorf("settings %+v: want those of one of the processes, with its name and the time", first)
	}
	want := store.BotOptions{
		Initial: "start", TTL: 30 * 24 * time.Hour, HistoryLimit: first.Options.HistoryLimit, InboxLimit: 1000, InboxBytes: 16 << 20,
		DedupeWindow: 24 * time.Hour, MaxAttempts: 5, Backoff: time.Second, MaxWait: 24 * time.Hour, DeadLimit: 100,
	}
	equal(s, "the defaults", first.Options, want)
}

func declaredLater(s *scene) {
	first := s.settings(s.replica().bot("bot", &options{Initial: "greeting"}))
	for what, opts := range map[string]*store.BotOptions{
		"nil": nil, "empty": {}, "equal": {Initial: "greeting", RecordOnly: true}, "other": {TTL: 168 * time.Hour, Initial: "greeting"},
	} {
		var log record[string]
		r := s.replicaWith(store.Options{Logger: slog.New(slog.NewTextHandler(writer(log.add), nil))})
		bot, err := r.Bot(s.Context(), "bot", opts)
		s.ok(err)
		equal(s, "settings after a declaration that is "+what, s.settings(bot), first)
		want := `"bot: TTL is 720h, this program says 168h; to change it: Bot.Configure, or botsession settings bot ttl=168h"`
		var warned []string
		for _, line := range log.list() {
			if strings.Contains(line, "to change it") {
				warned = append(warned, line)
			}
		}
		if what == "other" && (len(warned) != 1 || !strings.Contains(warned[0], "level=WARN") || !strings.Contains(warned[0], want)) || what != "other" && len(warned) > 0 {
			s.Errorf("warnings of a declaration that is %s: %q", what, warned)
		}
	}
}

func declaredTwice(s *scene) {
	r := s.replica()
	opts := store.BotOptions{TTL: time.Hour}
	bot, err := r.Bot(s.Context(), "bot", &opts)
	s.ok(err)
	r.kill() // what follows asks no server
	for _, again := range []*store.BotOptions{nil, &opts, {TTL: time.Hour, MaxAttempts: 5}} {
		same, err := r.Bot(s.Context(), "bot", again)
		s.ok(err)
		if same != bot {
			s.Errorf("with %+v it is another Bot", again)
		}
	}
	for field, other := range map[string]store.BotOptions{"TTL": {}, "InboxLimit": {TTL: time.Hour, InboxLimit: 5}, "RecordOnly": {TTL: time.Hour, RecordOnly: true}} {
		_, err := r.Bot(s.Context(), "bot", &other)
		s.is(err, session.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), "BotOptions."+field) {
			s.Errorf("another %s: %v, want its name", field, err)
		}
	}
}

func configuredByMany(s *scene) {
	const n, each = 5, 6
	bots := make([]*store.Bot, n)
	for i := range bots {
		bots[i] = s.replica().bot("bot", nil)
	}
	together(s, n, func(i int) {
		for range each {
			if err := bots[i].Configure(s.Context(), func(o *store.BotOptions) { o.InboxLimit++ }); err != nil {
				s.Errorf("configure: %v", err)
			}
		}
	})
	got := s.settings(bots[0])
	equal(s, "the sum of all changes", got.Options.InboxLimit, 1000+n*each)
	equal(s, "revision", got.Revision, 1+n*each)
	s.configure(bots[0], func(*store.BotOptions) {})
	equal(s, "settings after a change that changes nothing", s.settings(bots[1]), got)
}

func oldPrograms(s *scene) {
	old := &options{TTL: time.Hour, MaxAttempts: 2}
	s.configure(s.replica().bot("bot", old), func(o *store.BotOptions) { o.TTL = 3 * time.Hour })
	for range 3 {
		bot := s.replica().bot("bot", old) // rolled back, or restarted last
		s.say(bot, "1", session.Event{Text: "hi"}, echo)
		snap := s.load(bot.Session("1"))
		equal(s, "time to live of a session", snap.Expires.Sub(snap.Active), 3*time.Hour)
		equal(s, "revision", s.settings(bot).Revision, 2)
	}
}

func changeActs(s *scene) {
	webhook, worker := s.webhook(nil)
	s.serve(worker, echo)
	s.replicas(worker, 1)
	s.configure(s.bot(), func(o *store.BotOptions) { o.Initial, o.HistoryLimit = "new", 1 })
	began := time.Now()
	time.Sleep(6 * time.Second) // no copy is older
	s.create(webhook.Session("idle"), store.Origin{})
	equal(s, "state of a session that the webhook makes", s.load(webhook.Session("idle")).State, "new")
	for i := range 2 {
		s.handled(s.accept(worker, "1", fmt.Sprint(i)))
	}
	equal(s, "chat of a session that the worker serves", s.chat(worker.Session("1")), []string{"b re 1"})
	if took := time.Since(began); took > 10*time.Second {
		s.Logf("looked after %v: that is too late to tell", took)
	}
}

func putBack(s *scene) {
	var log record[string]
	logger := slog.New(slog.NewTextHandler(writer(log.add), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r := s.replicaWith(store.Options{Logger: logger})
	bot, other := r.bot("bot", &options{TTL: time.Hour}), s.replicaWith(store.Options{Logger: logger}).bot("bot", nil)
	s.configure(bot, func(o *store.BotOptions) { o.HistoryLimit = 7 })
	was := s.settings(bot)
	s.eventually("the other process knows them", func() bool { return s.accept(other, "1", "hi") != nil })
	s.serve(bot, echo)
	s.replicas(bot, 1)
	s.ok(r.client.Del(s.Context(), s.space+":bots").Err())
	began := time.Now()
	s.eventually("they are back", func() bool { return r.client.HGet(s.Context(), s.space+":bots", "bot").Val() != "" })
	if took := time.Since(began); took > 10*time.Second {
		s.Errorf("they were put back after %v", took)
	}
	equal(s, "settings", s.settings(other), was)
	said := 0
	for _, line := range log.list() {
		if strings.Contains(line, "put back") {
			said++
		}
	}
	equal(s, "lines in the log", said, 1)
}

func unreadableSettings(s *scene) {
	r := s.replica()
	bot := r.bot("bot", &options{Initial: "s0"})
	s.serve(bot, echo)
	s.replicas(bot, 1)
	for _, ruin := range []func() error{
		func() error { return r.client.HSet(s.Context(), s.space+":bots", "bot", "no JSON").Err() },
		func() error {
			return errors.Join(r.client.Del(s.Context(), s.space+":bots").Err(), r.client.Set(s.Context(), s.space+":bots", "no hash", 0).Err())
		},
	} {
		s.ok(ruin())
		_, err := bot.Settings(s.Context())
		s.is(err, session.ErrCorrupt)
		s.is(bot.Configure(s.Context(), func(o *store.BotOptions) { o.TTL = time.Hour }), session.ErrCorrupt)
		_, err = s.replica().Bot(s.Context(), "bot", &store.BotOptions{})
		s.is(err, session.ErrCorrupt)
		time.Sleep(6 * time.Second)
		s.handled(s.accept(bot, "1", fmt.Sprint(time.Now())))
	}
	s.ok(r.client.Del(s.Context(), s.space+":bots").Err())
	equal(s, "Initial, which is put back", s.settings(bot).Options.Initial, "s0")
}

func newerField(s *scene) {
	r := s.replica()
	bot := r.bot("bot", nil)
	key := s.space + ":bots"
	text := r.client.HGet(s.Context(), key, "bot").Val()
	if !strings.Contains(text, `"TTL":"720h0m0s"`) || strings.Contains(text, "\n") {
		s.Errorf("stored is %s, want one readable line", text)
	}
	s.ok(r.client.HSet(s.Context(), key, "bot", strings.Replace(text, "{", `{"Newer":{"a":[1,"b"]},`, 1)).Err())
	s.configure(bot, func(o *store.BotOptions) { o.TTL = -1 })
	if text = r.client.HGet(s.Context(), key, "bot").Val(); !strings.Contains(text, `"Newer":{"a":[1,"b"]}`) || !strings.Contains(text, `"TTL":"never"`) {
		s.Errorf("stored after a change is %s", text)
	}
	equal(s, "TTL", s.settings(s.bot()).Options.TTL, -1)
}

func badSettings(s *scene) {
	bot := s.bot()
	was := s.settings(bot)
	for field, change := range map[string]func(*store.BotOptions){
		"Initial":      func(o *store.BotOptions) { o.Initial = "a\x00b" },
		"HistoryLimit": func(o *store.BotOptions) { o.HistoryLimit = -1 },
		"InboxLimit":   func(o *store.BotOptions) { o.InboxLimit = -1 },
		"InboxBytes":   func(o *store.BotOptions) { o.InboxBytes = -1 },
		"DedupeWindow": func(o *store.BotOptions) { o.DedupeWindow = -1 },
		"MaxAttempts":  func(o *store.BotOptions) { o.MaxAttempts = -1 },
		"Backoff":      func(o *store.BotOptions) { o.Backoff = -1 },
		"MaxWait":      func(o *store.BotOptions) { o.MaxWait = -1 },
		"DeadLimit":    func(o *store.BotOptions) { o.DeadLimit = -1 },
	} {
		var opts store.BotOptions
		change(&opts)
		_, declared := s.replica().Bot(s.Context(), "other", &opts)
		for what, err := range map[string]error{"declare": declared, "configure": bot.Configure(s.Context(), change)} {
			s.is(err, session.ErrInvalid)
			if err != nil && !strings.Contains(err.Error(), "BotOptions."+field) {
				s.Errorf("%s with a bad %s: %v, want its name", what, field, err)
			}
		}
	}
	s.is(bot.Configure(s.Context(), nil), session.ErrInvalid)
	equal(s, "settings", s.settings(bot), was)
	_, err := s.replica().Bot(s.Context(), "other", nil)
	s.is(err, session.ErrNotFound)
	s.accept(bot, "1", "hi") // no bad option is an event's fault
}

func readOnlySettings(s *scene) {
	bot := s.replica().bot("bot", &options{TTL: time.Hour})
	looking := s.replicaWith(store.Options{ReadOnly: true})
	_, err := looking.Bot(s.Context(), "other", &store.BotOptions{})
	s.is(err, session.ErrNotFound)
	seen, err := looking.Bot(s.Context(), "bot", &store.BotOptions{TTL: time.Minute})
	s.ok(err)
	equal(s, "settings", s.settings(seen), s.settings(bot))
	s.is(seen.Configure(s.Context(), func(o *store.BotOptions) { o.TTL = time.Minute }), session.ErrReadOnly)
}

func whoSends(s *scene) {
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	webhook, worker := s.webhook(opts)
	both := func(err error) {
		s.Helper()
		s.is(err, session.ErrInvalid)
		if err != nil && (!strings.Contains(err.Error(), "ServeOptions.Send") || !strings.Contains(err.Error(), "BotOptions.RecordOnly")) {
			s.Errorf("error %q, want both ways out", err)
		}
	}
	both(webhook.Serve(s.limited(), echo, nil))
	both(second(webhook.Drain(s.limited(), echo, &store.ServeOptions{})))
	s.serve(worker, echo)
	s.replicas(worker, 1)
	s.handled(s.accept(webhook, "1", "turn"))
	s.ok(webhook.Session("1").Reply(s.Context(), "live"))
	s.ok(s.update(webhook, "1", func(_ context.Context, t *store.Turn) error { t.Reply("update"); return nil }))
	s.eventually("all are sent", func() bool { return len(sent.list()) == 3 })
	equal(s, "replies sent", texts(sent.list()), []string{"re turn", "live", "update"})

	records := s.replica().bot("records", nil)
	both(records.Serve(s.limited(), echo, &store.ServeOptions{Send: opts.Send}))
	both(second(records.Drain(s.limited(), echo, &store.ServeOptions{Send: opts.Send})))
	ended := make(chan error, 1)
	go func() { ended <- records.Serve(s.Context(), echo, nil) }()
	equal(s, "replies", lines(s.handled(s.accept(records, "1", "turn"))), []string{"b re turn"})
	s.ok(records.Session("1").Reply(s.Context(), "live"))
	equal(s, "replies that wait to be sent", s.status(records.Session("1")).Unsent, 0)
	s.configure(records, func(o *store.BotOptions) { o.RecordOnly = false })
	both(receive(s, "Serve without Send ends", ended))
	equal(s, "replies sent in the end", len(sent.list()), 3)
}

func initialOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{Initial: "greeting"})
	s.accept(webhook, "accepted", "hi")
	s.create(webhook.Session("created"), store.Origin{})
	for _, id := range []string{"accepted", "created"} {
		equal(s, "state of the session "+id, s.load(webhook.Session(id)).State, "greeting")
	}
	s.ok(webhook.Session("created").Reset(s.Context(), session.DropChat))
	equal(s, "state after a reset", s.load(webhook.Session("created")).State, "greeting")
}

func ttlOfTheBot(s *scene) {
	webhook, worker := s.webhook(&options{TTL: time.Hour})
	sess := webhook.Session("1")
	for what, touch := range map[string]func(){
		"Accept": func() { s.accept(webhook, "1", "hi") }, "a turn": func() { s.drain(worker, echo) },
		"Touch": func() { s.ok(sess.Touch(s.Context())) },
		"Update": func() {
			s.ok(s.update(webhook, "1", func(_ context.Context, t *store.Turn) error { t.Set("k", 1); return nil }))
		},
	} {
		if _, err := sess.Load(s.Context()); err != nil {
			s.create(sess, store.Origin{})
		}
		touch()
		snap := s.load(sess)
		equal(s, "time to live after "+what, snap.Expires.Sub(snap.Active), time.Hour)
	}
}

func historyLimitOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{HistoryLimit: 3})
	sess := webhook.Session("1")
	s.create(sess, store.Origin{})
	for i := range 5 {
		s.ok(sess.Record(s.Context(), session.Message{Content: fmt.Sprint(i)}))
	}
	equal(s, "chat", s.chat(sess), []string{"b 2", "b 3", "b 4"})
}

func inboxLimitOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{InboxLimit: 2})
	s.accept(webhook, "1", "a")
	s.accept(webhook, "1", "b")
	_, err := webhook.Accept(s.Context(), "1", session.Event{ID: "c", Text: "c"})
	s.is(err, session.ErrInboxFull)
}

func inboxBytesOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{InboxBytes: 1000})
	_, err := webhook.Accept(s.Context(), "1", session.Event{ID: "a", Text: strings.Repeat("x", 2000)})
	s.is(err, session.ErrTooLarge)
}

func windowOfTheBot(s *scene) {
	const brief = 100 * time.Millisecond
	brisk := store.Options{Timeout: time.Second} // an id is remembered for at least as long
	worker := s.replicaWith(brisk).bot("bot", nil)
	other := s.replicaWith(brisk).bot("bot", &options{DedupeWindow: brief}) // differs, and changes nothing
	s.accept(other, "1", "promised for a day")
	s.drain(worker, echo)
	s.configure(worker, func(o *store.BotOptions) { o.DedupeWindow = brief })
	webhook := s.replicaWith(brisk).bot("bot", nil)
	s.accept(webhook, "1", "promised for a moment")
	s.drain(worker, echo)
	s.eventually("the id with a short promise is forgotten", func() bool {
		time.Sleep(brief)
		r, err := webhook.Accept(s.Context(), "1", session.Event{ID: "promised for a moment", Text: "hi"})
		s.ok(err)
		s.drain(worker, echo)
		return !r.Duplicate
	})
	equal(s, "the other is a duplicate", s.accept(webhook, "1", "promised for a day").Duplicate, true)
}

func maxAttemptsOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{MaxAttempts: 1})
	r := s.accept(webhook, "1", "hi")
	s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	equal(s, "outcome", s.outcome(r).Status, session.Dead)
}

func backoffOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{Backoff: time.Hour})
	s.accept(webhook, "1", "hi")
	s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	status := s.status(webhook.Session("1"))
	if wait := status.Event.At.Sub(status.Now); wait < 50*time.Minute || wait > time.Hour {
		s.Errorf("the next attempt is in %v, want an hour", wait)
	}
}

func maxWaitOfTheBot(s *scene) {
	later := func(context.Context, store.Delivery) error {
		return store.RetryAfter(time.Millisecond, errors.New("later"))
	}
	webhook, worker := s.webhook(&options{MaxWait: 50 * time.Millisecond, Send: later})
	s.create(webhook.Session("1"), store.Origin{})
	s.ok(webhook.Session("1").Reply(s.Context(), "hello"))
	s.eventually("the reply is given up", func() bool {
		s.drain(worker, echo)
		letters, err := webhook.Session("1").DeadLetters(s.Context())
		s.ok(err)
		return len(letters) == 1 && letters[0].Reply != nil && strings.Contains(letters[0].Error, "later")
	})
}

func deadLimitOfTheBot(s *scene) {
	webhook, _ := s.webhook(&options{DeadLimit: 2, MaxAttempts: 1})
	for i := range 4 {
		s.accept(webhook, "1", fmt.Sprint(i))
		s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	}
	letters, err := webhook.Session("1").DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 2 || letters[0].Event.ID != "2" || letters[1].Event.ID != "3" {
		s.Errorf("dead letters %+v, want the last two", letters)
	}
}
