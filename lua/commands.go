package lua

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A command is one that the scripts, or package store, call on a key.
type command struct {
	name   string
	typ    string // typ is the type that its key must have; empty for any, and for a command without a key.
	writes bool   // writes is whether a user who only looks on does without it.

	// early is true of a command for whose right no script asks beforehand: none calls
	// it for the first time after its first write, or its failure there undoes nothing.
	early bool

	// behind is what stands behind the key when a script asks for the right. It must be
	// there: Redis looks for the key in the arguments as if they were whole, and reads
	// past their end.
	behind string
}

// commands has every command there is. The question for the right, the commands that
// probe.lua tries, the rights in README.md and the types of the keys agree with it.
var commands = []command{
	{name: "TIME", early: true},
	{name: "EXISTS", early: true},
	{name: "TYPE", early: true},
	{name: "PTTL"},
	{name: "HGET", typ: "hash", behind: ", ''"},
	{name: "HMGET", typ: "hash", early: true},
	{name: "HGETALL", typ: "hash"},
	{name: "HKEYS", typ: "hash"},
	{name: "HSCAN", typ: "hash", early: true},
	{name: "HLEN", typ: "hash", early: true},
	{name: "LLEN", typ: "list", early: true},
	{name: "LRANGE", typ: "list", behind: ", '0', '0'"},
	{name: "LINDEX", typ: "list", behind: ", '0'"},
	{name: "GET", typ: "string", early: true},
	{name: "ZCARD", typ: "zset", early: true},
	{name: "ZCOUNT", typ: "zset", early: true},
	{name: "ZSCORE", typ: "zset", early: true},
	{name: "ZRANGE", typ: "zset", behind: ", '0', '0'"},
	{name: "ZRANGEBYSCORE", typ: "zset", early: true},
	{name: "ZREVRANGEBYSCORE", typ: "zset", early: true},
	{name: "ZRANGEBYLEX", typ: "zset", early: true},

	{name: "DEL", writes: true},
	{name: "PERSIST", writes: true},
	{name: "PEXPIRE", writes: true, behind: ", '0'"},
	{name: "PEXPIREAT", writes: true, behind: ", '0'"},
	{name: "HSET", typ: "hash", writes: true, behind: ", '', ''"},
	{name: "HSETNX", typ: "hash", writes: true, behind: ", '', ''"},
	{name: "HDEL", typ: "hash", writes: true, behind: ", ''"},
	{name: "HINCRBY", typ: "hash", writes: true, behind: ", '', '0'"},
	{name: "LPUSH", typ: "list", writes: true, behind: ", ''"},
	{name: "RPUSH", typ: "list", writes: true, behind: ", ''"},
	{name: "LPOP", typ: "list", writes: true},
	{name: "LREM", typ: "list", writes: true, behind: ", '0', ''"},
	{name: "LTRIM", typ: "list", writes: true, behind: ", '0', '0'"},
	{name: "SET", typ: "string", writes: true, behind: ", ''"},
	{name: "ZADD", typ: "zset", writes: true, behind: ", '0', ''"},
	{name: "ZREM", typ: "zset", writes: true, behind: ", ''"},
	{name: "ZREMRANGEBYSCORE", typ: "zset", writes: true, behind: ", '0', '0'"},
	{name: "PUBLISH", writes: true, early: true},
}

// find returns what is to be known of a command.
func find(name string) (c command, known bool) {
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return commands[i], true
}

// rightsHere is the line of prelude/rights.lua in whose place rights stands.
const rightsHere = "-- (a line for each command)\n"

var calls = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bredis\.p?call\('([A-Z]+)'`) })

// rights writes, for each command that a script calls when it may have written
// something already, the line that asks for the right to it, on the key of that name.
func rights(text, key string) string {
	var lines strings.Builder
	var seen []string
	for _, m := range calls().FindAllStringSubmatch(text, -1) {
		c, known := find(m[1])
		if !known {
			panic(fmt.Sprintf("lua: nothing is known of the command %s", m[1]))
		}
		if c.early || slices.Contains(seen, c.name) {
			continue
		}
		seen = append(seen, c.name)
		fmt.Fprintf(&lines, "  if not may('%s', %s%s) then return {'NOPERM', now, '%s'} end\n", c.name, key, c.behind, c.name)
	}
	return lines.String()
}
