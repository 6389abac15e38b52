package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test's program the one that loops, where the benchmark starts itself.
func TestMain(m *testing.M) {
	eagerFrom = 0 // the library itself does not hurry, so these turns are usual ones
	if !listAsTold() {
		os.Exit(m.Run())
	}
}

// testServer starts a Redis, or skips the test where none is installed: loudly,
// and with REQUIRE_REDIS=1 it fails instead.
func testServer(t *testing.T) *server {
	t.Helper()
	s, err := startServer(t.Context())
	if errors.Is(err, errNoServer) && os.Getenv("REQUIRE_REDIS") != "1" {
		t.Skipf("SKIPPED, nothing of this contender is tested (REQUIRE_REDIS=1 makes this a failure): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testBench(t *testing.T) *bench {
	return newBench(testServer(t), generateDialogues(20), config{
		parts: strings.Split(partNames(), ","), histories: []int{10}, callers: []int{1, 2}, repeats: 1, budget: 10 * time.Millisecond,
		memory: []int{20}, sessions: 200,
		clusters: []int{1, 2}, users: 200, rounds: 1, wakeUps: 10, turns: 64, index: 500, fleet: 3, bots: 2, watch: time.Second, waiters: 8,
	}, io.Discard)
}

func TestEachContender(t *testing.T) {
	b := testBench(t)
	for _, c := range contenders() {
		t.Run(c.name, func(t *testing.T) {
			e := b.env()
			in, err := c.open(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			defer in.close()
			users := []string{"ann", "bob", "cid"}
			chat := b.data.chat(0, 10)
			if err := in.prepare(t.Context(), users, chat); err != nil {
				t.Fatal("prepare:", err)
			}
			holds := func(user string, want int) {
				t.Helper()
				teller, ok := in.(teller)
				if !ok {
					return
				}
				if got, err := teller.messages(t.Context(), user); err != nil || got != want {
					t.Errorf("%s has %d messages, %v; want %d", user, got, err, want)
				}
			}
			for _, user := range users {
				holds(user, 10)
				for _, x := range chat[:2] {
					if err := in.turn(t.Context(), user, x); err != nil {
						t.Fatal("turn:", err)
					}
				}
				holds(user, 14)
			}
			if restorer, ok := in.(restorer); ok {
				if err := restorer.restore(t.Context(), users); err != nil {
					t.Fatal("restore:", err)
				}
				for _, user := range users {
					holds(user, 10)
				}
			}
			if racer, ok := in.(racer); ok {
				for _, key := range []string{"a", "b", "c"} {
					if err := racer.add(t.Context(), "ann", racePrefix+key); err != nil {
						t.Fatal("add:", err)
					}
				}
				counter, keys, err := racer.left(t.Context(), "ann")
				if counter != 3 || keys != 3 || err != nil {
					t.Errorf("the race without a rival left %d and %d keys, %v; want 3 and 3", counter, keys, err)
				}
			}
			if err := b.server.sweep(t.Context(), e.prefix); err != nil {
				t.Fatal(err)
			}
			scan := b.server.control.Scan(t.Context(), 0, "*"+e.prefix+"*", 1000).Iterator()
			for scan.Next(t.Context()) {
				if !strings.Contains(scan.Val(), ":replicas") { // a replica still beats
					t.Errorf("left behind: %s", scan.Val())
				}
			}
		})
	}
}

func TestAWholeRun(t *testing.T) {
	b := testBench(t)
	all := contenders()
	if err := b.speed(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		for _, callers := range b.config.callers {
			if cell := b.cell(c.name, 10, callers); cell.Turns == 0 || cell.Error != "" {
				t.Errorf("%s with %d callers made %d turns: %s", c.name, callers, cell.Turns, cell.Error)
			}
		}
		cost := b.cost(c.name, 10)
		if cost.Trips < 2 || cost.Server.Median <= 0 || cost.Up.Median <= 0 || cost.Down.Median <= 0 || cost.Allocs.Median <= 0 ||
			cost.BusyBy != 2 || cost.Busy.Median <= 0 {
			t.Errorf("%s: cost %+v", c.name, *cost)
		}
	}
	ours := all[:1]
	idles, err := b.idles(t.Context(), ours)
	if err != nil || idles[0].Error != "" || idles[0].Bytes < idles[0].Payload/2 || idles[0].PerID <= 16 || idles[0].PerID > 300 {
		t.Errorf("memory: %+v, %v", idles[0], err)
	}
	races, err := b.races(t.Context(), ours)
	if err != nil || races[0].Error != "" || races[0].Counter != 200 || races[0].Keys != 200 {
		t.Errorf("race: %+v, %v", races[0], err)
	}
	r := &report{Contenders: all, Config: b.config, Cells: b.cells, Costs: b.costs, Idles: idles, Races: races,
		Replay: &replayed{Skipped: "no data"}, Clusters: []*clustered{{Masters: 3, Error: "it fell apart"}}, Wake: &woken{Samples: 1, P99: 1}, Wait: &waiting{Error: "nobody waits"},
		Fleets:    []*fleet{{Replicas: 1, Bots: 1, Commands: 5}, {Replicas: 77, Bots: 40, Error: "it went home"}},
		Countings: []*counting{{Work: workBase, Turns: 64, Ours: 300, Floor: 100}, {Work: workSend, Error: errNoCallgrind.Error()}},
		Latency:   &latency{Others: -1}, Index: &indexed{Sessions: 500, Index: 99}}
	r.Settings = []*setting{{Name: "a server", Error: "nobody has one"},
		{Name: "another", contenders: all[:1], Cells: []*cell{{Contender: nameOurs, Callers: 32, Turns: 1, PerSecond: spread{Median: 4321}}}}}
	r.Goals = b.goals(r)
	var tables, lines bytes.Buffer
	r.print(&tables, false)
	for _, c := range all {
		if !strings.Contains(tables.String(), c.name) {
			t.Errorf("the tables do not have %s", c.name)
		}
	}
	for _, want := range []string{"is skipped: no data", "it fell apart", "replicas: 77, bots: 40", "it went home", "is not installed",
		"not known", "nobody has one", "nobody waits", "4,321", "taken for busy"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables do not have %q", want)
		}
	}
	if err := r.writeJSON(&lines); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(lines.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	b := testBench(t)
	b.config.data = filepath.Join(t.TempDir(), "dialogues.jsonl")
	const line = `{"id":"%s","turns":[{"speaker":"user","text":"hi","intent":"greet","slots":{}},{"speaker":"system","text":"hello"}]}` + "\n"
	if err := os.WriteFile(b.config.data, []byte(strings.ReplaceAll(line, "%s", "a")+strings.ReplaceAll(line, "%s", "b")), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := b.replay(t.Context())
	if err != nil || r.Error != "" || r.Dialogues != 2 || r.Turns != 2 || r.PerSecond <= 0 || r.faults() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	b.config.data = filepath.Join(t.TempDir(), "none")
	if r, err := b.replay(t.Context()); err != nil || r.Error == "" {
		t.Errorf("without the file: %+v, %v", r, err)
	}
	b.config.data = ""
	if r, err := b.replay(t.Context()); err != nil || r.Skipped == "" {
		t.Errorf("without data: %+v, %v", r, err)
	}
}

func TestReplayIsRead(t *testing.T) {
	r, err := parseReplay([]byte(`{"dialogues":3,"turns":9,"mismatched":1,"lost":2,"duplicated":3,"out_of_order":4,"turns_per_second":5.5,"resent":6}`))
	if err != nil || *r != (replayed{Dialogues: 3, Turns: 9, PerSecond: 5.5, Mismatched: 1, Lost: 2, Duplicated: 3, OutOfOrder: 4}) || r.faults() != 10 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "{}", "no dialogues"} {
		if _, err := parseReplay([]byte(bad)); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

func TestClusters(t *testing.T) {
	t.Parallel()
	b := testBench(t)
	found, err := b.onClusters(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	for i, c := range found {
		// Each turn is two calls; a replica that looks for work makes some more.
		if c.Error != "" || c.Masters != i+1 || c.Turns != 200 || c.PerSecond <= 0 || c.Scripts < 400 || c.Redirected != 0 ||
			c.Least <= 0 || c.Most > c.Scripts || c.Least+c.Most < c.Scripts {
			t.Errorf("%+v", c)
		}
	}
}

func TestImbalance(t *testing.T) {
	if least, most, percent := imbalance([]int64{100, 90, 110}); least != 90 || most != 110 || percent != 20 {
		t.Errorf("%d to %d, %v %%", least, most, percent)
	}
	if least, most, percent := imbalance([]int64{0, 0}); least != 0 || most != 0 || percent != 0 {
		t.Errorf("of nothing: %d to %d, %v %%", least, most, percent)
	}
	users := randomUsers(1000)
	slices.Sort(users)
	if n := len(slices.Compact(users)); n != 1000 {
		t.Errorf("%d different users of 1000", n)
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	w, err := testBench(t).wakes(t.Context())
	if err != nil || w.Error != "" || w.Samples != 10 || w.P50 <= 0 || w.P99 < w.P50 || w.Slowest < w.P99 {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	w, err := testBench(t).waits(t.Context())
	if err != nil || w.Error != "" || w.Samples == 0 || w.Commands <= 0 || w.P50 <= 0 || w.P99 < w.P50 || w.Slowest < w.P99 {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestChosenParts(t *testing.T) {
	t.Parallel()
	args := []string{"--quick", "--json", "--parts", "wake,replay", "--redis", testServer(t).url}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(out.String()) {
		var object struct{ Kind string }
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds = append(kinds, object.Kind)
	}
	if kinds = slices.Compact(kinds); !slices.Equal(kinds, []string{"machine", "replay", "wake"}) {
		t.Errorf("it printed %v", kinds)
	}
}

func TestIdleFleets(t *testing.T) {
	t.Parallel()
	found, err := testBench(t).idleFleets(t.Context())
	if err != nil || len(found) != 3 || found[0].Bots != 1 || found[1].Replicas != 1 || found[1].Bots != 2 || found[2].Replicas != 3 {
		t.Fatalf("%v, %v", found, err)
	}
	for _, f := range found {
		if f.Error != "" || f.Commands <= 0 {
			t.Errorf("%+v", f)
		}
	}
}

func TestStatistics(t *testing.T) {
	if got := spreadOf([]float64{3, 1, 2}); got != (spread{2, 1, 3}) {
		t.Errorf("spread: %+v", got)
	}
	if spreadOf(nil) != (spread{}) || median([]float64(nil)) != 0 || quantile(nil, 0.5) != 0 || ratio(1, 0) != 0 {
		t.Error("of nothing, something")
	}
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
}

func TestServerTime(t *testing.T) {
	before := parseInfo("total_net_input_bytes:100\r\ntotal_net_output_bytes:1000\r\ncmdstat_get:calls=1,usec=5,usec_per_call=5.00\r\n")
	before.reply = 50
	after := parseInfo("total_net_input_bytes:300\r\ntotal_net_output_bytes:2050\r\n" +
		"cmdstat_get:calls=5,usec=13,usec_per_call=2.6\r\ncmdstat_evalsha:calls=2,usec=40,usec_per_call=20\r\ncmdstat_hset:calls=9,usec=9\r\n")
	d := after.since(before)
	if d.in != 200-infoRequest || d.out != 1000 {
		t.Errorf("bytes %d and %d", d.in, d.out)
	}
	t.Run("a command that only a script calls counts in the script's time alone", func(t *testing.T) {
		if got := d.serverTime(1, map[string]float64{"evalsha": 2, "get": 1}); got != 2*20+2 {
			t.Errorf("%v µs", got)
		}
	})
	t.Run("what came to the wrong node counts, and no other error", func(t *testing.T) {
		before := parseInfo("errorstat_MOVED:count=2\r\n")
		after := parseInfo("errorstat_MOVED:count=5\r\nerrorstat_ASK:count=1\r\nerrorstat_CROSSSLOT:count=1\r\nerrorstat_ERR:count=9\r\n")
		if got := after.since(before).redirected; got != 5 {
			t.Errorf("%d redirections", got)
		}
	})
	t.Run("what scripts call counts among the calls, the asking does not", func(t *testing.T) {
		d := parseInfo("cmdstat_evalsha:calls=2,usec=40\r\ncmdstat_hset:calls=9,usec=9\r\ncmdstat_info:calls=1,usec=9\r\n")
		if d.scripts() != 2 || d.calls() != 11 {
			t.Errorf("%d scripts, %d calls", d.scripts(), d.calls())
		}
	})
	if sum := d.plus(d); sum.in != 2*d.in || sum.commands["get"] != (commandStat{8, 16}) {
		t.Errorf("sum %+v", sum)
	}
}

func TestGoalsAreJudged(t *testing.T) {
	for _, c := range []struct {
		goal goal
		met  bool
		by   string
	}{
		{atLeast("a", 1.2, 1, " ×"), true, ""},
		{atLeast("a", 0.5, 1, " ×"), false, "100 %"},
		{atMost("a", 1, 1, " ×"), true, ""},
		{atMost("a", 3, 2, " ×"), false, "50 %"},
		{atMost("a", 0, 2, " ×"), false, "not measured"},
		{none("a", 0, 200), true, ""},
		{none("a", 3, 200), false, "3 of 200"},
		{none("a", 0, 0), false, "not measured"},
	} {
		if c.goal.Met != c.met || c.goal.By != c.by {
			t.Errorf("%+v", c.goal)
		}
	}
	if got := nearest([]int{10, 1000}, 100); got != 10 && got != 1000 {
		t.Errorf("nearest: %d", got)
	}
	if got := nearest([]int{1, 32, 256}, 32); got != 32 {
		t.Errorf("nearest: %d", got)
	}
}

func TestTable(t *testing.T) {
	r := &report{
		Contenders: []contender{{name: nameOurs}, {name: "other"}},
		Config:     config{histories: []int{10}, callers: []int{1}},
		Cells: []*cell{
			{Contender: nameOurs, History: 10, Callers: 1, Ran: 1, Turns: 5, PerSecond: spread{12000, 11000, 13000}, P50: spread{80, 80, 80}},
			{Contender: "other", History: 10, Callers: 1, Error: "it fell\nover"},
		},
	}
	var out bytes.Buffer
	r.print(&out, true)
	for _, want := range []string{"12,000", "11,000–13,000", "80 µs", "fails [1]", "[1] it fell over"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestDialogues(t *testing.T) {
	const line = `{"id":"1","turns":[{"speaker":"user","text":"hi","intent":"Greet","slots":{"b":"2","a":"1"}},{"speaker":"system","text":"hello"},{"speaker":"user","text":"bye"}]}`
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write([]byte(line + "\n"))
	w.Close()
	for name, content := range map[string][]byte{"plain": []byte(line), "gzip": zipped.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := readDialogues(path)
		if err != nil || len(d) != 1 || len(d[0]) != 1 || d[0][0] != (exchange{"hi", "Greet", [2]string{"1", "2"}, "hello"}) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readDialogues(path); err == nil {
		t.Error("an empty file is no error")
	}

	made := generateDialogues(300).flat()
	var user, bot int
	for _, x := range made {
		user += len(x.Text)
		bot += len(x.Reply)
	}
	if u, b := user/len(made), bot/len(made); u < 34 || u > 46 || b < 50 || b > 66 {
		t.Errorf("generated messages have %d and %d bytes on average, real ones 40 and 58", u, b)
	}
	if n := len(generateDialogues(3).chat(1, 40)); n != 20 {
		t.Errorf("a chat of 40 messages has %d turns", n)
	}
}

func TestCommandLine(t *testing.T) {
	o, err := parse([]string{"--quick", "--callers", "1,4"}, io.Discard)
	if err != nil || !slices.Equal(o.callers, []int{1, 4}) || o.repeats != 1 || !slices.Equal(o.histories, []int{10, 100, 1000}) {
		t.Errorf("%+v, %v", o, err)
	}
	if !slices.Equal(o.parts, strings.Split(partNames(), ",")) || o.fleet != 20 || o.turns != 128 {
		t.Errorf("parts %v, a fleet of %d", o.parts, o.fleet)
	}
	if o, err := parse([]string{"--parts", "wake, idle"}, io.Discard); err != nil || !slices.Equal(o.parts, []string{"wake", "idle"}) || o.fleet != 100 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"--parts=sleep", "--parts=", "--histories=7", "--callers=0", "--time=0", "--turns=65", "--index=0", "--nothing", "x"} {
		if err := run(context.Background(), []string{bad}, io.Discard, io.Discard); !errors.As(err, new(usageError)) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// mustHave skips a test where a program is missing: loudly, and with
// REQUIRE_REDIS=1 it fails instead.
func mustHave(t *testing.T, err error, missing error) {
	t.Helper()
	if errors.Is(err, missing) && os.Getenv("REQUIRE_REDIS") != "1" {
		t.Skipf("SKIPPED, what this program counts is not tested (REQUIRE_REDIS=1 makes this a failure): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestInstructionsAreCounted(t *testing.T) {
	b := testBench(t)
	for _, w := range works {
		if w.minute {
			continue // it waits for a minute to be over
		}
		t.Run(w.name, func(t *testing.T) {
			ours, err := b.instructions(t.Context(), w, openWork(w))
			mustHave(t, err, errNoCallgrind)
			floor, err := b.instructions(t.Context(), w, openFloor(w))
			if err != nil || floor < 10_000 || ours < 10_000 {
				t.Errorf("ours %v, floor %v, %v", ours, floor, err)
			}
		})
	}
}

func TestLengthened(t *testing.T) {
	script := lengthened([]exchange{{Text: "hi"}, {Text: "bye"}}, 1<<10)
	if len(script[0].Text) != 1<<10-100 || !strings.HasPrefix(script[0].Text, "hi and") || script[0].Text == script[1].Text {
		t.Errorf("%q", script)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	l, err := testBench(t).latency(t.Context())
	if err != nil || l.Error != "" || l.Turns == 0 || l.Ours.Median <= 0 || l.Capped.Median <= 0 || l.Ratio.Median <= 0 {
		t.Errorf("%+v, %v", l, err)
	}
	before := usage{busy: 10, all: 100, own: 5}
	if got := (usage{busy: 15, all: 110, own: 8}).others(before); got != 0.2 {
		t.Errorf("others had %v of the cores, not 0.2", got)
	}
	if got := (usage{own: 8}).others(usage{own: 5}); got != -1 {
		t.Errorf("of a system that does not tell: %v", got)
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	i, err := testBench(t).index(t.Context())
	if err != nil || i.Error != "" || i.Index <= 0 || i.All <= i.Index || i.Own <= 100 {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	found, err := testBench(t).lists(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 9 {
		t.Errorf("%d lists", len(found))
	}
	for _, l := range found {
		want := listPage
		if l.Name == listEverything {
			want = l.Of
		}
		if l.Error != "" || l.Of != 500 || l.Sessions != want || l.Seconds <= 0 || l.Megabytes <= 0 {
			t.Errorf("%+v, want %d sessions", l, want)
		}
	}
	r := &report{Lists: append(found, &listing{Name: "broken", Error: "it fell apart"})}
	r.Config.parts = []string{"lists"}
	r.Goals = (&bench{}).goals(r)
	var tables bytes.Buffer
	r.print(&tables, false)
	for _, want := range []string{"fails [1]", "it fell apart", "the first 50, idle: time", "all sessions: memory"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables do not have %q:\n%s", want, tables.String())
		}
	}
}

func TestOtherServers(t *testing.T) {
	t.Parallel()
	b := testBench(t)
	r := &report{}
	if err := b.settings(t.Context(), r, append(durableSettings(), valkeySettings()...)); err != nil {
		t.Fatal(err)
	}
	if len(r.Settings) != 4 {
		t.Fatalf("%d settings", len(r.Settings))
	}
	for _, set := range r.Settings {
		switch {
		case set.Error != "" && (set.needs != "" || set.Name == "Valkey") && os.Getenv("REQUIRE_REDIS") != "1":
			t.Logf("SKIPPED, %s: %s", set.Name, set.Error)
		case set.Error != "":
			t.Errorf("%s: %s", set.Name, set.Error)
		case len(set.Cells) != 2*len(set.contenders):
			t.Errorf("%s has %d cells of %d contenders", set.Name, len(set.Cells), len(set.contenders))
		}
		for _, c := range set.Cells {
			if c.Error != "" || c.Turns == 0 {
				t.Errorf("%s, %s: %d turns, %s", set.Name, c.Contender, c.Turns, c.Error)
			}
		}
	}
}

func TestPair(t *testing.T) {
	if got := withoutPair([]string{"--quick", "--pair", "x", "-pair=y", "--parts", "race"}); !slices.Equal(got, []string{"--quick", "--parts", "race"}) {
		t.Errorf("%q", got)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "printer")
	const script = "#!/bin/sh\n" + `echo '{"kind":"goal","value":{"figure":"a","goal":"at most 2","value":3,"missed_by":"50 %"}}'` + "\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	goals, err := goalsOf(t.Context(), program, nil, io.Discard)
	if err != nil || len(goals) != 1 || goals[0].Value != 3 || goals[0].By != "50 %" {
		t.Errorf("%+v, %v", goals, err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := goalsOf(t.Context(), program, nil, io.Discard); err == nil {
		t.Error("a program that prints no goals is no error")
	}
}
