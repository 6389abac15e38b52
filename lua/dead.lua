-- dead: makes the head of the inbox, or of the outbox, a dead letter, with why,
-- and goes on. The letter holds the head as it was stored, so that no limit and no
-- codec of the caller stands in its way; nor does a line in events that cannot be
-- read, which is written anew. The change holds what stays in the session: the
-- user's message.
--
-- USES   clock deadline rights record list save tell watch bells life index moves change handout onward sweep calls ids hand done
-- KEYS   session history inbox outbox events calls file due waits index moves expiry bells letters dead watch
-- ARGV   op deadline id bot token digest want lease why keep most change...
--        digest is empty for a reply; why is the encoded error and counters; keep is how long a letter lives, ms;
--        most is how many letters a session keeps
-- WRITES yes
-- FINAL  all
-- REPLY  OK now next
--        FENCED now | GONE now         GONE: there is no session
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then return answer({'OK', now}, still(token)) end
if not s then return {'GONE', now} end
if s.token ~= token or s.work ~= (digest == '' and 'reply' or 'event') then return {'FENCED', now} end
local c = read_change()
local old = 0 -- letters whose time is over
while old < tonumber(most) do
  local letter = redis.call('LINDEX', letters, old)
  if not letter or (moment(letter, 1) or now) > now - keep then break end
  old = old + 1
end
check_due()
redis.call('ZCARD', dead)
redis.call('HLEN', events)

if digest ~= '' then unhand() end
local known = redis.call('HGET', events, digest)
local _, forget, call, made = read_line(known or '')
local lost = not known and digest ~= '' and unlisted()
local put = {}
local _, first = apply(c, put)
local kind, head = 'e', nil
if s.work == 'reply' then
  kind, head = 'r', redis.call('LPOP', outbox) or ''
  unsent, s.moved = math.max(unsent - 1, 0), true
  s.obytes = unsent == 0 and 0 or math.max(s.obytes - #head, 0)
  s.ofails, s.ocrashes, s.obacks, s.owait, s.osince = 0, 0, 0, 0, 0
else
  head = done('x', first, forget, call, made, lost)
end
local when = math.max(now, (moment(redis.call('LINDEX', letters, -1) or '', 1) or 0) + 1)
redis.call('RPUSH', letters, letter_element(stamp(when), kind, why, head))
if old > 0 then redis.call('LTRIM', letters, old, -1) end
redis.call('LTRIM', letters, -most, -1)
redis.call('PEXPIRE', letters, keep)
redis.call('ZADD', dead, when, id)
redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - keep)
remember('', sweep)
local step = onward(want)
save(put)
notice('dead', digest)
return answer({'OK', now}, step)
