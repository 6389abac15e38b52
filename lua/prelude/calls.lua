-- calls: answers of calls that were made already, for a caller whose reply was
-- lost. They are kept until the caller's deadline, after which no retry of it
-- is taken any more. Under the empty field stands when they are swept next, and
-- from which cursor on.
local function seen()
  local v = redis.call('HMGET', calls, op, '')
  return v[1], v[2] or '0 0'
end

-- remember keeps the answer. Once in a while it drops some of those that are too
-- old, so that a session that is written all the time does not collect them.
local function remember(answer, sweep)
  local at, cursor = string.match(sweep, '^(%d+) (%d+)$')
  if now >= tonumber(at or 0) then
    cursor = sweep_part(calls, cursor or '0', function(line) return tonumber(string.match(line, '^%d+') or 0) <= now end)
    redis.call('HSET', calls, '', int(cursor == '0' and now + 5000 or now) .. ' ' .. cursor)
  end
  redis.call('HSET', calls, op, deadline .. ' ' .. answer)
  -- Never sooner than before: an earlier call's deadline may be further away.
  local left = tonumber(deadline) - now
  if redis.call('PTTL', calls) < left then redis.call('PEXPIRE', calls, left + 10000) end
end
