-- dead: makes the head of the inbox, or of the outbox, a dead letter, with why,
-- and goes on. The letter holds the head as it was stored, so that no limit and no
-- codec of the caller stands in its way; nor does a line in events that cannot be
-- read, which is written anew. The change holds what stays in the session: the
-- user's message.
--
-- USES   clock deadline rights record list save tell watch bells life index moves change handout onward sweep calls ids hand done letter
-- KEYS   session history inbox outbox events calls file due waits index moves expiry bells letters dead watch
-- ARGV   op deadline id bot token digest want lease why keep most change...
--        for digest, why, keep and most see letter
-- WRITES yes
-- FINAL  all
-- REPLY  OK now next
--        FENCED now | GONE now         GONE: there is no session
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return answer({'OK', now}, still(token)) end
if not s then return {'GONE', now} end
if s.token ~= token or s.work ~= (digest == '' and 'reply' or 'event') then return {'FENCED', now} end
local c, l = read_change(), read_letters()
check_due()

local put = write_letter(l, c)
remember('', sweep)
local step = onward(want)
save(put)
notice('dead', digest)
return answer({'OK', now}, step)
