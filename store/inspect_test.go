package store_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// rights returns the rules that the README gives to a user of that name.
func rights(t *testing.T, user string) []string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^ACL SETUSER ` + user + ` on >secret ((?:.*\\\n)*.*)$`).FindSubmatch(readme)
	if m == nil {
		t.Fatalf("the README has no rights of the user %s", user)
	}
	return strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " "))
}

// asUser makes a user with these rights and returns the server's URL for it.
func asUser(t *testing.T, url, user string, rules ...string) string {
	t.Helper()
	args := []any{"ACL", "SETUSER", user, "reset", "on", ">secret"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	if err := observer(t, url).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(url, "redis://", "redis://"+user+":secret@", 1)
}

// A replica that has just the rights in the README keeps every promise. The
// suite itself looks at keys, and breaks some, with rights of its own.
func TestTheRightsOfAReplicaAreEnough(t *testing.T) {
	url := redistest.Single(t)
	rules := slices.Concat(rights(t, "replica"), []string{"resetkeys", "~*", "resetchannels", "&*", "+scan", "+config", "+client", "+dbsize", "+lpush"})
	url = asUser(t, url, "replica", rules...)
	storetest.Conformance(t, func(t testing.TB) redis.UniversalClient {
		client, err := store.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		return client
	})
}

func TestNoRightOfAReplicaIsIdle(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	all := rights(t, "replica")
	for _, right := range all {
		command, ok := strings.CutPrefix(right, "+")
		if !ok || slices.Contains([]string{"hello", "script|load", "eval", "ping", "subscribe", "unsubscribe", "info"}, command) {
			continue // of the connection, or not of the probe
		}
		t.Run("without "+command, func(t *testing.T) {
			without := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right })
			_, err := store.Open(t.Context(), asUser(t, url, "lacks-"+command, without...), nil)
			if !errors.Is(err, session.ErrNoPermission) || !strings.Contains(strings.ToLower(err.Error()), command) {
				t.Errorf("opening a store without the right to %s: %v", command, err)
			}
		})
	}
	keys, err := observer(t, url).Keys(t.Context(), "*").Result()
	if err != nil || !slices.Equal(keys, []string{"bs:meta"}) {
		t.Errorf("the probes left %v, %v", keys, err)
	}
}

func TestTheRightsOfALookerOn(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	bot := botOf(t, open(t, url, nil), "bot", nil)
	s := bot.Session("1")
	if _, err := s.Create(t.Context(), store.Origin{}); err != nil {
		t.Fatal(err)
	}
	looker := asUser(t, url, "looker", rights(t, "looker")...)
	st := open(t, looker, &store.Options{ReadOnly: true})
	seen := botOf(t, st, "bot", nil)
	if _, err := seen.Session("1").Load(t.Context()); err != nil {
		t.Error("Load:", err)
	}
	if _, err := seen.Session("1").Status(t.Context()); err != nil {
		t.Error("Status:", err)
	}
	if _, err := seen.Session("1").History(t.Context(), session.All()); err != nil {
		t.Error("History:", err)
	}
	if _, err := seen.Session("1").DeadLetters(t.Context()); err != nil {
		t.Error("DeadLetters:", err)
	}
	if list, err := store.Gather(seen.Sessions(t.Context(), store.Filter{})); err != nil || len(list) != 1 {
		t.Error("Sessions:", list, err)
	}
	if counts, err := seen.Counts(t.Context()); err != nil || counts.States["start"] != 1 {
		t.Error("Counts:", counts, err)
	}
	if bots, err := st.Bots(t.Context()); err != nil || !slices.Equal(bots, []string{"bot"}) {
		t.Error("Bots:", bots, err)
	}
	if err := st.Whole(t.Context()); err != nil {
		t.Error("Check:", err)
	}
	// And it cannot write: not through a store, and not beside it.
	if _, err := store.Open(t.Context(), looker, nil); err == nil {
		t.Error("it opened a store that writes")
	}
	if err := seen.Session("1").Set(t.Context(), "k", "v"); !errors.Is(err, session.ErrReadOnly) {
		t.Error("Set:", err)
	}
	client := observer(t, looker)
	for _, write := range [][]any{{"SET", "bs:x", 1}, {"DEL", "bs:meta"}, {"EVAL", "return redis.call('SET', 'bs:x', '1')", 0}, {"FLUSHALL"}} {
		if err := client.Do(t.Context(), write...).Err(); err == nil {
			t.Errorf("%v was allowed", write)
		}
	}
}

// The commands ls, show and history need no more.
func TestTheCommandsThatInspectNeedALookersRights(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	bot := botOf(t, open(t, url, nil), "bot", nil)
	if _, err := bot.Accept(t.Context(), "1", session.Event{ID: "e", Text: "a pizza"}); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(t.TempDir(), "botsession")
	if out, err := exec.Command("go", "build", "-o", tool, "../cmd/botsession").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	looker := asUser(t, url, "looker", rights(t, "looker")...)
	for _, c := range []struct{ args, shows string }{
		{"ls", "bot/1"}, {"ls bot --state start --json", `"id":"1"`}, {"show bot/1", "state         start"}, {"show bot/1 --json", `"state":"start"`},
		{"history bot/1", "a pizza"}, {"history bot/1 -n 5 --json", "a pizza"},
	} {
		cmd := exec.Command(tool, append(strings.Fields(c.args), "--redis", looker)...)
		cmd.Env = append(os.Environ(), "TERM=dumb")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.shows) {
			t.Errorf("botsession %s: %v\n%s", c.args, err, out)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	good := open(t, redistest.Single(t, "--appendonly", "yes"), nil)
	if w := good.Warnings(); len(w) != 0 {
		t.Errorf("of a server as recommended: %q", w)
	}
	bad := open(t, redistest.Single(t, "--maxmemory-policy", "allkeys-lru"), nil)
	if w := bad.Warnings(); len(w) != 2 || !strings.Contains(w[0]+w[1], "noeviction") || !strings.Contains(w[0]+w[1], "appendonly") {
		t.Errorf("of a server that evicts and has no append-only file: %q", w)
	}
}

func TestAServerThatIsFullIsOpened(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	botOf(t, open(t, url, nil), "bot", nil)
	if err := observer(t, url).ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	s := botOf(t, open(t, url, nil), "bot", nil).Session("1")
	if _, err := s.Load(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), store.Origin{}); err == nil || !strings.Contains(err.Error(), "OOM") || errors.Is(err, session.ErrUnknownOutcome) {
		t.Errorf("a session was created without memory: %v", err)
	}
}

// A right to the commands alone is not enough, and a user without it is told so
// whatever the server's words for it are.
func TestKeysAndChannelsOfOthersAreNoPermission(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for what, rules := range map[string][]string{"keys": {"resetkeys", "~other:*"}, "channels": {"resetchannels"}} {
		if _, err := store.Open(t.Context(), asUser(t, url, what, append(rights(t, "replica"), rules...)...), nil); !errors.Is(err, session.ErrNoPermission) {
			t.Errorf("without the %s: %v", what, err)
		}
	}
}

// A server without a command is not a user without a right.
func TestAServerWithoutACommandIsUnsupported(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"HSCAN", "HGETALL", "WAIT"} {
		_, err := store.Open(t.Context(), redistest.Single(t, "--rename-command", command, ""), &store.Options{Acks: 1})
		if !errors.Is(err, session.ErrUnsupported) || errors.Is(err, session.ErrNoPermission) || !strings.Contains(strings.ToUpper(err.Error()), command) {
			t.Errorf("without %s: %v", command, err)
		}
	}
}

// What is read without a script says so, too.
func TestARightThatIsTakenAwayLaterIsNamed(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st := open(t, asUser(t, url, "u", rights(t, "replica")...), nil)
	bot := botOf(t, st, "bot", nil)
	if err := observer(t, url).Do(t.Context(), "ACL", "SETUSER", "u", "-@all", "+hello", "+ping").Err(); err != nil {
		t.Fatal(err)
	}
	_, list := store.Gather(bot.Sessions(t.Context(), store.Filter{}))
	_, counts := bot.Counts(t.Context())
	_, replicas := store.Gather(bot.Replicas(t.Context()))
	_, bots := st.Bots(t.Context())
	_, letters := bot.Session("1").DeadLetters(t.Context())
	_, load := bot.Session("1").Load(t.Context())
	_, accept := bot.Accept(t.Context(), "1", session.Event{ID: "e"})
	for call, err := range map[string]error{"Sessions": list, "Counts": counts, "Replicas": replicas, "Bots": bots, "DeadLetters": letters, "Load": load, "Accept": accept} {
		if !errors.Is(err, session.ErrNoPermission) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestAcksNeedTheRightToWait(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	opts := &store.Options{Acks: 1}
	if _, err := store.Open(t.Context(), asUser(t, url, "a", rights(t, "replica")...), opts); !errors.Is(err, session.ErrNoPermission) || !strings.Contains(err.Error(), "wait") {
		t.Errorf("a user without the right to WAIT: %v", err)
	}
	open(t, asUser(t, url, "b", append(rights(t, "replica"), "+wait")...), opts)
}

func TestANameThatWouldBreakALeaseIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	for _, name := range []string{"a b", "a\tb", "a\nb", "a#b", "a\x00b"} {
		if _, err := store.Open(t.Context(), url, &store.Options{Name: name}); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("the replica name %q: %v", name, err)
		}
	}
}

// A failed turn leaves a back-off behind; if what it is for is taken away by
// force, what comes next must still be found.
func TestAnEventBehindABackOffWithoutAnEventIsListed(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	st, client := open(t, url, nil), observer(t, url)
	bot := botOf(t, st, "bot", &store.BotOptions{Backoff: time.Hour, RecordOnly: true})
	if _, err := bot.Accept(t.Context(), "1", session.Event{ID: "one", Text: "one"}); err != nil {
		t.Fatal(err)
	}
	if _, err := bot.Drain(t.Context(), func(ctx context.Context, _ *store.Turn) error {
		return errors.Join(errors.New("as it was told"), client.Del(ctx, st.Key("inbox", session.Ref{Bot: "bot", ID: "1"})).Err())
	}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := bot.Accept(t.Context(), "1", session.Event{ID: "two", Text: "two"}); err != nil {
		t.Fatal(err)
	}
	waiting, err := store.Gather(bot.Waiting(t.Context()))
	if err != nil || len(waiting) != 1 || waiting[0].Ref != bot.Session("1").Ref() {
		t.Errorf("waiting is %v, %v", waiting, err)
	}
}

func TestAFailoverClientThatLeadsToAReplicaIsRefused(t *testing.T) {
	t.Parallel()
	url := redistest.Sentinel(t)
	sentinels, master, _ := strings.Cut(strings.TrimPrefix(url, "redis+sentinel://"), "/")
	for _, replicas := range []bool{true, false} {
		client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: master, SentinelAddrs: strings.Split(sentinels, ","), ReplicaOnly: replicas})
		defer client.Close()
		for _, look := range []bool{false, true} {
			_, err := store.New(t.Context(), client, &store.Options{ReadOnly: look})
			if replicas && (!errors.Is(err, session.ErrInvalid) || !strings.Contains(err.Error(), "ReplicaOnly")) || !replicas && err != nil {
				t.Errorf("ReplicaOnly: %t, ReadOnly: %t: %v", replicas, look, err)
			}
		}
	}
}
