-- enter: making a session.

-- torn tells whether the index lists a session whose hash is gone without us.
-- What is left of it must be buried before its id is used again.
local function torn()
  return not s and redis.call('ZSCORE', index, id)
end

-- enter makes a session: its hash and its places in the index. One that its own
-- turn has ended, and that still carries the lease of what is to be sent, or of
-- what waits, begins a new life under that lease. own and default are times to
-- live: the session's, or empty, and the bot's.
local function enter(state, platform, user, own, default)
  s = s or {gen = '0', seq = 0, net = 0, token = '0', lease = 0, work = 'free', holder = '-', yield = 0, way = 0,
    bytes = 0, obytes = 0, sweep = 0, kept = 0, listed = 0, room = '0 0 0 0', hand = '',
    fails = 0, crashes = 0, backs = 0, wait = 0, since = 0, ofails = 0, ocrashes = 0, obacks = 0, owait = 0, osince = 0}
  s.gen = new_token()
  s.chat = s.gen
  s.ver, s.state, s.born, s.at, s.turns, s.ended = 1, state, int(now), now, 0, false
  s.ttl = own ~= '' and own or '-'
  s.exp, s.net = lifetime(default)
  s.place = int(place(state, now))
  -- First the fields that every script looks for: a small hash is searched in order.
  save({})
  redis.call('HSET', session, 'state', state, 'platform', platform, 'user', user)
  if s.net > 0 then redis.call('PEXPIREAT', session, s.net) else redis.call('PERSIST', session) end
  redis.call('ZADD', index, s.place, id)
  if user ~= '' then redis.call('ZADD', users, 0, user .. '\0' .. id) end
  if s.exp > 0 then list_expiry(s.exp) end
  redis.pcall('HINCRBY', bots, bot, 1) -- a count that is none stops nobody
end
