-- bury: removing a session: its places in the index and its keys. What outlives
-- a session stays: ids seen, answers to calls, dead letters.
local function bury(s, id, bot)
  redis.call('DEL', session, history, file)
  if s then
    redis.call('DEL', inbox, outbox)
    redis.call('ZREM', due, id)
    leave(id, bot, {'s' .. s.state .. '\0' .. id, 'u' .. s.user .. '\0' .. id})
    return
  end
  -- The hash is gone without us (its net, an eviction, a DEL by hand), and with
  -- it the state's name: search for the id, which is all behind the first NUL.
  -- What was accepted and what is to be sent stays: a new session takes it over.
  local known = {}
  for _, member in ipairs(redis.call('ZRANGE', names, 0, -1)) do
    if string.sub(member, (string.find(member, '\0', 1, true) or #member) + 1) == id then known[#known + 1] = member end
  end
  leave(id, bot, known)
end
