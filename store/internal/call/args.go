package call

import (
	"fmt"
	"strings"

	"github.com/botsession/botsession/lua"
)

// Args returns the arguments of a script behind the call's id and its deadline: name,
// value, name, value, ..., by all names in the script's header and in their order, and
// the rest, for which the header has one name that ends in dots. It panics on anything
// else, which is a mistake of the program.
func Args(script *lua.Script, named []string, rest ...[]string) []string {
	names, many := script.Args[2:], false
	if n := len(names); n > 0 && strings.HasSuffix(names[n-1], "...") {
		names, many = names[:n-1], true
	}
	size := 0
	for _, part := range rest {
		size += len(part)
	}
	if len(named) != 2*len(names) || size > 0 && !many {
		panic(fmt.Sprintf("call: %d words, and %d more, for %s.lua, which has %v", len(named), size, script.Name, script.Args))
	}
	args := make([]string, 0, len(names)+size)
	for i, name := range names {
		if named[2*i] != name {
			panic(fmt.Sprintf("call: %s in the place of %s for %s.lua", named[2*i], name, script.Name))
		}
		args = append(args, named[2*i+1])
	}
	for _, part := range rest {
		args = append(args, part...)
	}
	return args
}
