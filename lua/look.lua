-- look: lists a bucket's sessions that are due, and, if asked, those that have
-- expired, by the server's clock. It writes nothing: lease and destroy decide.
--
-- USES   clock
-- KEYS   due expiry
-- ARGV   op deadline most expired
--        most: of each; expired: 1 to ask for those too
-- WRITES no
-- REPLY  OK now ids ids

local function passed(list)
  return redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, most)
end
return {'OK', now, passed(due), expired == '1' and passed(expiry) or {}}
