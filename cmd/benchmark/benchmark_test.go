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

// testServer starts a Redis, or skips the test where none is installed: loudly,
// and with REQUIRE_REDIS=1 it fails instead.
func testServer(t *testing.T) *server {
	t.Helper()
	s, err := startServer(t.Context())
	if errors.Is(err, errNoServer) && os.Getenv("REQUIRE_REDIS") != "1" {
		t.Skipf("SKIPPED, nothing of this contender is tested: %v", err)
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
		histories: []int{10}, callers: []int{1, 2}, repeats: 1, budget: 10 * time.Millisecond, memory: []int{20}, sessions: 20,
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
			if err := in.restore(t.Context(), users); err != nil {
				t.Fatal("restore:", err)
			}
			for _, user := range users {
				holds(user, 10)
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
				if !strings.Contains(scan.Val(), ":serve:") { // a replica still beats
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
		if cost.Trips < 2 || cost.Server.Median <= 0 || cost.Up.Median <= 0 || cost.Down.Median <= 0 || cost.Allocs.Median <= 0 {
			t.Errorf("%s: cost %+v", c.name, *cost)
		}
	}
	if turn, again, err := b.trips(t.Context()); turn != 2 || again != 1 || err != nil {
		t.Errorf("our turn takes %v round trips, a duplicate %v, %v", turn, again, err)
	}
	ours := all[:1]
	idles, err := b.idles(t.Context(), ours)
	if err != nil || idles[0].Error != "" || idles[0].Bytes < idles[0].Payload/2 || idles[0].PerID <= 16 {
		t.Errorf("memory: %+v, %v", idles[0], err)
	}
	races, err := b.races(t.Context(), ours)
	if err != nil || races[0].Error != "" || races[0].Counter != 200 || races[0].Keys != 200 {
		t.Errorf("race: %+v, %v", races[0], err)
	}
	r := &report{Contenders: all, Config: b.config, Cells: b.cells, Costs: b.costs, Idles: idles, Races: races}
	r.Goals = b.goals(t.Context(), idles, races)
	var tables, lines bytes.Buffer
	r.print(&tables, false)
	for _, c := range all {
		if !strings.Contains(tables.String(), c.name) {
			t.Errorf("the tables do not have %s", c.name)
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
	for _, bad := range []string{"--histories=7", "--callers=0", "--time=0", "--nothing", "x"} {
		if err := run(context.Background(), []string{bad}, io.Discard, io.Discard); !errors.As(err, new(usageError)) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
