-- settle: ends a turn that commit cannot end: something else has happened to the
-- session meanwhile, or the turn does more than the usual. It writes the turn's
-- Change, takes the event out of the hand or the inbox and puts the replies into the
-- outbox: all of it, or, if the caller no longer holds the session, nothing. Then it
-- decides who goes on.
--
-- USES   clock deadline rights record list save tell watch bells life index moves change handout onward sweep calls ids hand done bury
-- KEYS   session history inbox outbox events calls file due waits index users moves expiry bells bots watch
-- ARGV   op deadline id bot token digest want lease once window destroy change...
--        digest is empty for an Update, which has no event
--        want is empty if the caller takes no event, else how many unsent replies, and bytes of them, it may leave
--        once is empty, or of an Update: see ids; window is for how long it is remembered, ms
--        destroy: 1 if the turn ends the session
-- WRITES yes
-- FINAL  all
-- REPLY  OK now first at backlog version next  first: number of the turn's first message; at: its time in the
--                                      chat, 0 if it was committed before; backlog: replies that were unsent
--                                      before; version: the one that this made, 0 of an event's turn that was
--                                      committed before
--        DUPLICATE now version         made before under that id
--        FENCED now                    another hand-out or a reset came between
--        GONE now                      there is no session
--        WRONGSTATE now state          a live Move changed the state during the turn
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

-- Was it committed already, and only the reply lost?
local sweep, before, version = '0 0', nil, '0'
local line, forget, call, made
local held, when, promised = in_hand()
if digest == '' then
  before, sweep = seen()
  if before then before, version = string.match(before, '(%d+) (%d+)$') end
else
  line = redis.call('HGET', events, digest)
  local known = line
  if held == digest and (not line or read_line(line) == 'v') then known = hand_line(when, promised) end
  if known then
    local status, by, first
    status, forget, call, made, by, first = read_line(known)
    if not status then return {'CORRUPT', now, 'events'} end
    if status == 'd' and by == token then before = first end
  end
end
if before then
  return answer({'OK', now, tonumber(before), 0, 1, tonumber(version)}, still(token))
end

-- Tokens are compared as strings: numbers lose digits.
if not s then return {'GONE', now} end
if s.token ~= token or s.work ~= (digest == '' and 'update' or 'event') or over then return {'FENCED', now} end
local earlier, others
if once ~= '' then earlier, others = applied(once) end
if earlier == -1 then return {'CORRUPT', now, 'events'} end
if earlier then return {'DUPLICATE', now, earlier} end
local c = read_change()
if from ~= '' and from ~= s.state then return {'WRONGSTATE', now, s.state} end
check_due()
local lost = not line and digest ~= '' and unlisted()
if destroy == '1' then check_index() end

local put, backlog = {}, unsent
local _, first = apply(c, put)
if digest == '' then
  s.way = now + 10000 -- what waits now comes before the next Update: see lease
  note_applied(once, window, others)
  remember(int(first) .. ' ' .. int(s.ver), sweep)
else
  s.turns = s.turns + 1
  done('d', first, forget, call, made, lost)
end
if destroy == '1' then -- out of the index; the hash only carries the lease on until the replies are sent
  leave(redis.call('HGET', session, 'user') or '')
  redis.call('DEL', history)
  s.ended, s.ttl = true, '-'
end
local step
if digest == '' and unsent > 0 and s.owait <= now then -- an Update sends nothing: a replica is woken
  free()
  step = 'due'
else
  step = onward(want)
end
save(put)
notice('committed', digest)
if step == 'ended' then
  bury()
  return {'OK', now, first, s.at, backlog, s.ver, {'idle'}}
end
if step == 'reply' and backlog == 0 then -- the caller has just made these itself
  return {'OK', now, first, s.at, 0, s.ver, {'reply', s.token, 0, 0, 0, 0, {}, {}}}
end
return answer({'OK', now, first, s.at, backlog, s.ver}, step)
