-- index: the bucket's lists of its sessions, true after every script because
-- they share the session's slot.

-- check_index reads each key of the index, so that one of another type stops the
-- script before its first write.
local function check_index()
  redis.call('ZCARD', activity)
  redis.call('ZCARD', names)
  redis.call('ZCARD', expiry)
  redis.call('HLEN', bots)
end
