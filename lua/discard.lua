-- discard: removes a dead letter, because somebody asked for it. Its session need not be
-- there any more.
--
-- USES   clock deadline rights list audit sweep calls letter
-- KEYS   letters calls dead log
-- ARGV   op deadline id letter audit
--        letter: its stamp
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now
--        NOLETTER now                  there is none with that stamp
--        LATE now | NOPERM now command

local before, sweep = seen()
if before then return {'OK', now} end
local found = find_letter(letter)
if not found then return {'NOLETTER', now} end
redis.call('ZCARD', dead)

take_letter(found)
remember('', sweep)
note_act()
return {'OK', now}
