package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store"
)

// One that is damaged hides no other: what could be read is shown, then the error.
func TestWhatIsDamagedHidesNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.pizza(t)
	for _, id := range []string{"a", "b", "c"} {
		if _, err := bot.Session(id).Create(t.Context(), store.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	opts, err := redis.ParseURL(w.st.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	defer client.Close()
	key := func(end string) string {
		keys := client.Keys(t.Context(), "bs:{*"+end).Val()
		i := slices.IndexFunc(keys, func(key string) bool { return strings.HasSuffix(key, end) })
		if i < 0 {
			t.Fatalf("no key ends in %s", end)
		}
		return keys[i]
	}
	if err := client.HSet(t.Context(), key(":s:pizza/b"), "rec", "1 2 3").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.LSet(t.Context(), key(":h:pizza/42"), 1, "damage").Err(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"ls"}, {"ls", "pizza"}, {"ls", "--json"}} {
		got := command(t, w.env, args...)
		for _, id := range []string{"pizza/42", "pizza/a", "pizza/c"} {
			if !strings.Contains(got.Stdout, id) {
				t.Errorf("%v does not show %s:\n%s", args, id, got.Stdout)
			}
		}
		if got.Code == 0 || !strings.Contains(got.Err, "pizza/b") {
			t.Errorf("%v does not tell of pizza/b: %d %s", args, got.Code, got.Err)
		}
	}
	for _, args := range [][]string{{"history", "pizza/42"}, {"history", "pizza/42", "--json"}, {"history", "pizza/42", "-n", "0"}} {
		got := command(t, w.env, args...)
		if !strings.Contains(got.Stdout, "hi") || !strings.Contains(got.Stdout, "funghi") || got.Code == 0 || !strings.Contains(got.Err, "history 2") {
			t.Errorf("%v: %d\n%s\n%s", args, got.Code, got.Stdout, got.Err)
		}
	}
	completed := rawCommand(t, w.env, "__complete", "show", "pizza/")
	for _, id := range []string{"pizza/42", "pizza/a", "pizza/c"} {
		if completed.Code != 0 || !strings.Contains(completed.Stdout, id+"\n") {
			t.Errorf("completion does not offer %s: %d %q", id, completed.Code, completed.Stdout)
		}
	}
}

func TestEachErrorHasALine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	client, err := store.ParseURL(w.st.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	damage := func(id string) {
		if _, err := bot.Session(id).Create(t.Context(), store.Origin{}); err != nil {
			t.Fatal(err)
		}
		keys := client.Keys(t.Context(), "bs:{*}:s:pizza/"+id).Val()
		if err := client.HSet(t.Context(), keys[0], "rec", "1 2 3").Err(); err != nil {
			t.Fatal(err)
		}
	}
	damage("a")
	damage("b")
	line := `error: sessions of pizza: corrupt: session pizza/\w: field "rec": .*` + "\n"
	if got := rawCommand(t, w.env, "ls"); got.Code != 1 || !regexp.MustCompile("^("+line+"){2}$").MatchString(got.Err) {
		t.Errorf("of two: exit %d, stderr %q", got.Code, got.Err)
	}
	for _, id := range strings.Split("cdefghijklm", "") {
		damage(id)
	}
	if got := rawCommand(t, w.env, "ls"); got.Code != 1 || !regexp.MustCompile("^("+line+"){10}error: and 3 more errors\n$").MatchString(got.Err) {
		t.Errorf("of thirteen: exit %d, stderr %q", got.Code, got.Err)
	}
}
