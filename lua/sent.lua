-- sent: notes replies as sent and goes on: with more replies, with the next
-- event, or by giving the session back.
--
-- USES   clock deadline rights record handout free onward
-- KEYS   session inbox outbox due
-- ARGV   op deadline id token upto want lease
--        upto is the life and number of the last reply that was sent, as "life:number"
-- REPLY  OK now next                   see handout; {ended}: the session's own turn ended it, bury it
--        FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

if not s then return {'FENCED', now} end
if s.token ~= token then
  if still() == 'idle' then return {'FENCED', now} end
  return answer({'OK', now}, s.work)
end
if s.work ~= 'reply' then return {'OK', now, {'idle'}} end -- noted before, and only the reply lost
redis.call('ZCARD', due)

for i, reply in ipairs(redis.call('LRANGE', outbox, 0, 99)) do
  if string.sub(reply, 1, #upto + 1) == upto .. ':' then
    redis.call('LTRIM', outbox, i, -1)
    unsent = unsent - i
  end
end
s.ofails, s.ocrashes, s.owait = 0, 0, 0
local step = onward(want)
save({})
return answer({'OK', now}, step)
