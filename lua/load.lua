-- load: reads a session as it is, without its chat. It writes nothing.
--
-- USES   clock record
-- KEYS   session history inbox outbox
-- ARGV   op deadline
-- WRITES no
-- REPLY  OK now hash messages waiting unsent
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or s.ended or over then return {'NOTFOUND', now} end
return {'OK', now, redis.call('HGETALL', session), redis.call('LLEN', history), waiting, unsent}
