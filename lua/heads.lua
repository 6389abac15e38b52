-- heads: reads some fields of a session, how long its lists are, and what is first of
-- its inbox and of its outbox, in one moment. It writes nothing. A session that is over
-- is not found, but for one that ended with replies that are not sent yet.
--
-- USES   clock record list hand
-- KEYS   session history inbox outbox
-- ARGV   op deadline fields...
-- WRITES no
-- REPLY  OK now values messages waiting unsent event reply     values: in the order of the fields; event and reply: empty if there is none
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or over or s.ended and unsent == 0 then return {'NOTFOUND', now} end
local values = redis.call('HMGET', session, unpack(ARGV, fields))
local digest, when, _, held = in_hand()
local event = digest and inbox_element(digest, stamp(when), held) or redis.call('LINDEX', inbox, 0) or ''
local reply = redis.call('LINDEX', outbox, 0) or ''
return {'OK', now, values, redis.call('LLEN', history), waiting, unsent, event, reply}
