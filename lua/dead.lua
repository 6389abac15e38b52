-- dead: makes the head of the inbox, or of the outbox, a dead letter, with why,
-- and goes on. The change holds what stays in the session: the user's message.
--
-- USES   clock deadline rights record watch list life anchor change handout free onward done calls
-- KEYS   session history inbox outbox events calls file due activity names moves expiry letters dead watch
-- ARGV   op deadline id token digest want lease letter keep change...
--        keep is how long the letter lives, ms
-- REPLY  OK now next                   see handout
--        FENCED now
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return answer({'OK', now}, still(token)) end
if not s or s.token ~= token or s.work ~= (digest == '' and 'reply' or 'event') then return {'FENCED', now} end
local c = read_change(10)
local known = redis.call('HGET', events, digest)
redis.call('LLEN', letters)
redis.call('ZCARD', due)
redis.call('ZCARD', dead)

local put = {}
local _, first = apply(c, put)
if s.work == 'reply' then
  redis.call('LPOP', outbox)
  unsent = math.max(unsent - 1, 0)
  s.ofails, s.ocrashes, s.owait = 0, 0, 0
else
  done(known, 'x', first)
end
redis.call('RPUSH', letters, stamp(now) .. letter)
redis.call('PEXPIRE', letters, keep)
redis.call('ZADD', dead, now, id)
redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - keep)
remember('', sweep)
local step = onward(want)
save(put)
notice('dead', digest)
return answer({'OK', now}, step)
