-- renew: keeps a lease for as long again, from now.
--
-- USES   clock deadline rights record
-- KEYS   session inbox outbox
-- ARGV   op deadline token lease
-- WRITES yes
-- FINAL  all
-- REPLY  OK now rec                    rec: the session's record, as it is now
--        FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

if not s or s.token ~= token or s.lease == 0 or over then return {'FENCED', now} end
s.lease = now + lease
save({})
return {'OK', now, s.rec}
