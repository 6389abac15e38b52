-- commit: ends a turn. It writes the turn's Change, takes the event out of the
-- inbox and puts the replies into the outbox: all of it, or, if the caller no
-- longer holds the session, nothing. Then it decides who goes on.
--
-- USES   clock deadline rights record watch list life index change handout onward waits done sweep calls ids once bury
-- KEYS   session history inbox outbox events calls file due activity names moves expiry bots watch
-- ARGV   op deadline id bot token digest want lease once change...
--        digest is empty for an Update, which has no event
--        want is empty if the caller takes no event, else how many unsent replies, and bytes of them, it may leave
--        once is empty, or of an Update: see there
-- WRITES yes
-- FINAL  all
-- REPLY  OK now first at backlog version next  first: number of the turn's first message; at: its time in the
--                                      chat, 0 if it was committed before; backlog: replies that were unsent
--                                      before; version: the one that this made, 0 of an event's turn that was
--                                      committed before; see handout for next
--        DUPLICATE now version         made before under that id
--        FENCED now                    another hand-out, a reset or a destroy came between
--        WRONGSTATE now state          a live Move changed the state during the turn
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

-- Was it committed already, and only the reply lost?
local sweep, before, made, known = '0 0', nil, '0', nil
if digest == '' then
  before, sweep = seen()
  if before then before, made = string.match(before, '(%d+) (%d+)$') end
else
  known = redis.call('HGET', events, digest)
  local by, first = string.match(known or '', '^d %d+ (%d+) (%d+) ')
  if by == token then before = first end
end
if before then
  return answer({'OK', now, tonumber(before), 0, 1, tonumber(made)}, still(token))
end

-- Tokens are compared as strings: numbers lose digits.
if not s or s.token ~= token or s.work ~= (digest == '' and 'update' or 'event') or over then return {'FENCED', now} end
local earlier, others = applied(once)
if earlier == -1 then return {'CORRUPT', now, 'events'} end
if earlier then return {'DUPLICATE', now, earlier} end
local c = read_change(10)
if c.from ~= '' and c.from ~= s.state then return {'WRONGSTATE', now, s.state} end
redis.call('ZCARD', due)
local lost = (known or digest == '') and {} or unlisted()
if c.destroy then check_index() end

local put, backlog = {}, unsent
local _, first = apply(c, put)
if digest == '' then
  s.way = now + 10000 -- what waits now comes before the next Update: see lease
  note_applied(once, others)
  remember(int(first) .. ' ' .. int(s.ver), sweep)
else
  s.turns = s.turns + 1
  done(known, lost, 'd', first)
end
if c.destroy then -- out of the index; the hash only carries the lease on until the replies are sent
  leave(s.state, redis.call('HGET', session, 'user') or '')
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
