-- dead: makes the head of the inbox, or of the outbox, a dead letter, with why,
-- and goes on. The change holds what stays in the session: the user's message.
--
-- USES   clock record watch list life change handout onward done calls
-- KEYS   session history inbox outbox events calls file due activity names moves expiry letters dead watch
-- ARGV   op deadline id token digest want lease letter keep change...
--        keep is how long the letter lives, ms
-- REPLY  OK now next                   see handout
--        FENCED now
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read()
if refusal then return refusal end
local before, sweep = seen(op)
if before then return answer({'OK', now}, s, still(s, op, token)) end
if not s or s.token ~= token or s.work ~= (digest == '' and 'reply' or 'event') then return {'FENCED', now} end
local c = parse_change(10)
check_change(c, s)
queues(s)
local known = redis.call('HGET', events, digest)
redis.call('LLEN', letters)
redis.call('ZCARD', due)
redis.call('ZCARD', dead)

local put = {}
local _, first = apply(c, s, id, put)
if s.work == 'reply' then
  redis.call('LPOP', outbox)
  s.unsent = math.max(s.unsent - 1, 0)
  s.ofails, s.ocrashes, s.owait = 0, 0, 0
else
  done(s, known, digest, 'x', first, s.seq)
end
redis.call('RPUSH', letters, stamp(now) .. letter)
redis.call('PEXPIRE', letters, keep)
redis.call('ZADD', dead, int(now), id)
redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(now - keep))
remember(op, deadline, '', sweep)
local step = onward(s, id, op, want, lease)
save(s, put)
notice('dead', id, s, digest)
return answer({'OK', now}, s, step)
