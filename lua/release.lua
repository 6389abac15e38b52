-- release: gives a session back with its head undone: because the handler, or
-- the sending of a reply, failed and is tried again after a while (verdict
-- retry), or because this replica stops (verdict back, which counts as nothing).
--
-- USES   clock record write handout calls
-- KEYS   session inbox outbox calls due
-- ARGV   op deadline id token verdict wait err
-- REPLY  OK now next                   {due}: there is work, and nobody holds the session
--        FENCED now
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read(session)
if refusal then return refusal end
local before, sweep = seen(op)
if before then return {'OK', now, {'idle'}} end
if not s or s.token ~= token or s.lease == 0 then return {'FENCED', now} end
local waiting = redis.call('LLEN', inbox)
local unsent = redis.call('LLEN', outbox)
redis.call('ZCARD', due)

local put, when = {}, now
if verdict == 'retry' then
  local fails, till = 'fails', 'wait'
  local n = s.fails + 1
  if s.work == 'reply' then fails, till, n = 'ofails', 'owait', s.ofails + 1 end
  when = now + tonumber(wait)
  for _, f in ipairs({fails, int(n), till, int(when), 'err', err}) do put[#put + 1] = f end
  if s.work == 'event' and unsent > 0 then when = now end -- a reply that was made meanwhile need not wait
end
if waiting + unsent == 0 then when = nil end
free(s, id, put, when)
hset(session, put)
remember(op, deadline, '', sweep)
return {'OK', now, {when and when <= now and 'due' or 'idle'}}
