-- release: gives a session back with its head undone. The verdict says why:
--
--   retry   the handler, or the sending of a reply, failed
--   wait    the handler, or Send, put it off, which counts as nothing
--   back    it was not to blame: the replica stops, a live Move came between, the
--           server did not commit
--
-- How often each happened to a head is counted, but for wait, which ends by time.
--
-- USES   clock deadline rights record list save bells life onward sweep calls ids hand
-- KEYS   session history inbox outbox events calls file due waits bells
-- ARGV   op deadline id bot token work verdict wait err
--        wait: ms until the head may be handed out again
-- WRITES yes
-- FINAL  all
-- REPLY  OK now next                   due: there is work, and nobody holds the session
--        FENCED now | GONE now         GONE: there is no session
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return {'OK', now, {'idle'}} end
if not s then return {'GONE', now} end
if s.token ~= token or s.work ~= work then return {'FENCED', now} end
check_due()

unhand()
local put, when = {}, now + wait
local failed, back = verdict == 'retry' and 1 or 0, verdict == 'back' and 1 or 0
local off = verdict == 'wait' and now or 0
if work == 'reply' then
  s.ofails, s.obacks = s.ofails + failed, s.obacks + back
  if when > now then s.owait = when end
  if s.osince == 0 then s.osince = off end
  put = {'oerr', err}
elseif work == 'event' then
  s.fails, s.backs = s.fails + failed, s.backs + back
  if when > now then s.wait = when end
  if s.since == 0 then s.since = off end
  put = {'err', err}
else
  s.way = now + 10000 -- see lease
end
if waiting + unsent > 0 then outlast(when) end
if waiting > 0 then keep_lines(when + DAY, WEEK) end
when = free()
save(put)
remember('', sweep)
return {'OK', now, {when and when <= now and 'due' or 'idle'}}
