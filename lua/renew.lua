-- renew: keeps a lease for as long again, from now.
--
-- USES   clock record
-- KEYS   session inbox outbox
-- ARGV   op deadline token lease
-- REPLY  OK now
--        FENCED now
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read()
if refusal then return refusal end
if not s or s.token ~= token or s.lease == 0 or gone(s) then return {'FENCED', now} end
s.lease = now + lease
save(s, {})
return {'OK', now}
