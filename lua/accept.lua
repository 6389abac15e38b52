-- accept: takes an event into a session's inbox, once, making the session if
-- need be. If the session is idle and the caller has room, the caller is handed
-- the event in the same script.
--
-- USES   clock deadline rights record watch list bells life index enter handout sweep ids
-- KEYS   session inbox outbox events due index users expiry bells bots watch
-- ARGV   op deadline id bot digest event window limit bytes want lease initial platform user ttl
-- WRITES yes
-- FINAL  OK DUPLICATE
-- REPLY  OK now created {event token 0 0 0 0 {} hash}  handed to the caller
--        OK now created {idle}                        queued; who holds the session goes on with it
--        OK now created {due}                         queued, and nobody holds the session: wake somebody
--        DUPLICATE now                                accepted before
--        FULL now events bytes                        the inbox has so much
--        EXPIRED now                                  the old session must be buried first
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local call = string.match(op, '^.*%-(.*)$') or op -- the part of the call's id that no other call has
local known = redis.call('HGET', events, digest)

if known then
  local status, forget, by, made = read_line(known)
  if not status then return {'CORRUPT', now, 'events'} end
  if status == 'p' or forget * 1000 > now then
    if by ~= call then return {'DUPLICATE', now} end
    -- Our own call, whose reply was lost: the same answer again.
    if still() == 'event' then return {'OK', now, made, handed({})} end
    return {'OK', now, made, {'due'}}
  end
end
local lost, listed
if not known then lost, listed = unlisted(digest) end
if listed then return {'DUPLICATE', now} end
if over or torn() then return {'EXPIRED', now} end

local element = inbox_element(digest, stamp(now), event)
local full = (s and s.bytes or 0) + #element
if waiting >= tonumber(limit) or full > tonumber(bytes) then return {'FULL', now, waiting, full - #element} end
check_due()
local created = '0'
if not s or s.ended then
  check_index()
  created = '1'
  enter(initial, platform, user, '', ttl)
end
local turn = math.max(s.wait, s.yield)
if unsent >= tonumber(limit) or s.obytes >= tonumber(bytes) then turn = math.max(turn, s.owait) end
local step = 'due'
if s.lease > now then
  ensure_due(s.lease)
  step = 'idle'
elseif s.lease == 0 and turn > now then
  ensure_due(turn)
  step = 'idle' -- what is before it waits for its next attempt
elseif want ~= '' and s.lease == 0 and waiting == 0 and (unsent == 0 or s.owait > now) then
  grant('event')
  step = 'event'
else
  list_due(now)
end
redis.call('RPUSH', inbox, element)
s.bytes = full

local forget = math.ceil((now + window) / 1000)
note_id(digest, write_line('p', forget, call, created, '0', '0', '0'), lost, tonumber(window), step == 'event' and DAY or WEEK)
save({})
notice('accepted')
if step == 'event' then return {'OK', now, created, handed({})} end
return {'OK', now, created, {step}}
