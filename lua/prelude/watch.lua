-- watch: telling those who look on. The watch key, which lives for seconds,
-- holds the channel; nobody watches when there is none.
local channel = redis.call('GET', watch)

-- notice publishes what happened. A publish that fails (a missing right) must
-- not undo what was written, so its error is dropped.
local function notice(kind, detail)
  if not channel then return end
  detail = detail or ''
  redis.pcall('PUBLISH', channel, table.concat({kind, int(now), s and int(s.ver) or '0', s and s.state or '',
    #detail, detail .. id}, '\0'))
end
