-- life: how long a session lives.

local WEEK, DAY = 604800000, 86400000

-- lifetime returns when the session expires if it is idle from now on, and when
-- Redis itself is to drop its keys, both 0 for never. The head's exp decides
-- whether a session has expired; Redis' own expiry is only the net below it, a
-- week later, and moves only when exp has come near it, because each PEXPIREAT
-- costs as much as the rest of a small write. default is the bot's.
local function lifetime(default)
  local ttl = tonumber(s.ttl == '-' and default or s.ttl)
  if ttl <= 0 then return 0, 0 end
  local least = now + ttl + WEEK
  local most = math.floor(least + math.max(ttl / 2, DAY))
  if s.net < least or s.net > most then return now + ttl, most end
  return now + ttl, s.net
end
