-- release: gives a session back with its head undone: because the handler, or
-- the sending of a reply, failed and is tried again after a while (verdict
-- retry), or because this replica stops, or could not commit (verdict back,
-- which does not count as a failure).
--
-- USES   clock record write handout calls
-- KEYS   session history inbox outbox calls file due
-- ARGV   op deadline id token work verdict wait err
-- REPLY  OK now next                   {due}: there is work, and nobody holds the session
--        FENCED now
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read(session)
if refusal then return refusal end
local before, sweep = seen(op)
if before then return {'OK', now, {'idle'}} end
if not s or s.token ~= token or s.work ~= work then return {'FENCED', now} end
queues(s)
redis.call('ZCARD', due)

local put, when = {}, now + tonumber(wait)
local fails, n, till = 'fails', s.fails, 'wait'
if s.work == 'reply' then fails, n, till = 'ofails', s.ofails, 'owait' end
if verdict == 'retry' then
  for _, f in ipairs({fails, int(n + 1)}) do put[#put + 1] = f end
end
if when > now and s.work ~= 'update' then
  for _, f in ipairs({till, int(when), 'err', err}) do put[#put + 1] = f end
end
if s.work ~= 'reply' and s.unsent > 0 then when = now end -- a reply that was made meanwhile need not wait
if s.waiting + s.unsent == 0 then when = nil else outlast(s, now + tonumber(wait), put) end
free(s, id, put, when)
hset(session, put)
remember(op, deadline, '', sweep)
return {'OK', now, {when and when <= now and 'due' or 'idle'}}
