-- renew: keeps a lease for as long again, from now. What its holder does takes long, so
-- the session is listed among those in which something waits.
--
-- USES   clock deadline rights record list save bells
-- KEYS   session inbox outbox due waits bells
-- ARGV   op deadline id bot token lease
-- WRITES yes
-- FINAL  all
-- REPLY  OK now | FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

if not s or s.token ~= token or s.lease == 0 or over then return {'FENCED', now} end
check_due()
s.lease = now + lease
put_off()
list_wait(true)
save({})
return {'OK', now}
