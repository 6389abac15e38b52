-- record: a session's hash, read and written whole. Its numbers are packed into
-- three fields (package codec shows them), because each field that a script
-- reads or writes costs as much as a small command.

-- read returns the session, or nil if there is none. The second result is the
-- refusal to answer with, when the hash cannot be read.
local function read()
  local v = redis.call('HMGET', session, 'head', 'lease', 'state', 'retry')
  if not v[1] then
    if redis.call('EXISTS', session) == 1 then return nil, {'CORRUPT', now, 'head'} end
    return nil
  end
  local layout, gen, ver, seq, turns, born, at, exp, net, ttl, ended = string.match(v[1],
    '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) ([01])$')
  if layout ~= '1' then
    layout = string.match(v[1], '^%d+')
    if layout and layout ~= '1' then return nil, {'LAYOUT', now, layout} end
    return nil, {'CORRUPT', now, 'head'}
  end
  if ttl ~= '-' and not string.find(ttl, '^%d+$') then return nil, {'CORRUPT', now, 'head'} end
  local token, till, work, holder, yield, bytes, sweep = string.match(v[2] or '',
    '^(%d+) (%d+) (%l+) (%S+) (%d+) (%d+) (%d+)$')
  if not token then return nil, {'CORRUPT', now, 'lease'} end
  if not v[3] then return nil, {'CORRUPT', now, 'state'} end
  local s = {
    gen = gen, ver = ver + 0, state = v[3], seq = seq + 0, turns = turns + 0, born = born, at = at + 0, exp = exp + 0,
    net = net + 0, ttl = ttl, ended = ended == '1',
    token = token, lease = till + 0, work = work, holder = holder, yield = yield + 0, bytes = bytes + 0, sweep = sweep + 0,
    fails = 0, crashes = 0, wait = 0, ofails = 0, ocrashes = 0, owait = 0, retry = v[4]
  }
  if v[4] then
    local fails, crashes, wait, ofails, ocrashes, owait = string.match(v[4], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    if not fails then return nil, {'CORRUPT', now, 'retry'} end
    s.fails, s.crashes, s.wait, s.ofails, s.ocrashes, s.owait = fails + 0, crashes + 0, wait + 0, ofails + 0, ocrashes + 0, owait + 0
  end
  return s
end

-- save writes the session as a script left it, in one command with the pairs of
-- fields in put. Its head is written only if the script says that it changed.
local function save(s, put)
  local n = #put
  put[n + 1] = 'lease'
  put[n + 2] = string.format('%s %.0f %s %s %.0f %.0f %.0f', s.token, s.lease, s.work, s.holder, s.yield, s.bytes, s.sweep)
  n = n + 2
  if s.changed then
    put[n + 1] = 'head'
    put[n + 2] = string.format('1 %s %.0f %.0f %.0f %s %.0f %.0f %.0f %s %d', s.gen, s.ver, s.seq, s.turns, s.born, s.at,
      s.exp, s.net, s.ttl, s.ended and 1 or 0)
    n = n + 2
  end
  if s.fails + s.crashes + s.wait + s.ofails + s.ocrashes + s.owait > 0 then
    put[n + 1] = 'retry'
    put[n + 2] = string.format('%.0f %.0f %.0f %.0f %.0f %.0f', s.fails, s.crashes, s.wait, s.ofails, s.ocrashes, s.owait)
    n = n + 2
  elseif s.retry then
    redis.call('HDEL', session, 'retry', 'err')
  end
  for i = 1, n, 100 do -- bounded: a caller's data never decides how much is unpacked
    redis.call('HSET', session, unpack(put, i, math.min(i + 99, n)))
  end
end

-- gone tells whether a session is over though its keys are still there: idle
-- for too long, or ended by its own turn and all its replies sent. One with work
-- in hand or waiting is not.
local function gone(s)
  if not s.ended and (s.exp == 0 or s.exp > now) then return false end
  return s.lease <= now and redis.call('LLEN', inbox) == 0 and redis.call('LLEN', outbox) == 0
end
