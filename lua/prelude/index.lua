-- index: the bucket's lists of its sessions, true after every script because
-- they share the session's slot.

-- enter makes a session: its hash and its places in the index.
local function enter(id, bot, state, platform, user, own, ttl)
  local s = {gen = int(micros), ver = 1, state = state, user = user, seq = 0, at = now, exp = 0, net = 0,
    ttl = own ~= '' and own, token = int(micros), lease = 0, holder = '', work = '', bytes = 0, sweep = 0, fails = 0,
    crashes = 0, wait = 0, ofails = 0, owait = 0, yield = 0, ended = false, turns = 0}
  local put = {'layout', '1', 'gen', s.gen, 'ver', '1', 'state', state, 'platform', platform, 'user', user,
    'seq', '0', 'token', s.token, 'born', int(now), 'at', int(now)}
  if own ~= '' then
    put[#put + 1] = 'ttl'
    put[#put + 1] = own
  end
  redis.call('HSET', session, 'layout', '1') -- the key must be there before slide sets its expiry
  slide(s, ttl, put, {session})
  hset(session, put)
  redis.call('ZADD', activity, int(now), id)
  redis.call('ZADD', names, 0, 's' .. state .. '\0' .. id)
  if user ~= '' then redis.call('ZADD', names, 0, 'u' .. user .. '\0' .. id) end
  redis.call('HINCRBY', counts, state, 1)
  if s.exp > 0 then redis.call('ZADD', expiry, int(s.exp), id) end
  redis.call('HINCRBY', bots, bot, 1)
  return s
end

-- torn tells whether the index lists a session whose hash is gone without us.
-- What is left of it must be buried before its id is used again.
local function torn(id)
  return redis.call('ZSCORE', activity, id)
end

-- check_enter reads each key that enter writes, so that a key of another type
-- stops the script before its first write. (torn has read activity.)
local function check_enter()
  redis.call('ZCARD', names)
  redis.call('HLEN', counts)
  redis.call('ZCARD', expiry)
  redis.call('HLEN', bots)
end
