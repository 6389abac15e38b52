-- calls: answers of calls that were made already, for a caller whose reply was
-- lost. They are kept until the caller's deadline, after which no retry of it
-- is taken any more.
local function seen()
  local v = redis.call('HMGET', calls, op, '')
  return v[1], tonumber(v[2]) or 0
end

-- remember keeps the answer. Once in a while it drops those that are too old,
-- so that a session that is written all the time does not collect them.
local function remember(answer, sweep)
  if now >= sweep then
    local all = redis.call('HGETALL', calls)
    for i = 1, #all, 2 do
      local till = tonumber(string.match(all[i + 1], '^%d+') or 0)
      if all[i] ~= '' and till <= now then redis.call('HDEL', calls, all[i]) end
    end
    redis.call('HSET', calls, '', now + 5000)
  end
  redis.call('HSET', calls, op, deadline .. ' ' .. answer)
  -- Never sooner than before: an earlier call's deadline may be further away.
  local left = tonumber(deadline) - now
  if redis.call('PTTL', calls) < left then redis.call('PEXPIRE', calls, left + 10000) end
end
