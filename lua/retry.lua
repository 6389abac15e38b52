-- retry: has the head of a session tried again now, because somebody asked for it.
--
-- USES   clock deadline rights record list save audit bells life onward sweep calls ids hand act
-- KEYS   session inbox outbox events calls due waits bells log
-- ARGV   op deadline id bot digest reply take reset audit
--        take: 1 to take the session from its holder, which counts as a crash
--        reset: 1 to forget how often the head has failed
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now next                   due: there is work, and nobody holds the session
--        NOTFOUND now
--        MOVED now                     something else is at the head
--        INHAND now holder token       somebody has it in hand
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local next = string.match(before, '%a+$')
  return {'OK', now, {next}}
end
if not s or over then return {'NOTFOUND', now} end
if not is_head() then return {'MOVED', now} end
local held = s.lease > now and s.work == (digest == '' and 'reply' or 'event')
if held and take == '' then return {'INHAND', now, s.holder, s.token} end
check_due()
redis.call('HLEN', events)

if held then seize() end
if digest ~= '' then
  s.crashes = s.crashes + (held and 1 or 0)
  if reset == '1' then s.fails, s.crashes, s.backs, s.since = 0, 0, 0, 0 end
  s.wait = 0
else
  s.ocrashes = s.ocrashes + (held and 1 or 0)
  if reset == '1' then s.ofails, s.ocrashes, s.obacks, s.osince = 0, 0, 0, 0 end
  s.owait = 0
end
local next = proceed()
save({})
remember(next, sweep)
note_act()
return {'OK', now, {next}}
