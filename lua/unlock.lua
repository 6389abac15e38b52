-- unlock: takes a session from the replica, or the Update, that holds it, because
-- somebody asked for it. What it had in hand is due at once, and one crash is counted.
--
-- USES   clock deadline rights record list save audit bells life onward sweep calls ids hand act
-- KEYS   session inbox outbox events calls due waits bells log
-- ARGV   op deadline id bot token audit
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now next                   due: there is work, and nobody holds the session
--        NOTFOUND now
--        RELEASED now holder under     another holds it now; both are empty if nobody does
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local next = string.match(before, '%a+$')
  return {'OK', now, {next}}
end
if not s or over then return {'NOTFOUND', now} end
local held = s.lease > now
if not held or s.token ~= token then
  local holder, under = '', ''
  if held then holder, under = s.holder, s.token end
  return {'RELEASED', now, holder, under}
end
check_due()
redis.call('HLEN', events)

local work = seize()
if work == 'event' then s.crashes = s.crashes + 1 end
if work == 'reply' then s.ocrashes = s.ocrashes + 1 end
local next = proceed()
save({})
remember(next, sweep)
note_act()
return {'OK', now, {next}}
