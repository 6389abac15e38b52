-- head: reads what is at the head of a session: the event that is handled next, and the
-- reply that is sent next. It writes nothing.
--
-- USES   clock record list hand
-- KEYS   session inbox outbox
-- ARGV   op deadline
-- WRITES no
-- REPLY  OK now event reply fails crashes ofails ocrashes
--                                      event and reply are elements, see list, empty if there is none; then how
--                                      often the event has failed, and the reply
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or over then return {'NOTFOUND', now} end
local digest, when, _, event = in_hand()
if s.ended then
  event = '' -- what waits, waits for the next life
elseif digest then
  event = inbox_element(digest, stamp(when), event)
else
  event = redis.call('LINDEX', inbox, 0) or ''
end
local reply = redis.call('LINDEX', outbox, 0) or ''
return {'OK', now, event, reply, s.fails, s.crashes, s.ofails, s.ocrashes}
