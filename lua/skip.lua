-- skip: makes the head of a session a dead letter, because somebody asked for it, also
-- if it is in hand: then its holder is fenced.
--
-- USES   clock deadline rights record list save audit tell watch bells life index moves change onward sweep calls ids hand done letter act
-- KEYS   session history inbox outbox events calls file due waits index moves expiry bells letters dead watch log
-- ARGV   op deadline id bot digest reply why keep most audit change...
--        for digest, why, keep and most see letter; reply: the name of the reply if digest is empty
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now next                   due: there is work, and nobody holds the session
--        NOTFOUND now
--        MOVED now                     something else is at the head
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local next = string.match(before, '%a+$')
  return {'OK', now, {next}}
end
if not s or over then return {'NOTFOUND', now} end
if not is_head() then return {'MOVED', now} end
local c, l = read_change(), read_letters()
check_due()

frees()
if s.work == (digest == '' and 'reply' or 'event') then seize() end
local put = write_letter(l, c)
local next = proceed()
save(put)
remember(next, sweep)
notice('dead', digest)
note_act()
return {'OK', now, {next}}
