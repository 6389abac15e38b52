package lua

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A callers is package store and its package call, which run the scripts.
type callers []*ast.File

// parseCallers reads them.
func parseCallers(t *testing.T) (all callers, set *token.FileSet) {
	t.Helper()
	set = token.NewFileSet()
	for _, pattern := range []string{"../store/*.go", "../store/internal/call/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, file)
		}
	}
	return all, set
}

// reads finds names by which package store reads replies and that no header has.
func reads(p *program) (found []string) {
	var names []string
	for _, s := range p.scripts {
		for _, of := range s.joined().names {
			names = append(names, of...)
		}
	}
	n := 0
	for _, file := range p.callers {
		ast.Inspect(file, func(node ast.Node) bool {
			c, is := node.(*ast.CallExpr)
			if !is || len(c.Args) != 1 {
				return true
			}
			method, is := c.Fun.(*ast.SelectorExpr)
			if !is || !slices.Contains([]string{"Text", "Int", "List", "Texts", "Rows", "Has"}, method.Sel.Name) {
				return true
			}
			if text, is := c.Args[0].(*ast.BasicLit); is && text.Kind == token.STRING {
				n++
				if name, _ := strconv.Unquote(text.Value); !slices.Contains(names, name) {
					found = append(found, fmt.Sprintf("%s reads %s, which no script returns", p.places.Position(c.Pos()), name))
				}
			}
			return true
		})
	}
	if n < 40 {
		found = append(found, fmt.Sprintf("only %d places were found that read a reply", n))
	}
	return found
}

// asked compares the arguments that package store gives each script, by name, with its
// header: their names, and their order.
func asked(p *program) (found []string) {
	headers := map[string][]string{}
	for _, s := range p.scripts {
		for _, name := range s.Args[2:] { // behind op and deadline
			if !strings.HasSuffix(name, "...") {
				headers[s.Name] = append(headers[s.Name], name)
			}
		}
	}
	var change []string // what the method wire names
	for _, file := range p.callers {
		for _, decl := range file.Decls {
			if f, is := decl.(*ast.FuncDecl); is && f.Name.Name == "wire" {
				change = namesIn(f)
			}
		}
	}
	times := map[string]int{}
	for _, file := range p.callers {
		ast.Inspect(file, func(node ast.Node) bool {
			c, is := node.(*ast.CallExpr)
			if !is || len(c.Args) < 2 {
				return true
			}
			f, isAsk := c.Fun.(*ast.Ident)
			script, isScript := c.Args[0].(*ast.SelectorExpr)
			if !isAsk || f.Name != "ask" || !isScript {
				return true
			}
			name := strings.ToLower(script.Sel.Name)
			times[name]++
			names := namesIn(c.Args[1])
			if _, joined := c.Args[1].(*ast.CallExpr); joined {
				names = append(names, change...)
			}
			if want := headers[name]; !slices.Equal(names, want) {
				found = append(found, fmt.Sprintf("%s gives %s %v, its header has %v", p.places.Position(c.Pos()), name, names, want))
			}
			return true
		})
	}
	for _, s := range p.scripts {
		if times[s.Name] == 0 {
			found = append(found, "nobody asks "+s.Name)
		}
	}
	return found
}

// namesIn returns every other element of the first list of strings in a node: the names
// before the values.
func namesIn(node ast.Node) (names []string) {
	done := false
	ast.Inspect(node, func(node ast.Node) bool {
		list, is := node.(*ast.CompositeLit)
		if !is || done {
			return !done
		}
		for i := 0; i < len(list.Elts); i += 2 {
			text, is := list.Elts[i].(*ast.BasicLit)
			if !is || text.Kind != token.STRING {
				return true
			}
			name, _ := strconv.Unquote(text.Value)
			names = append(names, name)
		}
		done = true
		return false
	})
	return names
}
