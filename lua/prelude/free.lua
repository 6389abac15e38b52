-- free gives the lease back. Work that stays is due at the moment when, or no
-- longer listed if there is none.
local function free(when)
  s.lease, s.work, s.holder = 0, 'free', '-'
  if when then redis.call('ZADD', due, when, id) else redis.call('ZREM', due, id) end
end
