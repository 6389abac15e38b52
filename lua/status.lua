-- status: reads some fields of a session and how long its lists are, in one
-- moment. It writes nothing. A session that is over is not found, but for one that
-- ended with replies that are not sent yet.
--
-- USES   clock record
-- KEYS   session history inbox outbox
-- ARGV   op deadline fields...
-- WRITES no
-- REPLY  OK now values messages waiting unsent     values: in the order of the fields
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or over or s.ended and unsent == 0 then return {'NOTFOUND', now} end
local values = redis.call('HMGET', session, unpack(ARGV, fields))
return {'OK', now, values, redis.call('LLEN', history), waiting, unsent}
