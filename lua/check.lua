-- check: reads in one moment what must fit together of one session. A key that is
-- of another type than it should be gives nothing. It writes nothing.
--
-- USES   clock
-- KEYS   session history inbox outbox events calls letters file index users expiry due waits bells dead
-- ARGV   op deadline id bot
-- WRITES no
-- REPLY  OK now keys{key type expiry size} hash scores{list score}
--                                      keys: of the session's own, in how many ms Redis drops the key,
--                                      negative for ever, and the length of a list; scores: empty where
--                                      it is not listed, "?" if the key is of another type

local keys = {}
local function examine(name, key)
  local type = redis.call('TYPE', key).ok
  keys[#keys + 1] = name
  keys[#keys + 1] = type
  keys[#keys + 1] = redis.call('PTTL', key)
  keys[#keys + 1] = type == 'list' and redis.call('LLEN', key) or 0
  return type
end
local is = examine('session', session)
examine('history', history)
examine('inbox', inbox)
examine('outbox', outbox)
examine('events', events)
examine('calls', calls)
examine('letters', letters)
examine('file', file)

local hash, field = {}, {}
if is == 'hash' then hash = redis.call('HGETALL', session) end
for i = 1, #hash, 2 do field[hash[i]] = hash[i + 1] end

local scores = {}
local function look(name, list, member)
  local score = redis.pcall('ZSCORE', list, member) or ''
  scores[#scores + 1] = name
  scores[#scores + 1] = type(score) == 'string' and score or '?'
end
look('index', index, id)
look('expiry', expiry, id)
look('due', due, id)
look('waits', waits, id)
look('bells', bells, 'h' .. bot .. '/' .. id)
look('dead', dead, id)
look('users', users, (field.user or '') .. '\0' .. id)
return {'OK', now, keys, hash, scores}
