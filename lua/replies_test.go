package lua

import (
	"maps"
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// replies compares each reply that a script makes with the names in its header: how many
// parts it has, and, for those that are given as a variable or as a field of s, that
// a name of the header stands in its own place. Of each status there must be a reply
// in which all parts but one are so given, or it would not show if two had changed places.
func replies(_ *program, s *script, wrong func(string, ...any)) {
	named := map[string]bool{} // by the statuses that are returned, whether one of the replies gives its parts by name
	added := map[any]int{}     // the replies to which answer adds what is next
	walk(s.tree, func(node any) {
		if c, is := node.(*ast.FuncCallExpr); is && nameOf(c.Func) == "answer" {
			added[c.Args[0]] = 1
		}
		reply, is := node.(*ast.TableExpr)
		if !is || len(reply.Fields) < 2 || nameOf(reply.Fields[1].Value) != "now" {
			return
		}
		walk(reply.Fields[0].Value, func(node any) {
			text, is := node.(*ast.StringExpr)
			if !is || !upper.MatchString(text.Value) {
				return
			}
			names := s.Names(text.Value)
			if names == nil {
				wrong("it may return %s, the header's REPLY does not say so", text.Value)
				return
			}
			last := len(names) - 1
			unnamed := compare(names[:len(names)-added[reply]], reply, wrong)
			named[text.Value] = named[text.Value] || unnamed <= 1
			if names[last] == "next" && last < len(reply.Fields) {
				s.next(reply.Fields[last].Value, wrong)
			}
		})
	})
	for _, word := range slices.Sorted(maps.Keys(s.joined().names)) {
		names := s.Names(word)
		if i := slices.Index(names, "next"); i >= 0 && i != len(names)-1 {
			wrong("what is next is not the last part of %s", word)
		}
		if !upper.MatchString(word) {
			continue
		}
		if is, returned := named[word]; !returned {
			wrong("the header's REPLY has %s, the code never returns it", word)
		} else if !is {
			wrong("no reply %s has the names that the header has: %v", word, names)
		}
	}
	walk(s.tree, func(node any) {
		if next, is := node.(*ast.TableExpr); is && len(next.Fields) > 0 && nameOf(next.Fields[0].Value) == "s.work" {
			for _, work := range []string{"event", "reply", "update"} {
				compare(s.Names(work), next, wrong)
			}
		}
	})
}

// next looks at what is next in a reply, where that is a list with a word of its own.
func (s *script) next(e ast.Expr, wrong func(string, ...any)) {
	list, is := e.(*ast.TableExpr)
	if !is || len(list.Fields) == 0 {
		return
	}
	walk(list.Fields[0].Value, func(node any) {
		text, is := node.(*ast.StringExpr)
		if !is {
			return
		}
		if names := s.Names(text.Value); names != nil {
			compare(names, list, wrong)
		} else {
			wrong("next may be %s, no NEXT says so", text.Value)
		}
	})
}

// compare compares the parts of a list with their names, and returns how many are not
// given by their names; what is next does not count.
func compare(names []string, list *ast.TableExpr, wrong func(string, ...any)) (unnamed int) {
	if len(list.Fields) != len(names) {
		wrong("line %d of its text has %d parts, the header has %v", list.Line(), len(list.Fields), names)
		return 0
	}
	for i, field := range list.Fields[1:] {
		name := ""
		switch e := field.Value.(type) {
		case *ast.IdentExpr:
			name = e.Value
		case *ast.AttrGetExpr:
			if key, is := e.Key.(*ast.StringExpr); is {
				name = key.Value
			}
		}
		at := slices.Index(names, name)
		if at >= 0 && at != i+1 {
			wrong("line %d of its text has %s in the place of %s", list.Line(), name, names[i+1])
		}
		if at < 0 && names[i+1] != "next" {
			unnamed++
		}
	}
	return unnamed
}
