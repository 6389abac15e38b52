package lua

import (
	"strings"
	"testing"
)

// Each edit falsifies a script, its header, or what agrees with them. One of the
// checks must notice, or the scripts must not load.
func TestAFalseEditIsNoticed(t *testing.T) {
	p := given(t)
	for _, c := range []struct {
		name     string
		file     string // file is that of a script or of the prelude; README and layout stand for those.
		old, new string
		noticed  string // noticed is a part of what is said.
	}{
		{"an argument is read one too far", "commit.lua", "unpack(ARGV, all, first - 1)", "unpack(ARGV, all + 1, first - 1)", "counts from all on by a number"},
		{"arguments are read from a number on", "status.lua", "unpack(ARGV, fields)", "unpack(ARGV, 4)", "from a number on"},
		{"arguments are gone through from a number on", "move.lua", "for i = ids, #ARGV", "for i = 3, #ARGV", "from a number on"},
		{"an argument is read by its number", "renew.lua", "s.token ~= token or", "s.token ~= ARGV[4] or", "by a number"},
		{"two arguments change places in the header", "sent.lua", "-- ARGV   op deadline id bot token upto count", "-- ARGV   op deadline id bot upto token count", "its header has"},
		{"two arguments of a change change places", "prelude/change.lua", "-- ARGV   from ttl limit", "-- ARGV   ttl from limit", "its header has"},
		{"an argument is missing in the header", "look.lua", "bot kind most", "bot kind", "declares most"},
		{"an argument more is in the header", "renew.lua", "-- ARGV   op deadline id bot token lease", "-- ARGV   op deadline id bot token lease kind", "names kind"},
		{"the call's id is not the first argument", "load.lua", "op deadline newest", "deadline op newest", "not with op and deadline"},

		{"a reply's parts change places in the header", "settle.lua", "OK now first at backlog version next", "OK now first backlog at version next", "in the place of"},
		{"a reply's parts change places in the code", "load.lua", "hash, messages, waiting, unsent, first, chat}", "hash, messages, unsent, waiting, first, chat}", "in the place of"},
		{"a status has a part more in the header", "renew.lua", "-- REPLY  OK now | FENCED now", "-- REPLY  OK now till | FENCED now", "the header has [OK now till]"},
		{"a status has a part more in the code", "lease.lua", "return {'BUSY', now, s.lease}", "return {'BUSY', now, s.lease, s.work}", "4 parts"},
		{"a part of a reply has another name", "history.lua", "OK now first messages queued", "OK now first chat queued", "no reply OK has the names"},
		{"a status is not in the header", "file.lua", "--        NOTFOUND now\n", "", "REPLY does not say so"},
		{"a status of the header is never returned", "move.lua", "-- REPLY  OK now\n", "-- REPLY  OK now\n--        BUSY now\n", "never returns it"},
		{"what is next has a part less", "prelude/handout.lua", "s.osince, head, hash}", "s.osince, hash}", "parts"},
		{"what is next has parts in another order", "prelude/handout.lua", "-- NEXT   event token fails crashes backs", "-- NEXT   event token crashes fails backs", "in the place of"},
		{"what is next is not in the header", "accept.lua", "-- NEXT   hand rec hash", "-- NEXT   held rec hash", "no NEXT says so"},
		{"a part of a row has another name", "beat.lua", "there{name line}", "there{name text}", "reads line"},

		{"a write by ZREM before a guard", "settle.lua", "check_due()\n", "redis.call('ZREM', expiry, id)\ncheck_due()\n", "behind the write ZREM"},
		{"a write by PERSIST before a refusal", "change.lua", "if not s or s.ended or over then", "redis.call('PERSIST', history)\nif not s or s.ended or over then", "behind the write PERSIST"},
		{"a write by ZADD in a branch before a guard", "dead.lua", "check_due()\n", "if old > 0 then redis.call('ZADD', dead, now, id) end\ncheck_due()\n", "behind the write ZADD"},
		{"a write by a function before a refusal", "release.lua", "if s.token ~= token", "unhand()\nif s.token ~= token", "behind the write"},
		{"a write that is tried before a refusal", "accept.lua", "local call = call_end(op)\n", "local call = call_end(op)\nredis.pcall('HSET', session, 'x', '')\n", "behind the write HSET"},

		{"a script that writes says that it does not", "beat.lua", "-- WRITES losable", "-- WRITES no", "says that it writes"},
		{"a script that writes nothing says that it does", "tally.lua", "-- WRITES no", "-- WRITES yes\n-- FINAL  all", "says that it writes"},
		{"a script loses nothing and says that it may", "create.lua", "-- WRITES yes", "-- WRITES losable", "looks at its deadline"},
		{"WRITES has a word that it does not have", "sent.lua", "-- WRITES yes", "-- WRITES perhaps", "WRITES perhaps"},
		{"FINAL is missing", "destroy.lua", "-- FINAL  OK NOTHING\n", "", "no FINAL line"},
		{"FINAL has a status too many", "accept.lua", "-- FINAL  OK DUPLICATE", "-- FINAL  OK DUPLICATE FULL", "final is"},
		{"FINAL has a status that the script does not return", "create.lua", "-- FINAL  OK", "-- FINAL  OK DONE", "REPLY has not"},
		{"a refusal is final that is not", "change.lua", "-- FINAL  OK DUPLICATE", "-- FINAL  all", "final is"},

		{"a piece is missing", "outcome.lua", "list ids hand", "list ids", "declares in_hand"},
		{"the question for rights is missing", "release.lua", "clock deadline rights record", "clock deadline record", "NOPERM, the code never returns it"},
		{"the look at the deadline is missing", "settings.lua", "clock deadline", "clock", "LATE, the code never returns it"},
		{"pieces are in the wrong order", "renew.lua", "clock deadline rights record", "deadline clock rights record", "declares now"},
		{"a piece that nothing needs", "tally.lua", "-- USES   clock index", "-- USES   clock index moves", "nothing needs the piece moves"},

		{"a key is missing", "file.lua", "session inbox outbox file", "session inbox outbox", "declares file"},
		{"two keys change places in the code", "status.lua", "redis.call('LLEN', history)", "redis.call('LLEN', session)", "works on a list, session is a hash"},
		{"a key more is in the header", "tally.lua", "-- KEYS   index", "-- KEYS   index users", "names users"},
		{"package store has another type for a key", "layout", `"due", "zset", ofBot`, `"due", "list", ofBot`, "works on a zset, due is a list"},

		{"a command that nobody knows", "tally.lua", "return {'OK'", "redis.call('ZINCRBY', index, 1, '')\nreturn {'OK'", "nothing is known of"},
		{"a command that nobody knows, where rights are asked for", "renew.lua", "s.lease = now", "redis.call('INCR', session)\ns.lease = now", "nothing is known of"},
		{"a command of another type of key", "look.lua", "redis.call('ZREM', bells", "redis.call('HDEL', bells", "works on a hash, bells is a zset"},
		{"a command that the text does not name", "load.lua", "redis.call('LRANGE', history", "redis.call(newest, history", "does not name"},
		{"the probe does not try a command", "probe.lua", "try('HKEYS', session)\n", "", "does not try HKEYS"},
		{"the probe writes for one who only looks on", "probe.lua", "if writes ~= '1' then return {'OK', now, failed} end\n", "", "the probe"},
		{"the README lacks a right", "README", "+zrangebylex \\", "\\", "right to zrangebylex"},
		{"the README has a right too many", "README", "+persist ", "+persist +flushall ", "right to flushall"},
		{"what not every server has", "tally.lua", "return {'OK'", "redis.log(1, 'x')\nreturn {'OK'", "uses redis.log"},
	} {
		t.Run(c.name, func(t *testing.T) { // not in parallel: compiling a script changes its tree
			var found []string
			if edited, err := p.edited(t, c.file, c.old, c.new); err != nil {
				found = append(found, err.Error())
			} else {
				for _, c := range checks {
					found = append(found, c.check(edited)...)
				}
			}
			for _, wrong := range found {
				if strings.Contains(wrong, c.noticed) {
					return
				}
			}
			t.Errorf("found was %q, and nothing with %q", found, c.noticed)
		})
	}
}
