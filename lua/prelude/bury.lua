-- bury: taking a session out of the index, and removing its keys. What outlives
-- a session stays: ids seen, answers to calls, dead letters.

-- leave takes a session out of the index.
local function leave(user)
  redis.call('ZREM', expiry, id)
  if user ~= '' then redis.call('ZREM', users, user .. '\0' .. id) end
  if redis.call('ZREM', index, id) == 1 then
    local left = redis.pcall('HINCRBY', bots, bot, -1)
    if type(left) == 'number' and left <= 0 then redis.call('HDEL', bots, bot) end
  end
end

local function bury()
  local user = redis.call('HGET', session, 'user') or ''
  redis.call('DEL', session, history, file)
  if s then
    redis.call('DEL', inbox, outbox)
    unlist_due()
    leave(user)
    redis.pcall('ZREM', waits, id)
    return
  end
  -- The hash is gone without us (its net, an eviction, a DEL by hand), and with
  -- it the user's name: search for the id, which is all behind the first NUL.
  -- What was accepted and what is to be sent stays: a new session takes it over.
  for _, member in ipairs(redis.call('ZRANGE', users, 0, -1)) do
    local zero = string.find(member, '\0', 1, true) or #member
    if string.sub(member, zero + 1) == id then user = string.sub(member, 1, zero - 1) end
  end
  leave(user)
  if waiting + unsent == 0 then redis.pcall('ZREM', waits, id) end
end
