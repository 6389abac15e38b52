-- sent: notes replies as sent and goes on: with more replies, with the next
-- event, or by giving the session back.
--
-- USES   clock record write handout
-- KEYS   session inbox outbox due
-- ARGV   op deadline id token upto want lease
--        upto is the sequence number of the last reply that was sent
-- REPLY  OK now next                   see handout; {ended}: the session's own turn ended it, bury it
--        FENCED now
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read(session)
if refusal then return refusal end
if not s then return {'FENCED', now} end
if s.token ~= token then
  if s.holder == op and s.lease > now then return answer({'OK', now}, s, s.work) end
  return {'FENCED', now}
end
if s.lease == 0 then return {'OK', now, {'idle'}} end -- noted before, and only the reply lost
redis.call('LLEN', inbox)
redis.call('ZCARD', due)

local function head()
  return tonumber(string.match(redis.call('LINDEX', outbox, 0) or '', '^%d+:(%d+):') or '')
end
local number = head()
while number and number <= tonumber(upto) do
  redis.call('LPOP', outbox)
  number = head()
end
if s.ofails + s.owait > 0 then redis.call('HDEL', session, 'ofails', 'owait', 'err') end
if s.work == 'reply' and s.crashes > 0 then redis.call('HDEL', session, 'crashes') end
s.ofails, s.owait = 0, 0
local put = {}
local step = onward(s, id, op, want, lease, put)
hset(session, put)
return answer({'OK', now}, s, step)
