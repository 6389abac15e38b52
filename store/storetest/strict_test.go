package storetest_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// Some servers refuse a script that touches a key which is not in its KEYS, and some
// then run it in parallel with what it disturbs. So the suite runs once with scripts in
// which each command's key is looked for there.
func TestConformanceStrictKeys(t *testing.T) {
	t.Parallel()
	connected := connect(redistest.Single(t))
	client := connected(t)
	defer client.Close()
	var names []string // each script's, and behind it that of the strict one
	for _, script := range lua.All {
		sha, err := client.ScriptLoad(t.Context(), strictly(script.Name, script.Text())).Result()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, script.SHA(), sha)
	}
	t.Run("suite", func(t *testing.T) {
		storetest.Conformance(t, func(t testing.TB) redis.UniversalClient {
			client := connected(t)
			client.AddHook(renaming{strings.NewReplacer(names...)})
			return client
		})
	})
	ran := client.SMembers(t.Context(), "strict:ran").Val()
	for _, script := range lua.All {
		// alone is for servers of other engines, and move for bots that no replica of a store serves.
		if !slices.Contains(ran, script.Name) && script != lua.Alone && script != lua.Move {
			t.Errorf("the suite never ran %s", script.Name)
		}
	}
	for _, miss := range client.SMembers(t.Context(), "strict:missed").Val() {
		t.Error(miss)
	}
}

func TestTheStrictKeysAreStrict(t *testing.T) {
	t.Parallel()
	client := connect(redistest.Single(t))(t)
	defer client.Close()
	for text, missed := range map[string]string{
		"redis.call('SET', KEYS[1], 'x')":                    "",
		"redis.call('DEL', KEYS[1], KEYS[2])":                "",
		"redis.call('TIME')":                                 "",
		"redis.sha1hex('other')":                             "",
		"redis.call('SET', 'other', 'x')":                    "SET other",
		"redis.call('DEL', KEYS[1], 'other')":                "DEL other",
		"redis.pcall('HGET', KEYS[1] .. 'x', 'field')":       "HGET onex",
		"redis.call('HSET', ARGV[1], 'field', KEYS[1])":      "HSET arg",
		"redis.acl_check_cmd('HSET', ARGV[1], 'field', 'x')": "HSET arg",
	} {
		err := client.Eval(t.Context(), strictly("name", "local x = "+text+" return 'OK'"), []string{"one", "two"}, "arg").Err()
		said := client.SPop(t.Context(), "strict:missed").Val()
		if want := "name: " + missed + " is not in KEYS"; missed == "" && (err != nil || said != "") || missed != "" && (err == nil || said != want) {
			t.Errorf("%s: %v, and it notes %q, want %q", text, err, said, missed)
		}
	}
}

// strictly returns a script in which a command on a key that is not in KEYS is an error,
// and noted. No command that scripts call has several keys but for DEL and EXISTS. (It is
// noted with the test's own rights, or not: a user with fewer sees the error alone.)
func strictly(name, text string) string {
	return `redis.pcall('SADD', 'strict:ran', '` + name + `')
local redis = (function(real)
  local declared = {}
  for _, key in ipairs(KEYS) do declared[key] = true end
  local function strictly(name)
    return function(command, ...)
      local keys = (command == 'DEL' or command == 'EXISTS') and 99 or 1
      if command == 'TIME' or command == 'PUBLISH' then keys = 0 end
      for i, key in ipairs({...}) do
        if i <= keys and not declared[key] then
          local miss = '` + name + `: ' .. command .. ' ' .. key .. ' is not in KEYS'
          real.pcall('SADD', 'strict:missed', miss)
          error(miss)
        end
      end
      return real[name](command, ...)
    end
  end
  return {call = strictly('call'), pcall = strictly('pcall'), sha1hex = real.sha1hex,
    acl_check_cmd = real.acl_check_cmd and strictly('acl_check_cmd')}
end)(redis)
` + text
}

// A renaming hook asks for other scripts under names that are as long. It does so on the
// connections: the suite's own hooks know the scripts by their names.
type renaming struct{ names *strings.Replacer }

func (r renaming) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return renamed{conn, r.names}, nil
	}
}

func (renaming) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (renaming) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

type renamed struct {
	net.Conn
	names *strings.Replacer
}

// Write may be given a part of a name, at the end of what fits into the client's buffer:
// then the script runs as it is.
func (r renamed) Write(b []byte) (int, error) {
	return r.Conn.Write([]byte(r.names.Replace(string(b))))
}
