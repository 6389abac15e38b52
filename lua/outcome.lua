-- outcome: tells how an event ended, in one moment, with the messages of its turn as
-- far as the chat still has them, or why it is dead. It writes nothing.
--
-- USES   clock record list ids hand
-- KEYS   session history inbox outbox events letters
-- ARGV   op deadline digest
-- WRITES no
-- REPLY  WAITS now
--        HANDLED now first messages    first is the number of the first of the messages
--        DEAD now why                  see dead; empty if the letter is gone
--        DROPPED now
--        NOTFOUND now                  never accepted, or forgotten
--        LAYOUT now layout | CORRUPT now field

local known = redis.call('HGET', events, digest)
if not known then
  local _, listed = unlisted(digest)
  return (listed or in_hand() == digest) and {'WAITS', now} or {'NOTFOUND', now}
end
local status, _, _, _, token, first, count = read_line(known)
if not status then return {'CORRUPT', now, 'events'} end
if status == 'v' then return {'NOTFOUND', now} end
if status == 'p' then return {'WAITS', now} end
if status == 'o' then return {'DROPPED', now} end
if status == 'u' then return {'HANDLED', now, 0, {}} end -- a change that was made under this id
if status == 'd' then
  -- The turn's messages are there if this chat began before the turn did.
  if not s or s.ended or over or tonumber(s.chat) > tonumber(token) then return {'HANDLED', now, 0, {}} end
  local base = s.seq - redis.call('LLEN', history)
  local from, to = math.max(first - base - 1, 0), first + count - base - 2
  if to < from then return {'HANDLED', now, 0, {}} end
  local messages = redis.call('LRANGE', history, from, to)
  return {'HANDLED', now, base + from + 1, messages}
end
for i = redis.call('LLEN', letters) - 1, 0, -1 do -- mostly the last one
  local kind, why, head = read_letter(redis.call('LINDEX', letters, i))
  if kind == 'e' and inbox_digest(head) == digest then return {'DEAD', now, why} end
end
return {'DEAD', now, ''}
