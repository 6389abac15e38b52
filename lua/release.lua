-- release: gives a session back with its head undone: because the handler, or
-- the sending of a reply, failed and is tried again after a while (verdict
-- retry), or because this replica stops, or could not commit (verdict back,
-- which does not count as a failure).
--
-- USES   clock deadline rights record life anchor outlast free calls
-- KEYS   session history inbox outbox calls file due
-- ARGV   op deadline id token work verdict wait err
-- REPLY  OK now next                   {due}: there is work, and nobody holds the session
--        FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return {'OK', now, {'idle'}} end
if not s or s.token ~= token or s.work ~= work then return {'FENCED', now} end
redis.call('ZCARD', due)

local put, when = {}, now + wait
local failed = verdict == 'retry' and 1 or 0
if work == 'reply' then
  s.ofails = s.ofails + failed
  if when > now then s.owait = when end
elseif work == 'event' then
  s.fails = s.fails + failed
  if when > now then s.wait = when end
end
if when > now and work ~= 'update' then put = {'err', err} end
if work ~= 'reply' and unsent > 0 then when = now end -- a reply that was made meanwhile need not wait
if waiting + unsent == 0 then when = nil else outlast(now + wait) end
free(when)
save(put)
remember('', sweep)
return {'OK', now, {when and when <= now and 'due' or 'idle'}}
