-- accept: takes an event into a session's inbox, once, making the session if
-- need be. If the session is idle and the caller has room, the caller is handed
-- the event in the same script.
--
-- Its first lines do that for a session that is free, with nothing waiting or to be
-- sent, until the moment calm of its record: the event waits in hand, and the rest of
-- the record stays as it is. What the caller knows is not sent to it again. Whatever
-- is not so goes on to the general lines, which look at everything.
--
-- USES   clock deadline tell | rights record list save watch bells life index enter handout sweep ids hand
-- KEYS   session inbox outbox events due waits index users expiry bells bots watch
-- ARGV   op deadline id bot digest event window limit bytes want lease initial platform user ttl small known
--        small: 1 if the event may wait in hand; known: the record of the free session, if the caller has the
--        whole of it
-- WRITES yes
-- FINAL  OK DUPLICATE
-- REPLY  OK now created next           created: 1 if this call made the session
--        DUPLICATE now                 accepted before
--        FULL now waiting bytes        the inbox has so many events, and bytes of them
--        EXPIRED now                   the old session must be buried first
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field
-- NEXT   hand rec hash                 handed to the caller, by the first lines; rec: the new record; hash: as
--                                      it was before, left out if the caller has it
--                                      (by the general lines: event, with no head)
--        idle                          queued; who holds the session goes on with it
--        due                           queued, and nobody holds the session: wake somebody

local found = want ~= '' and small == '1' and redis.pcall('HMGET', session, 'rec', 'state') or {}
local rec, state = found[1], found[2]
local token, calm, rest = string.match(state and rec or '', '^free (%d+) (%d+) %- 0 0 0( 0 0 .*)$')
if token and now < calm + 0 and redis.pcall('HGET', events, digest) == false then
  local till = now + lease
  local channel = redis.pcall('GET', watch)
  local hash = rec ~= known and redis.pcall('HGETALL', session)
  local may = redis.acl_check_cmd
  if (not may or may('HSET', session, 'rec', '')) and not (hash and hash.err) and type(redis.pcall('ZADD', bells, till, 'h' .. bot .. '/' .. id)) == 'number' then
    token = string.format('%.0f', math.max(token + 1, time[1] * 1000000 + time[2]))
    rec = 'event ' .. token .. ' ' .. calm .. ' ' .. op .. ' ' .. till .. ' 1 ' .. #event + 22 .. rest
    redis.call('HSET', session, 'rec', rec, 'hand', digest .. now .. ' ' .. window .. ' ' .. event)
    if type(channel) == 'string' then
      tell(channel, 'accepted', string.match(rest, '^ 0 0 (%d+)'), state, '')
    end
    return {'OK', now, '0', {'hand', rec, hash or nil}}
  end
end

-- (the pieces behind the bar in USES)

local call = call_end(op)
if in_hand() == digest then
  -- It is in hand: the same answer again to our own call, whose reply was lost.
  if s.holder ~= op then return {'DUPLICATE', now} end
  local _, when, _, held = in_hand()
  if still() == 'event' then return {'OK', now, '0', handed({inbox_element(digest, stamp(when), held)})} end
  return {'OK', now, '0', {'due'}}
end
local seen_before = redis.call('HGET', events, digest)
if seen_before then
  local status, forget, by, made = read_line(seen_before)
  if not status then return {'CORRUPT', now, 'events'} end
  if is_known(status, forget) then
    if by ~= call then return {'DUPLICATE', now} end
    -- Our own call, whose reply was lost: the same answer again.
    if still() == 'event' then return {'OK', now, made, handed({})} end
    return {'OK', now, made, {'due'}}
  end
end
local lost, listed
if not seen_before then lost, listed = unlisted(digest) end
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
waiting = waiting + 1
s.bytes = full

local forget = math.ceil((now + window) / 1000)
note_id(digest, write_line('p', forget, call, created, 0, 0, 0), lost, tonumber(window), step == 'event' and DAY or WEEK)
save({})
notice('accepted')
if step == 'event' then return {'OK', now, created, handed({})} end
return {'OK', now, created, {step}}
