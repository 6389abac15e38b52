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
	"github.com/yuin/gopher-lua/ast"
)

func TestEveryFileIsAScript(t *testing.T) {
	files, err := filepath.Glob("*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	var named []string
	for _, s := range All {
		named = append(named, s.Name+".lua")
	}
	slices.Sort(named)
	if !slices.Equal(files, named) {
		t.Errorf("the files are %v, All has %v", files, named)
	}
}

// checks are the rules for scripts, their headers, and what agrees with them.
var checks = []struct {
	name string
	check
}{
	{"header and code agree", each(headerAndCode)},
	{"replies are as the header names them", each(replies)},
	{"package store reads what scripts return", reads},
	{"package store gives scripts their arguments", asked},
	{"the header says what is left behind", each(leftBehind)},
	{"a status is final where it must be", finalStatuses},
	{"the probe tries every command", probed},
	{"the README gives the rights to all commands", readmeRights},
	{"scripts are portable", each(portable)},
	{"commands are known, on keys of their type", each(known)},
	{"arguments are read by their names", each(named)},
	{"every name is declared", each(declared)},
	{"every piece is needed", each(needed)},
	{"guards come before writes", each(guards)},
}

func TestTheScriptsKeepTheirRules(t *testing.T) {
	p := given(t)
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			for _, wrong := range c.check(p) {
				t.Error(wrong)
			}
		})
	}
}

var (
	word     = regexp.MustCompile(`[A-Za-z_]+`)
	upper    = regexp.MustCompile(`\b[A-Z]{2,}\b`)
	topLevel = regexp.MustCompile(`(?m)^local (function )?([A-Za-z_]+(?:, [A-Za-z_]+)*)`)
)

func headerAndCode(_ *program, s *script, wrong func(string, ...any)) {
	if !strings.HasPrefix(s.head, "-- "+s.Name+": ") {
		wrong("the header does not begin with the script's name")
	}
	used := word.FindAllString(s.code, -1)
	for _, name := range slices.Concat(s.Keys, s.Args) {
		if !slices.Contains(used, strings.TrimSuffix(name, "...")) && name != "op" && name != "deadline" {
			wrong("the header names %s, the code does not use it", name)
		}
	}
	for _, m := range topLevel.FindAllStringSubmatch(s.code, -1) {
		for _, name := range strings.Split(m[2], ", ") {
			if slices.Contains(s.Keys, name) || slices.Contains(s.Args, name) || slices.Contains(s.Args, name+"...") {
				wrong("%s is a name of the header and of the code", name)
			}
		}
	}
	if len(s.Args) < 2 || s.Args[0] != "op" || s.Args[1] != "deadline" {
		wrong("the arguments begin with %v, not with op and deadline", s.Args)
	}
}

// What package store does with a reply that was lost depends on these two lines.
func leftBehind(_ *program, s *script, wrong func(string, ...any)) {
	w := writersOf(s.tree)
	if found := w.writes(s.tree); (found != "") != s.Writes && s.Name != "probe" { // which removes what it wrote
		wrong("the header says that it writes: %t; the code has %q", s.Writes, found)
	}
	if guarded := strings.Contains(s.Text(), "'LATE'"); guarded != (s.Writes && !s.Losable) {
		wrong("it writes %t, losable %t, and looks at its deadline: %t", s.Writes, s.Losable, guarded)
	}
	if !s.Writes && strings.Contains(s.head, "-- FINAL ") {
		wrong("what a script that writes nothing refuses is final in any case")
	}
	for _, status := range s.final {
		if s.Names(status) == nil {
			wrong("FINAL has %s, REPLY has not", status)
		}
	}
}

// finalStatuses compares FINAL with what the scripts do: of these alone an earlier
// attempt, still on its way, can change a refusal.
func finalStatuses(p *program) (found []string) {
	final := map[string]string{
		"accept": "OK DUPLICATE", "change": "OK DUPLICATE", "create": "OK", "destroy": "OK NOTHING", "settings": "OK EXISTS",
		"retry": "OK", "skip": "OK", "drop": "OK", "unlock": "OK", "discard": "OK", "erase": "OK", "redeliver": "OK",
	}
	for _, s := range p.scripts {
		if got := strings.Join(s.final, " "); got != final[s.Name] {
			found = append(found, s.Name+": final is "+got+", want "+final[s.Name])
		}
	}
	return found
}

func TestAStatusIsFinalWhereTheHeaderSaysSo(t *testing.T) {
	for _, c := range []struct {
		script *Script
		status string
		final  bool
	}{
		{Accept, "OK", true}, {Accept, "FULL", false}, {Commit, "FENCED", true}, {Load, "NOTFOUND", true},
	} {
		if got := c.script.IsFinal(c.status); got != c.final {
			t.Errorf("%s of %s is final: %t, want %t", c.status, c.script.Name, got, c.final)
		}
	}
}

var (
	tries   = regexp.MustCompile(`(?m)^try\('([A-Z]+)'`)
	allowed = regexp.MustCompile(`\+([a-z|]+)`)
)

// probed compares the commands that the probe tries with the table: what it does not
// try could still be refused to a user in the middle of a script.
func probed(p *program) (found []string) {
	i := slices.IndexFunc(p.scripts, func(s script) bool { return s.Name == "probe" })
	reading, writing, _ := strings.Cut(p.scripts[i].code, "if writes ~= '1'")
	for _, c := range commands {
		tried := reading
		if c.writes {
			tried = writing
		}
		if c.name != "TIME" && !strings.Contains(tried, "\ntry('"+c.name+"'") { // which the clock calls
			found = append(found, "the probe does not try "+c.name)
		}
	}
	for _, m := range tries.FindAllStringSubmatch(reading+writing, -1) {
		if _, known := find(m[1]); !known {
			found = append(found, "the probe tries "+m[1]+", which nobody calls")
		}
	}
	return found
}

// readmeRights compares the rights in the README with the table.
func readmeRights(p *program) (found []string) {
	both := []string{"hello", "ping", "info", "evalsha", "eval", "script|load"}
	for user, want := range map[string][]string{
		"replica": {"subscribe", "unsubscribe"},
		"looker":  {"scan"},
	} {
		want = append(want, both...)
		for _, c := range commands {
			if !c.writes || user == "replica" {
				want = append(want, strings.ToLower(c.name))
			}
		}
		_, rules, _ := strings.Cut(p.readme, "\nACL SETUSER "+user+" ")
		for rules, more := rules, true; more; {
			var line string
			line, rules, _ = strings.Cut(rules, "\n")
			for _, m := range allowed.FindAllStringSubmatch(line, -1) {
				if i := slices.Index(want, m[1]); i >= 0 {
					want = slices.Delete(want, i, i+1)
				} else {
					found = append(found, "the README gives the user "+user+" the right to "+m[1]+", which nobody needs")
				}
			}
			more = strings.HasSuffix(line, "\\")
		}
		for _, name := range want {
			found = append(found, "the README does not give the user "+user+" the right to "+name)
		}
	}
	return found
}

// portable finds what not every server has that speaks Redis 6's language: no
// shebang, none of the libraries that some lack, no error replies.
func portable(_ *program, s *script, wrong func(string, ...any)) {
	for _, banned := range []string{"#!", "cjson", "cmsgpack", "struct.", "bit.", "error_reply", "redis.error", "redis.log", "tostring(", "EVAL"} {
		if strings.Contains(code(s.Text()), banned) {
			wrong("it uses %s", banned)
		}
	}
}

// known finds commands that the table does not have, or that work on a key that KEYS
// does not name, or that is of another type.
func known(p *program, s *script, wrong func(string, ...any)) {
	types := p.types()
	walk(s.tree, func(node any) {
		c, is := node.(*ast.FuncCallExpr)
		if !is {
			return
		}
		name, args, ok := commandOf(c)
		if !ok {
			return
		}
		if name == "" {
			if s.Name != "probe" { // whose function try is given the command
				wrong("line %d calls a command that the text does not name", c.Line())
			}
			return
		}
		command, ok := find(name)
		if !ok {
			wrong("nothing is known of %s", name)
			return
		}
		if name == "TIME" || name == "PUBLISH" {
			return
		}
		key := ""
		if len(args) > 0 {
			key = nameOf(args[0])
		}
		switch {
		case key == "key" || key == "list": // a function's
		case !slices.Contains(s.Keys, key):
			wrong("%s works on %q, which KEYS does not name", name, key)
		case types[key] == "":
			wrong("package store has no key %s", key)
		case command.typ != "" && command.typ != types[key] && !asks(c): // any key will do for the question
			wrong("%s works on a %s, %s is a %s", name, command.typ, key, types[key])
		}
	})
}

// named finds arguments and keys that are read by a number, which stands in the header
// alone: where they begin that have one name together, the variable of that name says.
func named(_ *program, s *script, wrong func(string, ...any)) {
	many, _ := strings.CutSuffix(s.Args[len(s.Args)-1], "...")
	isNumber := func(node any) bool { _, is := node.(*ast.NumberExpr); return is }
	isTable := func(node any) bool {
		e, is := node.(*ast.IdentExpr)
		return is && (e.Value == "ARGV" || e.Value == "KEYS")
	}
	walk(s.tree, func(node any) {
		switch node := node.(type) {
		case *ast.AttrGetExpr:
			if isTable(node.Object) && isNumber(node.Key) && node.Key.Line() > 2 { // behind those that are made of the header
				wrong("line %d of its text reads an argument or a key by a number", node.Key.Line())
			}
		case *ast.FuncCallExpr:
			if len(node.Args) > 1 && isTable(node.Args[0]) && isNumber(node.Args[1]) {
				wrong("line %d of its text reads arguments from a number on", node.Line())
			}
		case *ast.NumberForStmt:
			if length, is := node.Limit.(*ast.UnaryLenOpExpr); is && isTable(length.Expr) && isNumber(node.Init) {
				wrong("line %d of its text reads arguments from a number on", node.Line())
			}
		case *ast.ArithmeticOpExpr:
			number, first := false, false
			walk(node, func(node any) {
				e, is := node.(*ast.IdentExpr)
				number, first = number || isNumber(node), first || is && e.Value == many
			})
			if number && first {
				wrong("line %d of its text counts from %s on by a number", node.Line(), many)
			}
		}
	})
}

// asks reports whether a call only asks for the right to a command.
func asks(c *ast.FuncCallExpr) bool {
	return slices.Contains([]string{"may", "redis.acl_check_cmd"}, nameOf(c.Func))
}

// declared finds names that no piece before them declares: they are nil when the
// script comes to them.
func declared(_ *program, s *script, wrong func(string, ...any)) {
	undeclared(s.tree, wrong)
}

// needed finds pieces that neither the script itself nor a piece behind them uses: of
// which no function is kept, and no variable is named again. (Two pieces have neither, and
// REPLY says whether they are there.)
func needed(p *program, s *script, wrong func(string, ...any)) {
	all := word.FindAllString(s.code, -1)
	count := func(words []string, name string) (n int) {
		for _, w := range words {
			if w == name {
				n++
			}
		}
		return n
	}
	for _, piece := range s.uses {
		if piece == "|" || piece == "deadline" || piece == "rights" {
			continue
		}
		text := code(read(p.files, "prelude/"+piece+".lua"))
		own := word.FindAllString(code(used(text)), -1) // without its functions
		is := false
		for _, m := range topLevel.FindAllStringSubmatch(text, -1) {
			for _, name := range word.FindAllString(m[2], -1) {
				is = is || m[1] != "" && strings.Contains(s.code, "local function "+name+"(") || m[1] == "" && count(all, name) > count(own, name)
			}
		}
		if !is {
			wrong("nothing needs the piece %s", piece)
		}
	}
}

func undeclared(tree []ast.Stmt, wrong func(string, ...any)) {
	builtin := []string{"KEYS", "ARGV", "redis", "string", "math", "table", "type", "tonumber", "ipairs", "unpack"}
	var look func(p *engine.FunctionProto)
	look = func(p *engine.FunctionProto) {
		for i, code := range p.Code {
			if op := int(code >> 26); op == engine.OP_GETGLOBAL || op == engine.OP_SETGLOBAL {
				if name := p.Constants[code&0x3ffff].String(); !slices.Contains(builtin, name) {
					wrong("nothing declares %s, line %d of its text", name, p.DbgSourcePositions[i])
				}
			}
		}
		for _, inner := range p.FunctionPrototypes {
			look(inner)
		}
	}
	p, err := engine.Compile(tree, "")
	if err != nil {
		wrong("it does not compile: %v", err)
		return
	}
	look(p)
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

// Some servers run scripts in Lua 5.4 and not, as Redis does, in 5.1.
func TestScriptsCompileUnderLua54(t *testing.T) {
	compiler, err := exec.LookPath("luac5.4")
	if err != nil {
		if os.Getenv("REQUIRE_REDIS") == "1" {
			t.Fatalf("REQUIRE_REDIS=1, and there is no luac5.4 (Debian package lua5.4): %v", err)
		}
		t.Skip("SKIPPED, the scripts are not compiled under Lua 5.4 (REQUIRE_REDIS=1 makes this a failure): there is no luac5.4, Debian package lua5.4")
	}
	for _, s := range All {
		cmd := exec.Command(compiler, "-p", "-")
		cmd.Stdin = strings.NewReader(s.Text())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", s.Name, err, out)
		}
	}
}
