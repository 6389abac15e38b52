-- create: makes a session with its private data, or says that it is there.
--
-- USES   clock deadline rights record list save tell watch bells life index enter sweep calls
-- KEYS   session inbox outbox calls waits index users expiry bells bots watch
-- ARGV   op deadline id bot state platform user own ttl data...
--        own is a time to live of the session's own in ms, or empty
--        data: field, value, ... of the hash
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now                        it was made
--        EXISTS now                    it was there
--        EXPIRED now                   the old session must be buried first
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return {'OK', now} end
if over or torn() then return {'EXPIRED', now} end
if s and not s.ended then return {'EXISTS', now} end
check_index()
enter(state, platform, user, own, ttl)
for i = data, #ARGV, 100 do -- bounded, as in save
  redis.call('HSET', session, unpack(ARGV, i, math.min(i + 99, #ARGV)))
end
remember('', sweep)
notice('created')
return {'OK', now}
