-- outcome: tells how an event ended, in one moment: its line in events, and the
-- messages of its turn as far as the chat still has them, or why it is dead. It
-- writes nothing.
--
-- USES   clock record waits
-- KEYS   session history inbox outbox events letters
-- ARGV   op deadline digest
-- WRITES no
-- REPLY  OK now line first messages    first is the number of the first of the messages
--        OK now line why               of a dead letter: see dead; empty if the letter is gone
--        NOTFOUND now                  never accepted, or forgotten
--        LAYOUT now layout | CORRUPT now field

local line = redis.call('HGET', events, digest)
if not line then return is_unlisted(unlisted(), digest) and {'OK', now, lost_line} or {'NOTFOUND', now} end
local status = string.sub(line, 1, 2)
if status == 'd ' then
  local token, first, last = string.match(line, '^d %d+ (%d+) (%d+) (%d+) ')
  if not token then return {'CORRUPT', now, 'events'} end
  -- The turn's messages are there if this chat began before the turn did.
  if not s or s.ended or over or tonumber(s.chat) > tonumber(token) then return {'OK', now, line, 0, {}} end
  local base = s.seq - redis.call('LLEN', history)
  local from = math.max(first - base - 1, 0)
  if last - base - 1 < from then return {'OK', now, line, 0, {}} end
  return {'OK', now, line, base + from + 1, redis.call('LRANGE', history, from, last - base - 1)}
end
if status == 'x ' then
  for i = redis.call('LLEN', letters) - 1, 0, -1 do -- mostly the last one
    local letter = redis.call('LINDEX', letters, i)
    local size = string.match(string.sub(letter, 8, 16), '^(%d+):')
    if size and string.sub(letter, 7, 7) == 'e' then
      local why = 8 + #size + 1
      if string.sub(letter, why + size, why + size + 15) == digest then
        return {'OK', now, line, string.sub(letter, why, why + size - 1)}
      end
    end
  end
  return {'OK', now, line, ''}
end
return {'OK', now, line}
