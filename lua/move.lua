-- move: of sessions that were handed out without being listed in due, those whose
-- lease is over are listed there, for whoever serves their bot.
--
-- USES   clock rights bells
-- KEYS   bells due
-- ARGV   op deadline bot ids...
-- WRITES losable
-- FINAL  all
-- REPLY  OK now
--        NOPERM now command

check_due()
for i = ids, #ARGV do
  local bell = 'h' .. bot .. '/' .. ARGV[i]
  local over = tonumber(redis.call('ZSCORE', bells, bell) or now + 1)
  if over <= now then
    redis.call('ZADD', due, 'NX', over, ARGV[i])
    ring('d' .. bot, over)
    redis.call('ZREM', bells, bell)
  end
end
return {'OK', now}
