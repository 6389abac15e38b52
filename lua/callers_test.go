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
