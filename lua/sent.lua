-- sent: notes replies as sent and goes on: with more replies, with the next
-- event, or by giving the session back.
--
-- USES   clock deadline rights record list bells handout onward
-- KEYS   session inbox outbox due bells
-- ARGV   op deadline id bot token upto count want lease
--        upto is the name of the last reply that was sent, see list; it is number count of the outbox
-- WRITES yes
-- FINAL  all
-- REPLY  OK now next                   see handout; {ended}: the session's own turn ended it, bury it
--        FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

if not s then return {'FENCED', now} end
if s.token ~= token then
  if still() == 'idle' then return {'FENCED', now} end
  return answer({'OK', now}, s.work)
end
if s.work ~= 'reply' then return {'OK', now, {'idle'}} end -- noted before, and only the reply lost
check_due()

local last = redis.call('LINDEX', outbox, count - 1)
if last and is_reply(last, upto) then -- else it was noted before
  local all = tonumber(count) == unsent
  for _, reply in ipairs(all and {} or redis.call('LRANGE', outbox, 0, count - 1)) do s.obytes = s.obytes - #reply end
  redis.call('LTRIM', outbox, count, -1)
  unsent = unsent - count
  if all then s.obytes = 0 end
  s.ofails, s.ocrashes, s.obacks, s.owait, s.osince = 0, 0, 0, 0, 0
end
local step = onward(want)
save({})
return answer({'OK', now}, step)
