-- check: reads in one moment what must fit together of one session. A key that is
-- of another type than it should be gives nothing. It writes nothing.
--
-- USES   clock
-- KEYS   session history inbox outbox events calls letters file index users expiry due bells dead
-- ARGV   op deadline id bot
-- WRITES no
-- REPLY  OK now {type expiry size ...} hash scores
--                                      of the first eight keys: type, how long until Redis drops
--                                      the key in ms, negative for ever, and the length of a list;
--                                      scores: in index, expiry, due, bells, dead and users; empty where
--                                      it is not listed, "?" if the key is of another type

local keys = {}
for _, key in ipairs({session, history, inbox, outbox, events, calls, letters, file}) do
  keys[#keys + 1] = redis.call('TYPE', key).ok
  keys[#keys + 1] = redis.call('PTTL', key)
  keys[#keys + 1] = keys[#keys - 1] == 'list' and redis.call('LLEN', key) or 0
end

local hash, field = {}, {}
if keys[1] == 'hash' then hash = redis.call('HGETALL', session) end
for i = 1, #hash, 2 do field[hash[i]] = hash[i + 1] end

local scores = {}
local function look(list, member)
  local score = redis.pcall('ZSCORE', list, member) or ''
  scores[#scores + 1] = type(score) == 'string' and score or '?'
end
look(index, id)
look(expiry, id)
look(due, id)
look(bells, 'h' .. bot .. '/' .. id)
look(dead, id)
look(users, (field.user or '') .. '\0' .. id)
return {'OK', now, keys, hash, scores}
