-- free gives the lease back. What is left is due at the earliest moment at which
-- any of it may be done: the replies at owait, the next event at wait, or at
-- yield if an Update waits, and not before the moment notbefore, if there is one.
-- It returns that moment, or nil if nothing is left, and the session is no longer
-- listed.
local function free(notbefore)
  s.lease, s.work, s.holder = 0, 'free', '-'
  local when
  if unsent > 0 then when = math.max(s.owait, now) end
  if waiting > 0 then
    if s.ended and when then notbefore = when end -- what waits behind the end begins when all is sent
    local turn = math.max(s.wait, s.yield, notbefore or 0, now)
    when = when and math.min(when, turn) or turn
  end
  if s.ended then when = when or now end
  if when then redis.call('ZADD', due, when, id) else redis.call('ZREM', due, id) end
  return when
end
