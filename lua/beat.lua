-- beat: a replica says that it serves a bot and has room (or that it stops, or
-- is full), and learns who else does.
--
-- USES   clock
-- KEYS   replicas
-- ARGV   op deadline name room keep
--        keep is how long a replica is believed without a beat, ms
-- WRITES losable
-- FINAL  all
-- REPLY  OK now names

if room == '1' then
  redis.call('ZADD', replicas, now + tonumber(keep), name)
else
  redis.call('ZREM', replicas, name)
end
redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now)
redis.call('PEXPIRE', replicas, 60000)
return {'OK', now, redis.call('ZRANGE', replicas, 0, -1)}
