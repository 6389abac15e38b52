-- calls: answers of calls that were made already, for a caller whose reply was
-- lost. They are kept until the caller's deadline, after which no retry of it
-- is taken any more.
local function seen(op)
  local v = redis.call('HMGET', calls, op, '')
  return v[1], tonumber(v[2] or 0)
end

-- remember keeps the answer. Once in a while it drops those that are too old,
-- so that a session that is written all the time does not collect them.
local function remember(op, deadline, answer, sweep)
  local keep = tonumber(deadline)
  if now >= sweep then
    local all = redis.call('HGETALL', calls)
    for i = 1, #all, 2 do
      local till = tonumber(string.match(all[i + 1], '^%d+') or 0)
      if all[i] ~= '' and till <= now then redis.call('HDEL', calls, all[i]) end
    end
    redis.call('HSET', calls, '', int(now + math.max(keep - now, 1000)))
  end
  redis.call('HSET', calls, op, int(keep) .. ' ' .. answer)
  redis.call('PEXPIREAT', calls, int(math.max(keep, now) + 10000))
end
