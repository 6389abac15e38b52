package store

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/store/internal/redistest"
)

// An engine is a server whose scripts go by a clock of the test's.
type engine interface {
	begin(t *testing.T, now time.Time) redis.UniversalClient // begin makes it an empty one
	at(now time.Time, passed time.Duration)                  // at sets its clock, and drops the keys whose time is over
	time() string                                            // time is how its scripts ask for the time
	keys() map[string]stands
}

// stands is what is stored under a key.
type stands struct {
	fields map[string]string // fields are those of a hash
	values []string          // values are what a key of another type has, in order
	until  string            // until is when Redis drops it; empty for never
}

func (s stands) equal(as stands) bool {
	return s.until == as.until && slices.Equal(s.values, as.values) && maps.Equal(s.fields, as.fields)
}

// A simulated engine is a miniredis.
type simulated struct{ *miniredis.Miniredis }

func newSimulated(t *testing.T) simulated { return simulated{miniredis.RunT(t)} }

func (s simulated) begin(t *testing.T, now time.Time) redis.UniversalClient {
	s.SetTime(now)
	return client(t, "redis://"+s.Addr())
}

func (s simulated) at(now time.Time, passed time.Duration) {
	if passed > 0 {
		s.FastForward(passed)
	}
	s.SetTime(now)
}

func (s simulated) keys() map[string]stands {
	db, all := s.DB(0), map[string]stands{}
	for _, key := range s.Keys() {
		var has stands
		switch db.Type(key) {
		case "hash":
			has.fields = map[string]string{}
			names, _ := db.HKeys(key)
			for _, field := range names {
				has.fields[field] = db.HGet(key, field)
			}
		case "list":
			has.values, _ = db.List(key)
		case "zset":
			set, _ := db.SortedSet(key)
			has.values = []string{fmt.Sprint(set)}
		case "string":
			text, _ := db.Get(key)
			has.values = []string{text}
		}
		if life := db.TTL(key); life > 0 {
			has.until = life.String()
		}
		all[key] = has
	}
	return all
}

// A real engine is a server whose scripts read the time from a key.
type real struct {
	*testing.T
	url    string
	client redis.UniversalClient
}

const clockKey = "clock"

func newReal(t *testing.T) real {
	url := redistest.Single(t)
	r := real{T: t, url: url, client: client(t, url)}
	if err := r.client.PExpireTime(t.Context(), clockKey).Err(); err != nil {
		if os.Getenv("REQUIRE_REDIS") == "1" {
			t.Fatal("REQUIRE_REDIS=1, and the server does not tell until when it keeps a key: it must be Redis 7 or Valkey: ", err)
		}
		t.Skip("SKIPPED, the two ways of a turn are not compared on servers (REQUIRE_REDIS=1 makes this a failure): the server does not tell until when it keeps a key: ", err)
	}
	return r
}

func (r real) begin(t *testing.T, now time.Time) redis.UniversalClient {
	noError(t, r.client.FlushAll(t.Context()).Err())
	r.at(now, 0)
	return client(t, r.url)
}

func (r real) at(now time.Time, _ time.Duration) {
	noError(r.T, r.client.Eval(r.Context(), `
		redis.call('DEL', KEYS[1])
		redis.call('RPUSH', KEYS[1], ARGV[1], ARGV[2])
		for _, key in ipairs(redis.call('KEYS', '*')) do
			local ends = redis.call('PEXPIRETIME', key)
			if ends >= 0 and ends <= tonumber(ARGV[3]) then redis.call('DEL', key) end
		end
		return 'OK'`, []string{clockKey}, now.Unix(), now.Nanosecond()/1000, now.UnixMilli()).Err())
}

func (r real) keys() map[string]stands {
	rows, err := r.client.Eval(r.Context(), `
		local read, rows = {
			hash = function(key) return redis.call('HGETALL', key) end,
			list = function(key) return redis.call('LRANGE', key, 0, -1) end,
			zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
			string = function(key) return {redis.call('GET', key)} end,
		}, {}
		for i, key in ipairs(redis.call('KEYS', '*')) do
			local typ = redis.call('TYPE', key).ok
			rows[i] = {key, typ, redis.call('PEXPIRETIME', key), read[typ](key)}
		end
		return rows`, nil).Slice()
	noError(r.T, err)
	all := map[string]stands{}
	for _, row := range rows {
		row := row.([]any)
		var has stands
		for _, value := range row[3].([]any) {
			has.values = append(has.values, value.(string))
		}
		if row[1] == "hash" {
			has.fields = map[string]string{}
			for pair := range slices.Chunk(has.values, 2) {
				has.fields[pair[0]] = pair[1]
			}
			has.values = nil
		}
		if until := row[2].(int64); until >= 0 {
			has.until = fmt.Sprint(until)
		}
		all[row[0].(string)] = has
	}
	return all
}

// scriptTime is how scripts ask for the time, once in each.
const scriptTime = "redis.call('TIME')"

func (simulated) time() string { return scriptTime }
func (real) time() string      { return "redis.call('LRANGE', '" + clockKey + "', 0, 1)" }

// A road is a client's way to an engine.
type road struct {
	time  string // time is how scripts ask for the time.
	again bool   // again is whether the first reply of the next script is lost, so that it is sent again.
}

func (r *road) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *road) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return r.carry([]redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
	}
}

func (r *road) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return r.carry(cmds, func() error { return next(ctx, cmds) })
	}
}

func (r *road) carry(cmds []redis.Cmder, next func() error) error {
	scripts := false
	for _, cmd := range cmds {
		args := cmd.Args()
		i := slices.IndexFunc(lua.All, func(s *lua.Script) bool { return len(args) > 1 && (args[1] == s.SHA() || args[1] == s.Text()) })
		if i < 0 {
			continue
		}
		scripts = true
		if r.time != scriptTime {
			args[0], args[1] = "eval", strings.Replace(lua.All[i].Text(), scriptTime, r.time, 1)
		}
	}
	err := next()
	if scripts && r.again && err == nil {
		r.again = false
		err = next()
	}
	return err
}
