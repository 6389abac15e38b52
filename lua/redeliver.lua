-- redeliver: takes a dead letter back into its session, because somebody asked for it. An
-- event comes to the end of the inbox, under a digest of its own: the line of the one
-- that it had stays, so that a late duplicate still is one. If the session is gone, it is
-- made anew. A reply comes to the end of the outbox as it was.
--
-- USES   clock deadline rights record list save audit tell watch bells life index enter onward sweep calls ids letter act
-- KEYS   session inbox outbox events calls due waits index users expiry bells bots letters dead watch log
-- ARGV   op deadline id bot letter digest fresh told event window limit bytes initial platform user ttl audit
--        letter: its stamp; digest is empty for a reply, and what follows is of an event
--        fresh, told: the extras of the event, told if its message is in the chat
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now created next           created: 1 if this made the session
--        NOLETTER now                  there is none with that stamp
--        NOTFOUND now                  a reply: its session is gone
--        FULL now waiting bytes        the inbox has so many events, and bytes of them
--        EXPIRED now                   the old session must be buried first
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local created, next = string.match(before, '(%d) (%a+)$')
  return {'OK', now, created, {next}}
end
local found = find_letter(letter)
if not found then return {'NOLETTER', now} end
local gone = not s or s.ended
local element, full, lost
if digest == '' then
  if gone or over then return {'NOTFOUND', now} end
  local _, _, reply = read_letter(found)
  if not reply then return {'CORRUPT', now, 'letters'} end
  element = reply
else
  if over or torn() then return {'EXPIRED', now} end
  -- The chat has the message if it began before the letter was written.
  local has = not gone and tonumber(s.chat) < (moment(letter, 1) + 1) * 1000
  element = inbox_element(digest, stamp(now), (has and told or fresh) .. event)
  full = (s and s.bytes or 0) + #element
  if waiting >= tonumber(limit) or full > tonumber(bytes) then return {'FULL', now, waiting, full - #element} end
  lost = unlisted()
  if gone then check_index() end
end
check_due()
redis.call('HLEN', events)
redis.call('ZCARD', dead)

take_letter(found)
local created = '0'
if digest == '' then
  redis.call('RPUSH', outbox, element)
  unsent, s.obytes = unsent + 1, s.obytes + #element
else
  if gone then
    created = '1'
    enter(initial, platform, user, '', ttl)
  end
  redis.call('RPUSH', inbox, element)
  waiting, s.bytes = waiting + 1, full
  local forget = math.ceil((now + window) / 1000)
  note_id(digest, write_line('p', forget, NOBODY, created, 0, 0, 0), lost, tonumber(window), WEEK)
end
local next = proceed()
save({})
remember(created .. ' ' .. next, sweep)
notice(digest == '' and 'changed' or 'accepted')
note_act()
return {'OK', now, created, {next}}
