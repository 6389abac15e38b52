-- create: makes a session, or says that it is there.
--
-- USES   clock record watch life index calls
-- KEYS   session inbox outbox calls activity names expiry bots watch
-- ARGV   op deadline id bot state platform user own ttl
--        own is a time to live of the session's own in ms, or empty
-- REPLY  OK now created
--        EXPIRED now                   the old session must be buried first
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local before, sweep = seen(op)
if before then return {'OK', now, 1} end
local s, refusal = read()
if refusal then return refusal end
if s and gone(s) or not s and torn(id) then return {'EXPIRED', now} end
if s and not s.ended then return {'OK', now, 0} end
check_index()
s = enter(s, id, bot, state, platform, user, own, ttl)
remember(op, deadline, '', sweep)
notice('created', id, s)
return {'OK', now, 1}
