-- probe: tries each command that the store and its scripts call, on keys that
-- nobody has, and leaves nothing behind. What a user may not do shows here,
-- before it can leave a script half done.
--
-- USES   clock
-- KEYS   session inbox file due
-- ARGV   op deadline id channel writes
--        writes: 1 to try the commands that write, too
-- WRITES no
-- REPLY  OK now failed{command error}

local failed = {}
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    failed[#failed + 1] = command
    failed[#failed + 1] = answer.err
  end
end

try('EXISTS', session)
try('TYPE', session)
try('PTTL', session)
try('HGET', session, 'state')
try('HMGET', session, 'state')
try('HGETALL', session)
try('HKEYS', session)
try('HSCAN', session, 0)
try('HLEN', session)
try('LLEN', inbox)
try('LRANGE', inbox, 0, -1)
try('LINDEX', inbox, 0)
try('GET', file)
try('ZCARD', due)
try('ZCOUNT', due, 0, 0)
try('ZSCORE', due, id)
try('ZRANGE', due, 0, 0)
try('ZREVRANGEBYSCORE', due, 0, 0)
try('ZRANGEBYSCORE', due, 0, 0)
try('ZRANGEBYLEX', due, '[a', '[a')
if writes ~= '1' then return {'OK', now, failed} end

-- First those that find nothing to do: also those that clean up.
local before = #failed
try('DEL', session)
try('ZREM', due, id)
if #failed > before then return {'OK', now, failed} end
try('HDEL', session, 'state')
try('LPOP', inbox)
try('LREM', inbox, 0, '')
try('LTRIM', inbox, 0, -1)
try('ZREMRANGEBYSCORE', due, 0, 0)
try('PERSIST', session)
try('PEXPIRE', session, 1000)
try('PEXPIREAT', session, now + 1000)
try('HSET', session, 'state', 'start')
try('HSETNX', session, 'state', 'start')
try('HINCRBY', session, 'seq', 1)
try('RPUSH', inbox, 'event')
try('LPUSH', inbox, 'event')
try('SET', file, 'bytes')
try('ZADD', due, 1, id)
try('PUBLISH', channel, '')
redis.call('DEL', session, inbox, file)
redis.call('ZREM', due, id)
return {'OK', now, failed}
