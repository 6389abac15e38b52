-- life: how long a session lives.

local WEEK, DAY = 604800000, 86400000

-- lifetime returns when the session expires if it is idle from now on (or, where the
-- server's clock has stepped back, from its last activity on), and when
-- Redis itself is to drop its keys, both 0 for never. The record's exp decides
-- whether a session has expired; Redis' own expiry is only the net below it, a
-- week later, and moves only when exp has come near it, because each PEXPIREAT
-- costs as much as the rest of a small write. default is the bot's.
local function lifetime(default)
  local ttl = tonumber(s.ttl == '-' and default or s.ttl)
  if ttl <= 0 then return 0, 0 end
  local from = math.max(now, s.at)
  local least = from + ttl + WEEK
  local most = math.floor(least + math.max(ttl / 2, DAY))
  if s.net < least or s.net > most then return from + ttl, most end
  return from + ttl, s.net
end

-- anchor moves Redis' own expiry, for all of the session's keys at once.
local function anchor(net)
  if net == s.net then return end
  s.net = net
  for _, key in ipairs({session, history, file}) do
    if net > 0 then redis.call('PEXPIREAT', key, net) else redis.call('PERSIST', key) end
  end
end

-- outlast keeps Redis from dropping a session that its work keeps alive until
-- the moment when.
local function outlast(when)
  if s.net > 0 and s.net < when + WEEK then anchor(when + WEEK + DAY) end
end
