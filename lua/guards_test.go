package lua

import (
	"regexp"
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// writers are the functions of a script that write, with the command by which they do.
type writers map[string]string

// writersOf finds them: those that call a command of the table that writes, or a
// function that does.
func writersOf(tree []ast.Stmt) writers {
	w := writers{}
	walk(tree, func(node any) {
		if local, is := node.(*ast.LocalAssignStmt); is && len(local.Exprs) == 1 {
			if f, is := local.Exprs[0].(*ast.FunctionExpr); is {
				if by := w.writes(f.Stmts); by != "" {
					w[local.Names[0]] = by
				}
			}
		}
	})
	return w
}

// writes returns a command that writes in a part of the script, the functions that are
// declared there left out; empty if there is none.
func (w writers) writes(node any) (by string) {
	declared := map[any]bool{}
	walk(node, func(node any) {
		if local, is := node.(*ast.LocalAssignStmt); is && len(local.Exprs) == 1 {
			if f, is := local.Exprs[0].(*ast.FunctionExpr); is {
				walk(f.Stmts, func(inner any) { declared[inner] = true })
			}
		}
		if c, is := node.(*ast.FuncCallExpr); is && !declared[c] && by == "" {
			by = w.call(c)
		}
	})
	return by
}

// call returns the command by which a call writes.
func (w writers) call(c *ast.FuncCallExpr) string {
	name, _, ok := commandOf(c)
	if !ok {
		return w[nameOf(c.Func)]
	}
	if command, known := find(name); known && command.writes && !asks(c) {
		return name
	}
	return ""
}

// guardCall is the name of a function that only looks at keys, so that one of another type
// stops the script.
var guardCall = regexp.MustCompile(`^(check_[a-z]+|read_change)$`)

// Not a refusal, or one that may come behind a write.
var afterWrites = map[string][]string{
	"":      {"OK", "NOTHING"},
	"lease": {"BUSY", "NOTFOUND"}, // behind a note of when to look again
}

// guards finds writes that stand before the last thing that can stop the script: Redis
// takes nothing back. It goes along each way through the script.
func guards(_ *program, s *script, wrong func(string, ...any)) {
	if s.Name == "commit" { // which takes back what it wrote
		return
	}
	g := guardian{writers: writersOf(s.tree), script: s, wrong: wrong}
	g.along(s.tree, "")
}

type guardian struct {
	writers
	script *script
	wrong  func(string, ...any)
}

// along follows statements. wrote is what was written before, and then what is written
// after; ends is whether none of the ways goes on behind them.
func (g *guardian) along(stmts []ast.Stmt, wrote string) (after string, ends bool) {
	for _, stmt := range stmts {
		switch stmt := stmt.(type) {
		case *ast.ReturnStmt:
			for _, e := range stmt.Exprs {
				g.returns(e, wrote)
			}
			return wrote, true
		case *ast.IfStmt:
			wrote = g.does(stmt.Condition, wrote, false)
			then, thenEnds := g.along(stmt.Then, g.does(stmt.Condition, wrote, true))
			other, otherEnds := g.along(stmt.Else, wrote)
			switch {
			case thenEnds && otherEnds:
				return "", true
			case thenEnds:
				wrote = other
			case otherEnds || then != "":
				wrote = then
			default:
				wrote = other
			}
		case *ast.DoBlockStmt:
			if wrote, ends = g.along(stmt.Stmts, wrote); ends {
				return wrote, true
			}
		case *ast.WhileStmt:
			wrote = g.loop(stmt.Stmts, g.does(stmt.Condition, wrote, true))
		case *ast.RepeatStmt:
			wrote = g.does(stmt.Condition, g.loop(stmt.Stmts, wrote), true)
		case *ast.NumberForStmt:
			wrote = g.loop(stmt.Stmts, g.does([]ast.Expr{stmt.Init, stmt.Limit}, wrote, true))
		case *ast.GenericForStmt:
			wrote = g.loop(stmt.Stmts, g.does(stmt.Exprs, wrote, true))
		case *ast.LocalAssignStmt:
			if len(stmt.Exprs) == 1 {
				if _, isFunction := stmt.Exprs[0].(*ast.FunctionExpr); isFunction {
					continue
				}
			}
			wrote = g.does(stmt, wrote, true)
		default:
			wrote = g.does(stmt, wrote, true)
		}
	}
	return wrote, false
}

// loop follows what may happen again.
func (g *guardian) loop(stmts []ast.Stmt, wrote string) string {
	after, _ := g.along(stmts, wrote)
	if after != wrote {
		after, _ = g.along(stmts, after)
	}
	return after
}

// does follows the calls in a part of a statement. Of those that are tried, and of
// which a condition asks whether they could be done, it takes notice if tried is set.
func (g *guardian) does(node any, wrote string, tried bool) string {
	walk(node, func(node any) {
		c, is := node.(*ast.FuncCallExpr)
		if !is {
			return
		}
		name := nameOf(c.Func)
		if guardCall.MatchString(name) && wrote != "" {
			g.wrong("%s in line %d of its text stands behind the write %s", name, c.Line(), wrote)
		}
		if by := g.call(c); by != "" && (tried || name != "redis.pcall") {
			wrote = by
		}
	})
	return wrote
}

// returns looks at what is returned: no refusal behind a write.
func (g *guardian) returns(e ast.Expr, wrote string) {
	walk(e, func(node any) {
		reply, is := node.(*ast.TableExpr)
		if !is || len(reply.Fields) < 2 || nameOf(reply.Fields[1].Value) != "now" {
			return
		}
		walk(reply.Fields[0].Value, func(node any) {
			text, is := node.(*ast.StringExpr)
			if is && wrote != "" && upper.MatchString(text.Value) &&
				!slices.Contains(afterWrites[""], text.Value) && !slices.Contains(afterWrites[g.script.Name], text.Value) {
				g.wrong("it refuses with %s in line %d of its text, behind the write %s", text.Value, reply.Line(), wrote)
			}
		})
	})
}
