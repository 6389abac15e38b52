-- create: makes a session, or says that it is there.
--
-- USES   clock record write index calls watch
-- KEYS   session inbox outbox calls activity names counts expiry bots watch
-- ARGV   op deadline id bot state platform user own ttl
--        own is a time to live of the session's own in ms, or empty
-- REPLY  OK now created
--        EXPIRED now                   the old session must be buried first
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local before, sweep = seen(op)
if before then return {'OK', now, 1} end
local s, refusal = read(session)
if refusal then return refusal end
if s and not gone(s, inbox, outbox) and not s.ended then return {'OK', now, 0} end
if s and gone(s, inbox, outbox) or not s and torn(id) then return {'EXPIRED', now} end
if s then -- ended by its own turn, with replies still to be sent: it lives again
  redis.call('HDEL', session, 'end')
else
  check_enter()
  s = enter(id, bot, state, platform, user, own, ttl)
end
remember(op, deadline, '', sweep)
notice('created', id, s)
return {'OK', now, 1}
