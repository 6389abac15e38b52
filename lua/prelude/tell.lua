-- tell: telling those who look on what happened to a session.

-- tell publishes it on the channel. A publish that fails (a missing right) must not
-- undo what was written, so its error is dropped.
local function tell(channel, kind, version, state, detail)
  redis.pcall('PUBLISH', channel, table.concat({kind, now, version, state, #detail, detail .. id}, '\0'))
end
