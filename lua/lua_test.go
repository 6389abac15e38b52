package lua

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	engine "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// scripts returns the files of this folder; none at all is a failure.
func scripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	return files
}

func TestEveryFileIsAScript(t *testing.T) {
	var named []string
	for _, s := range All {
		named = append(named, s.Name+".lua")
	}
	slices.Sort(named)
	if files := scripts(t); !slices.Equal(files, named) {
		t.Errorf("the files are %v, All has %v", files, named)
	}
}

var word = regexp.MustCompile(`[a-z_]+`)

// parts returns a script's header, and the code of its own file.
func parts(s *Script) (head, body string) {
	file := read(s.Name + ".lua")
	head, _, _ = strings.Cut(file, "\n\n")
	return head, code(file)
}

func TestHeaderAndCodeAgree(t *testing.T) {
	statuses := regexp.MustCompile(`\{'([A-Z]+)', now`)
	for _, s := range All {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			head, _ := parts(s)
			if !strings.HasPrefix(head, "-- "+s.Name+": ") {
				t.Errorf("the header does not begin with the script's name")
			}
			// All but the first two lines, in which the names are declared.
			_, body, _ := strings.Cut(s.Text(), "\n")
			_, body, _ = strings.Cut(body, "\n")
			body = code(body)
			used := map[string]bool{}
			for _, w := range word.FindAllString(body, -1) {
				used[w] = true
			}
			for _, name := range slices.Concat(s.Keys, s.Args) {
				if !used[name] && !strings.HasSuffix(name, "...") && name != "op" && name != "deadline" {
					t.Errorf("the header names %s, the code does not use it", name)
				}
			}
			for _, m := range regexp.MustCompile(`(?m)^local (?:function )?([a-z_]+)`).FindAllStringSubmatch(body, -1) {
				if slices.Contains(s.Keys, m[1]) || slices.Contains(s.Args, m[1]) {
					t.Errorf("%s is a name of the header and of the code", m[1])
				}
			}
			if len(s.Args) < 2 || s.Args[0] != "op" || s.Args[1] != "deadline" {
				t.Errorf("the arguments begin with %v, not with op and deadline", s.Args)
			}
			_, replies, _ := strings.Cut(head, "-- REPLY ")
			for _, m := range statuses.FindAllStringSubmatch(body, -1) {
				if !strings.Contains(replies, m[1]) {
					t.Errorf("it may answer %s, the header's REPLY does not say so", m[1])
				}
			}
			for _, status := range regexp.MustCompile(`\b[A-Z]{2,}\b`).FindAllString(replies, -1) {
				if !strings.Contains(body, "'"+status+"'") {
					t.Errorf("the header's REPLY has %s, the code never answers it", status)
				}
			}
		})
	}
}

// write finds a command, or a function of the prelude, that writes.
var write = regexp.MustCompile(`\b(?:redis\.call|call|try)\('(HSET|HDEL|HINCRBY|RPUSH|LPUSH|LPOP|LTRIM|ZADD|SET|DEL|PEXPIRE|PEXPIREAT)'|\b(save|note_id|note_applied|apply|enter|free|grant|list_due|ensure_due|unlist_due|list_expiry|ring|unring|remember|done|leave|bury|outlast|unhand)\(`)

// What package store does with a reply that was lost depends on these two lines.
func TestHeadersSayWhatAScriptLeavesBehind(t *testing.T) {
	for _, s := range All {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			head, body := parts(s)
			if found := write.FindString(body); (found != "") != s.Writes && s != Probe { // which removes what it wrote
				t.Errorf("the header says that it writes: %t; the code has %q", s.Writes, found)
			}
			if guarded := strings.Contains(s.Text(), "'LATE'"); guarded != (s.Writes && !s.Losable) {
				t.Errorf("it writes %t, losable %t, and looks at its deadline: %t", s.Writes, s.Losable, guarded)
			}
			if !s.Writes && strings.Contains(head, "-- FINAL ") {
				t.Error("what a script that writes nothing refuses is final in any case")
			}
			_, replies, _ := strings.Cut(head, "-- REPLY ")
			for _, status := range s.final {
				if !slices.Contains(strings.FieldsFunc(replies, func(r rune) bool { return r < 'A' || r > 'Z' }), status) {
					t.Errorf("FINAL has %s, REPLY has not", status)
				}
			}
		})
	}
}

func TestAStatusIsFinalWhereTheHeaderSaysSo(t *testing.T) {
	for _, c := range []struct {
		script *Script
		status string
		final  bool
	}{
		{Accept, "OK", true}, {Accept, "DUPLICATE", true}, {Accept, "FULL", false},
		{Change, "OK", true}, {Change, "NOTFOUND", false},
		{Create, "OK", true}, {Create, "EXISTS", false},
		{Destroy, "NOTHING", true}, {Destroy, "NOTFOUND", false},
		{Commit, "FENCED", true}, {Load, "NOTFOUND", true},
	} {
		if got := c.script.IsFinal(c.status); got != c.final {
			t.Errorf("%s of %s is final: %t, want %t", c.status, c.script.Name, got, c.final)
		}
	}
}

// What a script calls and the probe does not try could still be refused to a
// user in the middle of that script.
func TestTheProbeTriesEveryCommand(t *testing.T) {
	called := regexp.MustCompile(`\b(?:redis\.p?call|call|try)\('([A-Z]+)'`)
	tried := map[string]bool{"TIME": true} // by the clock
	for _, m := range regexp.MustCompile(`(?m)^try\('([A-Z]+)'`).FindAllStringSubmatch(Probe.Text(), -1) {
		tried[m[1]] = true
	}
	for _, s := range All {
		for _, m := range called.FindAllStringSubmatch(code(s.Text()), -1) {
			if !tried[m[1]] {
				t.Errorf("%s calls %s, the probe does not try it", s.Name, m[1])
			}
		}
	}
}

// The scripts must run on every server that speaks Redis 6's language: no
// shebang, none of the libraries that some lack, no error replies, and no keys
// but the declared ones.
func TestScriptsArePortable(t *testing.T) {
	for _, s := range All {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			text := code(s.Text())
			for _, banned := range []string{"#!", "cjson", "cmsgpack", "struct.", "bit.", "error_reply", "redis.error", "redis.log", "tostring(", "EVAL"} {
				if strings.Contains(text, banned) {
					t.Errorf("it uses %s", banned)
				}
			}
			if _, err := parse.Parse(strings.NewReader(s.Text()), s.Name); err != nil {
				t.Errorf("it does not parse: %v", err)
			}
			for _, m := range regexp.MustCompile(`\b(?:redis\.p?call|call|try)\('([A-Z]+)', ([a-z'"]+)`).FindAllStringSubmatch(text, -1) {
				key := m[2]
				if !slices.Contains(s.Keys, key) && key != "key" && key != "list" && m[1] != "PUBLISH" {
					t.Errorf("%s works on %s, which KEYS does not name", m[1], key)
				}
			}
		})
	}
}

// Some servers run scripts in Lua 5.4 and not, as Redis does, in 5.1.
func TestScriptsCompileUnderLua54(t *testing.T) {
	compiler, err := exec.LookPath("luac5.4")
	if err != nil {
		if os.Getenv("REQUIRE_REDIS") == "1" {
			t.Fatalf("REQUIRE_REDIS=1, and there is no luac5.4 (Debian package lua5.4): %v", err)
		}
		t.Skip("there is no luac5.4 (Debian package lua5.4): the scripts are not compiled with it")
	}
	for _, s := range All {
		cmd := exec.Command(compiler, "-p", "-")
		cmd.Stdin = strings.NewReader(s.Text())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", s.Name, err, out)
		}
	}
}

// A name that no piece before it declares is nil when the script comes to it.
func TestEveryNameIsDeclared(t *testing.T) {
	known := []string{"KEYS", "ARGV", "redis", "string", "math", "table", "type", "tonumber", "ipairs", "unpack"}
	var check func(t *testing.T, p *engine.FunctionProto)
	check = func(t *testing.T, p *engine.FunctionProto) {
		for i, code := range p.Code {
			if op := int(code >> 26); op == engine.OP_GETGLOBAL || op == engine.OP_SETGLOBAL {
				if name := p.Constants[code&0x3ffff].String(); !slices.Contains(known, name) {
					t.Errorf("nothing declares %s, line %d of its text", name, p.DbgSourcePositions[i])
				}
			}
		}
		for _, inner := range p.FunctionPrototypes {
			check(t, inner)
		}
	}
	for _, s := range All {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			chunk, err := parse.Parse(strings.NewReader(s.Text()), s.Name)
			if err != nil {
				t.Fatal(err)
			}
			p, err := engine.Compile(chunk, s.Name)
			if err != nil {
				t.Fatal(err)
			}
			check(t, p)
		})
	}
}

func TestWhatNothingCallsIsLeftOut(t *testing.T) {
	const begin = `local a = 1
-- The first.

-- one is called by three.
local function one()
  if a then
  end
end
`
	const unused = `-- two is called by itself,
-- and in a comment: two()
local function two()
  two()
end
`
	const end = `
local function three()
  one()
end
`
	if got, want := used(begin+unused+end+"three()\n"), begin+end+"three()\n"; got != want {
		t.Errorf("left is\n%s", got)
	}
	if got, want := used(begin+unused+end), "local a = 1\n-- The first.\n\n\n"; got != want {
		t.Errorf("where nothing is called, left is\n%s", got)
	}
}

// Writes may fail only before the first of them: so no check of a type, and no
// refusal, may stand after one.
func TestGuardsComeBeforeWrites(t *testing.T) {
	refuse := regexp.MustCompile(`return \{'(FENCED|WRONGSTATE|CHANGED|DUPLICATE|TOOLARGE|BUSY|FULL|EXPIRED|CORRUPT)'|(check_[a-z]+|read_change)\(`)
	for _, s := range All {
		if s == Commit { // which takes back what it wrote
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			_, body := parts(s)
			wrote := ""
			for line := range strings.Lines(body) {
				indented := strings.HasPrefix(line, " ") // a branch that ends in a return of its own
				if refuse.MatchString(line) && wrote != "" {
					t.Errorf("%q stands behind the write %q", strings.TrimSpace(line), wrote)
				}
				if write.MatchString(line) && !indented {
					wrote = strings.TrimSpace(line)
				}
			}
		})
	}
}
