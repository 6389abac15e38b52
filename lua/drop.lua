-- drop: drops all events of a session that wait, because somebody asked for it. One that
-- is in hand stays.
--
-- USES   clock deadline rights record list save audit tell watch bells life onward sweep calls ids hand act
-- KEYS   session inbox outbox events calls due waits bells watch log
-- ARGV   op deadline id bot count audit
--        count: so many wait, without the one in hand
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now next                   due: there is work, and nobody holds the session
--        NOTFOUND now
--        OTHERS now waiting            so many wait now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local next = string.match(before, '%a+$')
  return {'OK', now, {next}}
end
if not s or over then return {'NOTFOUND', now} end
local held = s.work == 'event' and s.lease > now
local queued = waiting - (held and 1 or 0)
if queued ~= tonumber(count) then return {'OTHERS', now, queued} end
check_due()
redis.call('HLEN', events)

frees()
if not held then unhand() end
local stays = held and not in_hand() and 1 or 0 -- so many in the inbox
local dropped = redis.call('LRANGE', inbox, stays, -1)
if stays == 1 then redis.call('LTRIM', inbox, 0, 0) else redis.call('DEL', inbox) end
drop_lines(dropped)
for _, element in ipairs(dropped) do s.bytes = s.bytes - #element end
waiting, s.moved = held and 1 or 0, true
if not held then s.bytes, s.fails, s.crashes, s.backs, s.wait, s.since = 0, 0, 0, 0, 0, 0 end
local next = proceed()
save({})
remember(next, sweep)
notice('changed')
note_act()
return {'OK', now, {next}}
