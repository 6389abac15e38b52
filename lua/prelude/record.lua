-- record: reading the session's hash, and whether the session is still there.

-- read returns what scripts need of the hash, or nil if there is none. The
-- second result is the refusal to answer with, when the hash cannot be read.
local function read(key)
  local v = redis.call('HMGET', key, 'layout', 'gen', 'ver', 'state', 'user', 'seq', 'at', 'exp', 'net',
    'ttl', 'token', 'until', 'holder', 'work', 'qb', 'es', 'fails', 'crashes', 'wait', 'ofails', 'owait',
    'yield', 'end', 'turns', 'ocrashes')
  if not v[1] then
    if redis.call('EXISTS', key) == 1 then return nil, {'CORRUPT', now, 'layout'} end
    return nil
  end
  if v[1] ~= '1' then return nil, {'LAYOUT', now, v[1]} end
  local s = {
    gen = v[2], ver = tonumber(v[3]), state = v[4], user = v[5] or '', seq = tonumber(v[6]), at = tonumber(v[7]),
    exp = tonumber(v[8] or 0), net = tonumber(v[9] or 0), ttl = v[10], token = v[11] or '0',
    lease = tonumber(v[12] or 0), holder = v[13] or '', work = v[14] or '', bytes = tonumber(v[15] or 0),
    sweep = tonumber(v[16] or 0), fails = tonumber(v[17] or 0), crashes = tonumber(v[18] or 0),
    wait = tonumber(v[19] or 0), ofails = tonumber(v[20] or 0), owait = tonumber(v[21] or 0),
    yield = tonumber(v[22] or 0), ended = v[23] == '1', turns = tonumber(v[24] or 0),
    ocrashes = tonumber(v[25] or 0)
  }
  if not (tonumber(s.gen) and s.ver and s.state and s.seq and s.at and s.exp and s.net and tonumber(s.token)
      and s.lease and s.bytes and s.sweep and s.fails and s.crashes and s.wait and s.ofails and s.owait
      and s.yield and s.turns and s.ocrashes) then
    return nil, {'CORRUPT', now, 'one of its numbers'}
  end
  return s
end

-- gone tells whether a session is over though its keys are still there: idle
-- for too long, or ended by its own turn and all its replies sent. One with work
-- in hand or waiting is not.
local function gone(s, inbox, outbox)
  if not s.ended and (s.exp == 0 or s.exp > now) then return false end
  return s.lease <= now and redis.call('LLEN', inbox) == 0 and redis.call('LLEN', outbox) == 0
end

-- queues counts what waits and what is unsent. Whoever adds or takes keeps the
-- counts right, so that each list is asked once a script.
local function queues(s)
  s.waiting, s.unsent = redis.call('LLEN', inbox), redis.call('LLEN', outbox)
end
