-- commit: ends a turn. It writes the turn's Change, takes the event out of the
-- inbox and puts the replies into the outbox: all of it, or, if the caller no
-- longer holds the session, nothing. Then it decides who goes on.
--
-- USES   clock record write index change handout calls bury watch
-- KEYS   session history inbox outbox events calls file due activity names counts moves expiry bots watch
-- ARGV   op deadline id bot token digest want lease change...
--        digest is empty for an Update, which has no event
-- REPLY  OK now version first last backlog next   see handout for next; backlog: replies that were unsent before
--        FENCED now                               another hand-out, a reset or a destroy came between
--        WRONGSTATE now state                     a live Move changed the state during the turn
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read(session)
if refusal then return refusal end

-- Was it committed already, and only the reply lost?
local sweep, before = 0, nil
if digest == '' then
  before, sweep = seen(op)
else
  local known = redis.call('HGET', events, digest)
  local by, first, last = string.match(known or '', '^d %d+ (%d+) (%d+) (%d+) ')
  if by == token then before = '0 ' .. (s and int(s.ver) or '0') .. ' ' .. first .. ' ' .. last end
end
if before then
  local version, first, last = string.match(before, '^%d+ (%d+) (%d+) (%d+)$')
  local step = 'idle'
  if s and s.lease > now and s.holder == op then step = s.work end
  if s and s.lease > now and s.token == token and s.work == 'reply' then step = 'reply' end
  return answer({'OK', now, tonumber(version), tonumber(first), tonumber(last), 1}, s, step)
end

if not s or s.token ~= token or s.lease == 0 then return {'FENCED', now} end -- compared as strings: numbers lose digits
local c = parse_change(9)
if c.from ~= '' and c.from ~= s.state then return {'WRONGSTATE', now, s.state} end
check_change(c)
redis.call('LLEN', inbox)
redis.call('ZCARD', due)
if c.destroy then check_bury() end

local put = {}
local backlog = redis.call('LLEN', outbox)
local _, first, last = apply(c, s, id, put)
if digest ~= '' then
  pop(s, put)
  forgive(s)
  outcome(digest, 'd', s, first, last)
  put[#put + 1] = 'turns'
  put[#put + 1] = int(s.turns + 1)
else
  remember(op, deadline, int(s.ver) .. ' ' .. int(first) .. ' ' .. int(last), sweep)
end
local step = onward(s, id, op, want, lease, put)
hset(session, put)
notice('committed', id, s, digest)
if step == 'ended' then
  bury(s, id, bot)
  return {'OK', now, s.ver, first, last, backlog, {'idle'}}
end
if step == 'reply' and backlog == 0 then -- the caller has just made these itself
  return {'OK', now, s.ver, first, last, 0, {'reply', s.token, '0', '0', {}, {}}}
end
return answer({'OK', now, s.ver, first, last, backlog}, s, step)
