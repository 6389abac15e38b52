package main

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/store"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", &store.BotOptions{Initial: "greeting", HistoryLimit: 7})
	before, err := bot.Settings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := rawCommand(t, w.env, "settings", "pizza")
	if got.Code != 0 || !regexp.MustCompile(`(?m)^initial +greeting +\S.*\nttl +720h +\S.*\nhistorylimit +7 +\S`).MatchString(got.Stdout) || !strings.Contains(got.Stdout, "\nrevision 1, of ") {
		t.Errorf("it shows %+v", got)
	}
	if got := rawCommand(t, w.env, "settings", "pizza", "ttl=168h", "historyLimit=", "backoff=1m30s"); got.Code != 0 || !strings.Contains(got.Stdout, "\nrevision 2, of ") {
		t.Errorf("a change: %+v", got)
	}
	after, err := bot.Settings(t.Context())
	want := before.Options
	want.TTL, want.HistoryLimit, want.Backoff = 168*time.Hour, 0, 90*time.Second
	if err != nil || after.Options != want {
		t.Errorf("settings after the change: %+v, %v; want %+v", after.Options, err, want)
	}
	for line, code := range map[string]int{"settings": 2, "settings pizza ttl": 2, "settings pizza tll=1h": 2, "settings pizza ttl=long": 2, "settings pizza backoff=-1s": 1, "settings pasta": 3, "settings pasta ttl=1h": 3, "settings pizza/42": 2} {
		if got := rawCommand(t, w.env, strings.Fields(line)...); got.Code != code || !strings.HasPrefix(got.Err, "error: ") {
			t.Errorf("%s: %+v, want an error and the code %d", line, got, code)
		}
	}
	if now, err := bot.Settings(t.Context()); err != nil || now != after {
		t.Errorf("settings after changes that were refused: %+v, %v; want %+v", now, err, after)
	}
}

func TestTheToolSaysWhatEachSettingIs(t *testing.T) {
	t.Parallel()
	fields := reflect.TypeFor[store.BotOptions]()
	for i := range fields.NumField() {
		if name := strings.ToLower(fields.Field(i).Name); meanings[name] == "" || len(meanings[name]) > 44 {
			t.Errorf("%s: %q", name, meanings[name])
		}
	}
	if len(meanings) != fields.NumField() {
		t.Errorf("%d meanings of %d settings", len(meanings), fields.NumField())
	}
}
