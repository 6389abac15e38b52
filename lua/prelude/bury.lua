-- bury: removing a session from the index and its keys from the server. What
-- outlives a session stays: ids seen, answers to calls, dead letters.
local function bury(s, id, bot)
  redis.call('DEL', session, history, file)
  redis.call('ZREM', activity, id)
  redis.call('ZREM', expiry, id)
  local known = {}
  if s then
    redis.call('DEL', inbox, outbox)
    redis.call('ZREM', due, id)
    known = {'s' .. s.state .. '\0' .. id, 'u' .. s.user .. '\0' .. id}
  else
    -- The hash is gone without us (its net, an eviction, a DEL by hand), and
    -- with it the state's name: search for the id. What was accepted and what
    -- is to be sent stays: a new session takes it over.
    local tail = '\0' .. id
    for _, member in ipairs(redis.call('ZRANGE', names, 0, -1)) do
      if string.sub(member, -#tail) == tail then known[#known + 1] = member end
    end
  end
  for _, member in ipairs(known) do
    local was = redis.call('ZREM', names, member)
    if was == 1 and string.sub(member, 1, 1) == 's' then
      local state = string.sub(member, 2, #member - #id - 1)
      if redis.call('HINCRBY', counts, state, -1) <= 0 then redis.call('HDEL', counts, state) end
      if redis.call('HINCRBY', bots, bot, -1) <= 0 then redis.call('HDEL', bots, bot) end
    end
  end
end

local function check_bury()
  redis.call('ZCARD', activity)
  redis.call('ZCARD', expiry)
  redis.call('ZCARD', due)
  redis.call('ZCARD', names)
  redis.call('HLEN', counts)
  redis.call('HLEN', bots)
end
