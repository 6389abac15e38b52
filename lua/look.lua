-- look: lists the sessions of one bot in one bucket that are due, or that have
-- expired, by the server's clock, and has the bell of that list ring when the first of
-- all that it lists is due. It changes no session: lease and destroy decide.
--
-- USES   clock rights
-- KEYS   bells due expiry
-- ARGV   op deadline bot kind most silent
--        kind: of the bell, d or x, see bells; most: so many ids; silent: for so long the bell does not ring, ms,
--        though something is due
-- WRITES losable
-- FINAL  all
-- REPLY  OK now ids
--        NOPERM now command

local list = kind == 'x' and expiry or due
local ids = redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, most)
local first = redis.call('ZRANGE', list, 0, 0, 'WITHSCORES')[2]
local rings = redis.call('ZSCORE', bells, kind .. bot)
if not first then
  if rings then redis.call('ZREM', bells, kind .. bot) end
elseif silent ~= '0' and tonumber(first) < now + silent then
  redis.call('ZADD', bells, now + silent, kind .. bot)
elseif first ~= rings then
  redis.call('ZADD', bells, first, kind .. bot)
end
return {'OK', now, ids}
