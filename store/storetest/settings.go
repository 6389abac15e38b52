package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of what is kept with the data: which process says it, and which go by it.
var theSettings = append([]check{
	{promise: "a bot is there when one process has declared it; of many at once one makes it", run: declaredOnce},
	{promise: "who declares it later takes what is stored, and is warned once of what differs", run: declaredLater},
	{promise: "in one process a bot is one, and other options are refused by name", run: declaredTwice},
	{promise: "of many changes at once none is undone", run: configuredByMany},
	{promise: "a change whose reply is lost is made once, also when another one overtakes its retry", run: configuredOnce},
	{promise: "old programs that start again change nothing", run: oldPrograms},
	{promise: "a change acts in each process within ten seconds", run: changeActs},
	{promise: "settings that are gone are put back as they were, with one line in the log", run: putBack},
	{promise: "settings that cannot be read stop nothing", run: unreadableSettings},
	{promise: "a field of a newer version is kept", run: newerField},
	{promise: "bad settings are refused by name, and change nothing", run: badSettings},
	{promise: "a read-only store makes no bot and changes none", run: readOnlySettings},
}, eachSetting...)

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
		logger, log := s.logger()
		r := s.replicaWith(store.Options{Logger: logger})
		bot, err := r.Bot(s.Context(), "bot", opts)
		s.ok(err)
		equal(s, "settings after a declaration that is "+what, s.settings(bot), first)
		want := `"bot: TTL is 720h, this program says 168h; to change it: Bot.Configure, or botsession settings --namespace ` + s.space + ` bot ttl=168h"`
		warned := linesWith("to change it", log.list())
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

func configuredOnce(s *scene) {
	r := s.replicaWith(store.Options{Timeout: time.Second}) // which the overtaken retries go on for
	bot, other := r.bot("bot", nil), s.replica().bot("bot", nil)
	more := func(o *store.BotOptions) { o.InboxLimit++ }
	r.loseReplies(lua.Settings, 1)
	s.configure(bot, more)
	var once sync.Once
	r.fail(lua.Settings, func(_ context.Context, q request) error {
		err := q.deliver()
		once.Do(func() {
			s.configure(other, func(o *store.BotOptions) { o.DeadLimit++ })
			err = io.EOF
		})
		return err
	})
	s.is(bot.Configure(s.Context(), more), session.ErrUnknownOutcome)
	got := s.settings(bot)
	equal(s, "InboxLimit, DeadLimit and revision", []int{got.Options.InboxLimit, got.Options.DeadLimit, int(got.Revision)}, []int{1002, 101, 4})
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
	webhook, worker := s.replica().bot("bot", nil), s.replica().bot("bot", nil)
	s.serve(worker, echo)
	s.replicas(worker, 1)
	s.configure(s.bot(), func(o *store.BotOptions) { o.Initial, o.HistoryLimit = "new", 1 })
	n := 0
	s.eventually("it acts in a process that serves", func() bool {
		n++
		s.handled(s.accept(worker, fmt.Sprint(n), "hi"))
		return len(s.chat(worker.Session(fmt.Sprint(n)))) == 1
	})
	s.eventually("it acts in a process that does not", func() bool {
		n++
		s.create(webhook.Session(fmt.Sprint(n)), store.Origin{})
		return s.load(webhook.Session(fmt.Sprint(n))).State == "new"
	})
}

// logger returns one that notes warnings and worse.
func (s *scene) logger() (*slog.Logger, *record[string]) {
	var log record[string]
	return slog.New(slog.NewTextHandler(writer(log.add), &slog.HandlerOptions{Level: slog.LevelWarn})), &log
}

// linesWith returns the lines that have the text in them.
func linesWith(text string, lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, text) })
}

func putBack(s *scene) {
	logger, log := s.logger()
	r := s.replicaWith(store.Options{Logger: logger})
	bot, other := r.bot("bot", &options{TTL: time.Hour}), s.replicaWith(store.Options{Logger: logger}).bot("bot", nil)
	s.configure(bot, func(o *store.BotOptions) { o.HistoryLimit = 7 })
	was, line := s.settings(bot), r.client.HGet(s.Context(), s.space+":bots", "bot").Val()
	s.settings(other)
	s.serve(bot, echo)
	s.replicas(bot, 1)
	s.ok(r.client.Del(s.Context(), s.space+":bots").Err())
	began := s.replica().bot("bot", &options{TTL: time.Minute}) // before anybody has put them back
	s.eventually("they are back", func() bool { return r.client.HGet(s.Context(), s.space+":bots", "bot").Val() == line })
	for _, one := range []*store.Bot{bot, other, began} {
		equal(s, "settings", s.settings(one), was)
	}
	lines := func() int { return len(linesWith("put back", log.list())) }
	s.eventually("it is in the log", func() bool { return lines() > 0 }) // which comes after the server has it
	equal(s, "lines in the log", lines(), 1)
}

func unreadableSettings(s *scene) {
	logger, log := s.logger()
	r := s.replicaWith(store.Options{Logger: logger})
	bot := r.bot("bot", &options{Initial: "s0"})
	s.serve(bot, echo)
	s.replicas(bot, 1)
	for _, ruin := range []func() error{
		func() error { return r.client.HSet(s.Context(), s.space+":bots", "bot", "no JSON").Err() },
		func() error {
			return errors.Join(r.client.Del(s.Context(), s.space+":bots").Err(), r.client.Set(s.Context(), s.space+":bots", "no hash", 0).Err())
		},
	} {
		said := len(linesWith("settings not read", log.list()))
		s.ok(ruin())
		_, err := bot.Settings(s.Context())
		s.is(err, session.ErrCorrupt)
		s.is(bot.Configure(s.Context(), func(o *store.BotOptions) { o.TTL = time.Hour }), session.ErrCorrupt)
		_, err = s.replica().Bot(s.Context(), "bot", &store.BotOptions{})
		s.is(err, session.ErrCorrupt)
		s.eventually("the process has asked, and says so", func() bool { return len(linesWith("settings not read", log.list())) > said })
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
