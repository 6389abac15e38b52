-- sent: notes replies as sent and goes on: with more replies, with the next
-- event, or by giving the session back.
--
-- Its first lines do so for a session that is, byte for byte, as its holder knows it:
-- all its replies are sent, and nothing waits.
--
-- USES   clock deadline | rights record list save bells handout onward
-- KEYS   session inbox outbox due waits bells
-- ARGV   op deadline id bot token upto count want lease rec after
--        upto is the name of the last reply that was sent, see list; it is number count of the outbox
--        rec is the record that the holder knows, and after what it becomes when these were the last replies;
--        both are empty if there is more to do
-- WRITES yes
-- FINAL  all
-- REPLY  OK now next
--        FENCED now | GONE now         GONE: there is no session
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field
-- NEXT   after                         done by the first lines: the record is after

if rec ~= '' and redis.pcall('HGET', session, 'rec') == rec and now < string.match(rec, '^%l+ %d+ %d+ %S+ (%d+)') + 0 then
  local may = redis.acl_check_cmd
  if (not may or may('HSET', session, 'rec', '') and may('DEL', outbox)) and type(redis.pcall('ZREM', bells, 'h' .. bot .. '/' .. id)) == 'number' then
    redis.call('DEL', outbox)
    redis.call('HSET', session, 'rec', after)
    return {'OK', now, {'after'}}
  end
end

-- (the pieces behind the bar in USES)

if not s then return {'GONE', now} end
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
  unsent, s.moved = unsent - count, true
  if all then s.obytes = 0 end
  s.ofails, s.ocrashes, s.obacks, s.owait, s.osince = 0, 0, 0, 0, 0
end
local step = onward(want)
save({})
return answer({'OK', now}, step)
