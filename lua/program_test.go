package lua

import (
	"fmt"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// A program is all scripts, and what must agree with them. The checks are functions of
// one, so that a test can change a copy and see that the change is noticed.
type program struct {
	files   fstest.MapFS // files are the scripts and the prelude, by their paths in this folder.
	readme  string
	layout  string // layout is ../store/layout.go, which has the types of the keys.
	callers callers
	places  *token.FileSet // places are those in the callers.
	scripts []script
}

// A script is one of a program, with its text taken apart.
type script struct {
	*Script
	head, body string // head and body are the header and the code of its own file.
	code       string // code is the text without comments and without the lines that declare the names.
	tree       []ast.Stmt
	uses       []string // uses are the words of its USES line.
	same       bool     // same is whether an edit has left it as it was.
}

// given returns the program as it is in this folder, loaded.
func given(t *testing.T) *program {
	t.Helper()
	p := &program{files: fstest.MapFS{}}
	for _, s := range All {
		p.scripts = append(p.scripts, script{Script: s})
	}
	for _, pattern := range []string{"*.lua", "prelude/*.lua"} {
		names, err := fs.Glob(files, pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, name := range names {
			p.files[name] = &fstest.MapFile{Data: []byte(read(files, name))}
		}
	}
	for path, text := range map[string]*string{"../README.md": &p.readme, "../store/layout.go": &p.layout} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		*text = string(content)
	}
	p.callers, p.places = parseCallers(t)
	if err := p.load(""); err != nil {
		t.Fatal(err)
	}
	return p
}

// edited returns a copy in which a file was changed, with those scripts alone that it
// is a part of, or with all if it is none; or why they cannot be loaded.
func (p *program) edited(t *testing.T, file, old, new string) (*program, error) {
	t.Helper()
	edit := func(text string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%s does not have the text %q any more", file, old)
		}
		return strings.Replace(text, old, new, 1)
	}
	q := *p
	switch file {
	case "README":
		q.readme = edit(p.readme)
		return &q, nil
	case "layout":
		q.layout = edit(p.layout)
		return &q, nil
	}
	q.files = maps.Clone(p.files)
	q.files[file] = &fstest.MapFile{Data: []byte(edit(string(p.files[file].Data)))}
	q.scripts = slices.Clone(p.scripts)
	return &q, q.load(file)
}

// load loads those scripts that the file is a part of, or all. It returns why it cannot.
func (p *program) load(file string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	piece := strings.TrimSuffix(strings.TrimPrefix(file, "prelude/"), ".lua")
	for i := range p.scripts {
		was := p.scripts[i]
		if file != "" && file != was.Name+".lua" && !slices.Contains(was.uses, piece) {
			p.scripts[i].same = true
			continue
		}
		s := script{Script: load(p.files, was.Name)}
		content := read(p.files, s.Name+".lua")
		s.head, _, _ = strings.Cut(content, "\n\n")
		s.body = code(content)
		s.uses = header(content, "USES")
		_, rest, _ := strings.Cut(s.Text(), "\n")
		_, rest, _ = strings.Cut(rest, "\n")
		s.code = code(rest)
		if s.tree, err = parse.Parse(strings.NewReader(s.Text()), s.Name); err != nil {
			return fmt.Errorf("%s does not parse: %v", s.Name, err)
		}
		p.scripts[i] = s
	}
	return nil
}

// A check returns what is wrong with a program.
type check func(p *program) []string

// each makes a check of one of a script.
func each(check func(p *program, s *script, wrong func(format string, args ...any))) check {
	return func(p *program) (found []string) {
		for i := range p.scripts {
			s := &p.scripts[i]
			if s.same {
				continue
			}
			check(p, s, func(format string, args ...any) {
				found = append(found, s.Name+": "+fmt.Sprintf(format, args...))
			})
		}
		return found
	}
}

// walk calls visit for a node of a tree, and for all that is in it.
func walk(node any, visit func(node any)) {
	walkValue(reflect.ValueOf(node), visit)
}

func walkValue(v reflect.Value, visit func(node any)) {
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			walkValue(v.Elem(), visit)
		}
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		visit(v.Interface())
		for i := range v.Elem().NumField() {
			if v.Elem().Type().Field(i).IsExported() && !v.Elem().Type().Field(i).Anonymous {
				walkValue(v.Elem().Field(i), visit)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			walkValue(v.Index(i), visit)
		}
	}
}

// commandOf returns the command that a call calls, by whatever name the function goes,
// and what it is given; ok is false for a call of something else.
func commandOf(c *ast.FuncCallExpr) (name string, args []ast.Expr, ok bool) {
	how := nameOf(c.Func)
	if !slices.Contains([]string{"redis.call", "redis.pcall", "redis.acl_check_cmd", "call", "try", "may"}, how) {
		return "", nil, false
	}
	if len(c.Args) > 0 {
		if text, is := c.Args[0].(*ast.StringExpr); is {
			return text.Value, c.Args[1:], true
		}
	}
	return "", nil, true
}

// nameOf returns a name, or two with a point between; empty for any other expression.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		return e.Value
	case *ast.AttrGetExpr:
		if key, is := e.Key.(*ast.StringExpr); is && nameOf(e.Object) != "" {
			return nameOf(e.Object) + "." + key.Value
		}
	}
	return ""
}

var keyForms = regexp.MustCompile(`(?m)^\t"([a-z]+)": +\{"[a-z]+", "([a-z]+)", of`)

// types returns the types of the keys, by their names in package store.
func (p *program) types() map[string]string {
	types := map[string]string{}
	for _, m := range keyForms.FindAllStringSubmatch(p.layout, -1) {
		types[m[1]] = m[2]
	}
	return types
}
