package stored

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

// lines are what may be known of an event, by what it is.
func lines() map[string]Line {
	call := ids.NewCall("host-1-abcdef", 47).End()
	return map[string]Line{
		"an event that waits":           {Status: LineWaits, Forget: 1763886400, Token: "0", Call: call},
		"the first event of a session":  {Status: LineWaits, Made: true, Forget: 1763886400, Token: "0", Call: call},
		"an event that was listed anew": {Status: LineWaits, Token: "0", Call: ids.Nobody},
		"a handled event":               {Status: LineHandled, Forget: 1763886400, Token: "1763800000000000", First: 123, Call: call, Count: 2},
		"a turn without a message":      {Status: LineHandled, Made: true, Forget: 1763886400, Token: "1763800000000000", First: 124, Call: call},
		"a turn of 254 messages":        {Status: LineHandled, Forget: 1763886400, Token: "1763800000000000", First: 1, Call: call, Count: 254},
		"a turn of 255 messages":        {Status: LineHandled, Forget: 1763886400, Token: "1763800000000000", First: 1, Call: call, Count: 255},
		"a turn of many messages":       {Status: LineHandled, Forget: 1763886400, Token: "1763800000000000", First: 1, Call: call, Count: 70000},
		"a dead letter":                 {Status: LineDead, Made: true, Forget: 1763886400, Token: "1763800000000000", First: 123, Call: call, Count: 1},
		"a dropped event":               {Status: LineDropped, Forget: 1763886400, Token: "0", Call: call},
		"a change":                      {Status: LineApplied, Forget: 1763886400, Token: "0", First: 7, Call: ids.Nobody},
		"a void line":                   {Status: LineVoid, Forget: 1763886400, Token: "1763800000000000", First: 123, Call: call, Count: 2},
		"the greatest numbers":          {Status: LineVoid, Made: true, Forget: 1<<40 - 1, Token: "9007199254740991", First: 1<<40 - 1, Call: "\xff\xff\xff\xff\xff\xff", Count: 1<<40 - 1},
	}
}

const linesGolden = "lines.golden"

func TestGoldenLines(t *testing.T) {
	t.Parallel()
	all := lines()
	var written [][]string
	for _, what := range slices.Sorted(maps.Keys(all)) {
		written = append(written, []string{what, all[what].Encode()})
	}
	golden := goldenLines(t, linesGolden, "What is known of events: what it is, and the line.", written)
	if len(golden) != len(all) {
		t.Errorf("%d lines are kept, of %d", len(golden), len(all))
	}
	for _, kept := range golden {
		what, line := kept[0], kept[1]
		want, known := all[what]
		if got, err := ReadLine(line); !known || err != nil || got != want {
			t.Errorf("%s is read as %+v, %v; want %+v", what, got, err, want)
		}
		if got := want.Encode(); got != line {
			t.Errorf("%s is written as %x, want %x", what, got, line)
		}
	}
}

func TestALineThatCannotBeReadIsCorrupt(t *testing.T) {
	t.Parallel()
	good := Line{Status: LineHandled, Forget: 1}.Encode()
	long := Line{Status: LineHandled, Forget: 1, Count: 300}.Encode()
	for what, line := range map[string]string{
		"nothing": "", "a letter": "p", "24 bytes": good[:24], "26 bytes": good + "\x00", "30 bytes, and few messages": good + "\x00\x00\x00\x00\x00",
		"25 bytes, and many messages": long[:25], "29 bytes": long[:29], "31 bytes": long + "\x00", "no status": "z" + good[1:], "a status that is no letter": "\x00" + good[1:],
	} {
		if got, err := ReadLine(line); got != (Line{}) || err == nil {
			t.Errorf("%s: %+v, %v", what, got, err)
		} else {
			wantErr(t, err, session.ErrCorrupt)
		}
	}
}

func TestGoAndLuaWriteAndReadTheSameLines(t *testing.T) {
	t.Parallel()
	write := script(t, "return write_line(ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]))", "clock", "ids")
	read := script(t, `
local status, forget, call, made, token, first, count = read_line(ARGV[1])
if not status then return {} end
return {status, int(forget), call, made, token, int(first), int(count)}`, "clock", "ids")
	for server, client := range servers(t) {
		for what, l := range lines() {
			words := []any{string(l.Status), strconv.FormatInt(l.Forget, 10), string(l.Call), "0", string(l.Token), strconv.FormatInt(l.First, 10), strconv.FormatInt(l.Count, 10)}
			if l.Made {
				words[3] = "1"
			}
			if got, err := client.Eval(t.Context(), write, nil, words...).Text(); err != nil || got != l.Encode() {
				t.Errorf("%s: %s is %x in Lua, %x in Go: %v", server, what, got, l.Encode(), err)
			}
			if got, err := client.Eval(t.Context(), read, nil, l.Encode()).Slice(); err != nil || !slices.Equal(got, words) {
				t.Errorf("%s: %s is read as %q in Lua, want %q: %v", server, what, got, words, err)
			}
			for size := range len(l.Encode()) {
				if got, err := client.Eval(t.Context(), read, nil, l.Encode()[:size]).Slice(); err != nil || (len(got) > 0) != (second(ReadLine(l.Encode()[:size])) == nil) {
					t.Errorf("%s: %d bytes of %s are read as %q in Lua: %v", server, size, what, got, err)
				}
			}
		}
	}
}

// A line is written when much of the session is written already.
func TestLuaWritesALineWhateverANumberIs(t *testing.T) {
	t.Parallel()
	for server, client := range servers(t) {
		for _, n := range []string{"-1", "2 ^ 53", "2 ^ 70", "1 / 0", "-1 / 0"} {
			write := script(t, "return write_line('d', "+n+", NOBODY, '0', "+n+", "+n+", "+n+")", "clock", "ids")
			line, err := client.Eval(t.Context(), write, nil).Text()
			if err == nil {
				_, err = ReadLine(line)
			}
			if err != nil {
				t.Errorf("%s: with %s: %v", server, n, err)
			}
		}
	}
}

func TestGoAndLuaMakeTheSameEndsOfCalls(t *testing.T) {
	t.Parallel()
	text := script(t, "return call_end(ARGV[1])", "clock", "ids")
	for server, client := range servers(t) {
		for _, replica := range []string{"", "host-1-abcdef", "a#b-abcdef", "perché-abcdef", strings.Repeat("x", 300)} {
			for _, n := range []uint64{0, 1, 35, 36, 1<<24 - 1, 1 << 24, 1<<40 + 7} {
				c := ids.NewCall(replica, n)
				if got, err := client.Eval(t.Context(), text, nil, string(c)).Text(); err != nil || got != string(c.End()) {
					t.Errorf("%s: the end of %q is %x in Lua, %x in Go: %v", server, c, got, c.End(), err)
				}
			}
		}
		if got, err := client.Eval(t.Context(), script(t, "return NOBODY", "clock", "ids"), nil).Text(); err != nil || got != string(ids.Nobody) {
			t.Errorf("%s: nobody's end is %x in Lua, %x in Go: %v", server, got, ids.Nobody, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	all := lines()
	for _, what := range slices.Sorted(maps.Keys(all)) {
		f.Add([]byte(all[what].Encode()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ReadLine(string(b))
		if err != nil {
			wantErr(t, err, session.ErrCorrupt)
			return
		}
		if back, err := ReadLine(l.Encode()); err != nil || back != l {
			t.Fatal(fmt.Sprintf("%+v, %+v", l, back), err)
		}
	})
}
