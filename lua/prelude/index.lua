-- index: the bucket's lists of its sessions, true after every script because
-- they share the session's slot.

-- enter makes a session: its hash and its places in the index. One that its own
-- turn has ended, and that still carries the lease of what is to be sent, or of
-- what waits, is s, and begins a new life under that lease.
local function enter(s, id, bot, state, platform, user, own, ttl)
  s = s or {seq = 0, net = 0, token = '0', lease = 0, holder = '', work = '', bytes = 0, sweep = 0, fails = 0,
    crashes = 0, wait = 0, ofails = 0, ocrashes = 0, owait = 0, yield = 0}
  s.gen = int(math.max(tonumber(s.token) + 1, micros))
  s.ver, s.state, s.user, s.at, s.turns, s.ended = 1, state, user, now, 0, false
  s.ttl = own ~= '' and own
  s.exp, s.net = lifetime(s, ttl)
  hset(session, {'layout', '1', 'gen', s.gen, 'ver', '1', 'state', state, 'platform', platform, 'user', user,
    'seq', int(s.seq), 'token', s.token, 'born', int(now), 'at', int(now), 'exp', int(s.exp), 'net', int(s.net)})
  redis.call('HDEL', session, 'end', 'ttl')
  if s.ttl then redis.call('HSET', session, 'ttl', own) end
  if s.net > 0 then redis.call('PEXPIREAT', session, int(s.net)) else redis.call('PERSIST', session) end
  redis.call('ZADD', activity, int(now), id)
  redis.call('ZADD', names, 0, 's' .. state .. '\0' .. id)
  if user ~= '' then redis.call('ZADD', names, 0, 'u' .. user .. '\0' .. id) end
  redis.call('HINCRBY', counts, state, 1)
  if s.exp > 0 then redis.call('ZADD', expiry, int(s.exp), id) end
  redis.call('HINCRBY', bots, bot, 1)
  return s
end

-- leave takes a session out of the index. known are its names there.
local function leave(id, bot, known)
  redis.call('ZREM', activity, id)
  redis.call('ZREM', expiry, id)
  for _, member in ipairs(known) do
    if redis.call('ZREM', names, member) == 1 and string.sub(member, 1, 1) == 's' then
      local state = string.sub(member, 2, #member - #id - 1)
      if redis.call('HINCRBY', counts, state, -1) <= 0 then redis.call('HDEL', counts, state) end
      if redis.call('HINCRBY', bots, bot, -1) <= 0 then redis.call('HDEL', bots, bot) end
    end
  end
end

-- torn tells whether the index lists a session whose hash is gone without us.
-- What is left of it must be buried before its id is used again.
local function torn(id)
  return redis.call('ZSCORE', activity, id)
end

-- check_index reads each key of the index, so that one of another type stops the
-- script before its first write.
local function check_index()
  redis.call('ZCARD', activity)
  redis.call('ZCARD', names)
  redis.call('HLEN', counts)
  redis.call('ZCARD', expiry)
  redis.call('HLEN', bots)
end
