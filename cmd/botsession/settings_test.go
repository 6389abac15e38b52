package main

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store"
)

const pizzaSettings = `
SETTING       VALUE     WHAT IT IS
initial       greeting  state in which a session begins
ttl           720h      idle time after which a session expires
historylimit  7         messages that are kept of a chat; 0: all
inboxlimit    1000      events that may wait for one session
inboxbytes    16777216  bytes that those events may have
dedupewindow  24h       how long the id of an event is remembered
maxattempts   5         failures until an event or a reply is dead
backoff       1s        pause after the first failure; it doubles
maxwait       24h       how long one event or reply may be put off
deadlimit     100       dead letters that are kept of a session
recordonly    false     whether replies are kept, and not sent

`

func TestSettingsShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bot(t, "pizza", &store.BotOptions{Initial: "greeting", HistoryLimit: 7})
	got := rawCommand(t, w.env, "settings", "pizza")
	table, last, _ := strings.Cut(got.Stdout, "revision 1, of ")
	if table != strings.TrimPrefix(pizzaSettings, "\n") || !strings.Contains(last, ", by replica-a-") || got.Code != 0 || got.Err != "" {
		t.Errorf("it shows\n%s\n%s", got.Stdout, got.Err)
	}
	got = command(t, w.env, "settings", "pizza", "--json")
	got.check(t, transcript{Stdout: `
{"backoff":"DUR","bot":"pizza","by":"replica-a","changed":"INSTANT","deadlimit":100,"dedupewindow":"DUR","historylimit":7,"inboxbytes":16777216,"inboxlimit":1000,"initial":"greeting","maxattempts":5,"maxwait":"DUR","recordonly":false,"revision":1,"ttl":"DUR"}
`})
}

func TestSettingsChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", &store.BotOptions{Initial: "greeting", HistoryLimit: 7})
	want, err := bot.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		change, says string
		expect       func(o *store.BotOptions)
	}{
		{"ttl=168h historyLimit= backoff=1m30s", "ttl was 720h, historylimit was 7, backoff was 1s\n", func(o *store.BotOptions) {
			o.TTL, o.HistoryLimit, o.Backoff = 168*time.Hour, 0, 90*time.Second
		}},
		{"TTL=never", "ttl was 168h\n", func(o *store.BotOptions) { o.TTL = -1 }},
		{"ttl=never deadlimit=", "nothing changed: it is so already\n", func(*store.BotOptions) {}},
		{"ttl= recordonly=true", "ttl was never, recordonly was false\n", func(o *store.BotOptions) { o.TTL, o.RecordOnly = 720*time.Hour, true }},
	} {
		got := rawCommand(t, w.env, append([]string{"settings", "pizza"}, strings.Fields(step.change)...)...)
		if got.Code != 0 || got.Err != step.says || !strings.Contains(got.Stdout, "\ninitial       greeting  state in which") {
			t.Errorf("%s: %+v, want it to say %q", step.change, got, step.says)
		}
		before := want.Options
		if step.expect(&want.Options); want.Options != before {
			want.Revision++
		}
		now, err := bot.Settings(t.Context())
		if err != nil || now.Options != want.Options || now.Revision != want.Revision {
			t.Errorf("settings after %s: %+v, %v; want %+v", step.change, now, err, want)
		}
	}
}

func TestSettingsRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	before, err := bot.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const names = "hint: the settings are initial, ttl, historylimit, inboxlimit, inboxbytes, dedupewindow, maxattempts, backoff, maxwait, deadlimit, recordonly\n"
	const nobody = "error: no bot pasta: no program has declared it\nhint: bots here: pizza\n"
	for line, want := range map[string]transcript{
		"settings":                                {2, "", "error: a bot is needed\nhint: botsession settings pizza\n"},
		"settings pizza/42":                       {2, "", "error: invalid: bot name \"pizza/42\": '/' is not a letter, a digit, '.', '_', '-' or ':'\nhint: one session: botsession show pizza/42\n"},
		"settings pizza ttl":                      {2, "", "error: \"ttl\" is not NAME=VALUE\n" + names},
		"settings pizza tll=1h":                   {2, "", "error: no setting is called \"tll\"\n" + names},
		"settings pizza ttl=7d":                   {2, "", "error: ttl: \"7d\" is not a time such as 168h or 1m30s, or never\n"},
		"settings pizza backoff=never":            {2, "", "error: backoff: \"never\" is not a time such as 168h or 1m30s\n"},
		"settings pizza ttl=1h inboxlimit=1e3":    {2, "", "error: inboxlimit: \"1e3\" is not a whole number\n"},
		"settings pizza recordonly=yes":           {2, "", "error: recordonly: \"yes\" is not true or false\n"},
		"settings pizza ttl=1h TTL=2h":            {2, "", "error: ttl is there twice\n"},
		"settings pizza ttl=1h backoff=-1s":       {2, "", "error: configure pizza: invalid: BotOptions.Backoff is negative\n"},
		"settings pizza inboxlimit=2147483648":    {2, "", "error: configure pizza: invalid: BotOptions.InboxLimit is 2147483648, and the most is 2147483647\n"},
		"settings pizza initial=caf\xe9":          {2, "", "error: configure pizza: invalid: BotOptions.Initial \"caf\\xe9\" is not UTF-8\n"},
		"settings pasta":                          {3, "", nobody},
		"settings pasta ttl=1h":                   {3, "", nobody},
		"settings pasta ttl=1h --namespace other": {3, "", "error: no bot pasta: no program has declared it\nhint: there is no bot here; is it the right server, and the right --namespace?\n"},
	} {
		rawCommand(t, w.env, strings.Fields(line)...).check(t, want)
	}
	if now, err := bot.Settings(t.Context()); err != nil || now != before {
		t.Errorf("settings after changes that were refused: %+v, %v; want %+v", now, err, before)
	}
	opts, err := redis.ParseURL(w.env["REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	if keys := client.Keys(t.Context(), "other:*").Val(); len(keys) > 0 {
		t.Errorf("a change of a bot that is not there wrote %q", keys)
	}
}

func TestSettingsCompletesNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := rawCommand(t, w.env, "__complete", "settings", "pizza", "ttl=1h", "")
	if !strings.HasPrefix(got.Stdout, "initial=\nhistorylimit=\n") || !strings.HasSuffix(got.Stdout, "recordonly=\n:6\n") {
		t.Errorf("it completes %q", got.Stdout)
	}
}

func TestTheToolSaysWhatEachSettingIs(t *testing.T) {
	t.Parallel()
	fields := settingFields(&store.BotOptions{})
	for _, f := range fields {
		if meanings[f.name] == "" || len(meanings[f.name]) > 44 {
			t.Errorf("%s: %q", f.name, meanings[f.name])
		}
	}
	if len(meanings) != len(fields) {
		t.Errorf("%d meanings of %d settings", len(meanings), len(fields))
	}
}
