-- record: the session as it stands, read where this piece is joined:
--
--   s                 its state and its numbers, or nil if there is none
--   waiting, unsent   how many events are in its inbox, replies in its outbox
--   over              whether it is over though its keys are still there: idle
--                     for too long, or ended by its own turn. One with work in
--                     hand or waiting is not.
--
-- A hash that cannot be read ends the script. The numbers are packed into three
-- fields (package stored shows them), because each field that a script reads or
-- writes costs as much as a small command.
local s
local waiting, unsent = redis.call('LLEN', inbox), redis.call('LLEN', outbox)
local over = false
do
  local v = redis.call('HMGET', session, 'head', 'lease', 'state', 'retry')
  local head, held, retry = v[1], v[2], v[4]
  if head then
    local layout, gen, ver, seq, turns, born, at, exp, net, ttl, ended, chat = string.match(head,
      '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+) ([01]) (%d+)$')
    if layout ~= '1' then
      layout = string.match(head, '^%d+')
      if layout and layout ~= '1' then return {'LAYOUT', now, layout} end
      return {'CORRUPT', now, 'head'}
    end
    if ttl ~= '-' and not string.find(ttl, '^%d+$') then return {'CORRUPT', now, 'head'} end
    local token, till, work, holder, yield, way, bytes, obytes, sweep = string.match(held or '',
      '^(%d+) (%d+) (%l+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    if not token then return {'CORRUPT', now, 'lease'} end
    if not v[3] then return {'CORRUPT', now, 'state'} end
    local fails, crashes, backs, wait, ofails, ocrashes, obacks, owait, osince = 0, 0, 0, 0, 0, 0, 0, 0, 0
    if retry then
      fails, crashes, backs, wait, ofails, ocrashes, obacks, owait, osince = string.match(retry,
        '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
      if not fails then return {'CORRUPT', now, 'retry'} end
    end
    s = {
      gen = gen, ver = ver + 0, state = v[3], seq = seq + 0, turns = turns + 0, born = born, at = at + 0, exp = exp + 0,
      net = net + 0, ttl = ttl, ended = ended == '1', chat = chat,
      token = token, lease = till + 0, work = work, holder = holder, yield = yield + 0, way = way + 0,
      bytes = bytes + 0, obytes = obytes + 0, sweep = sweep + 0,
      fails = fails + 0, crashes = crashes + 0, backs = backs + 0, wait = wait + 0,
      ofails = ofails + 0, ocrashes = ocrashes + 0, obacks = obacks + 0, owait = owait + 0, osince = osince + 0,
      retry = retry
    }
    over = (s.ended or s.exp > 0 and s.exp <= now) and s.lease <= now and waiting + unsent == 0
  elseif redis.call('EXISTS', session) == 1 then
    return {'CORRUPT', now, 'head'}
  end
end

-- new_token returns a token that this session never had, nor any life of it as its
-- number: the server's microseconds, which go on when a replica of Redis takes over,
-- and always more than the last token and than the life's number.
local function new_token()
  return string.format('%d', math.max(s.token + 1, s.gen + 1, time[1] * 1000000 + time[2]))
end

-- save writes the session as a script left it, in one command with the pairs of
-- fields in put. Its head is written only if the script says that it changed. Texts
-- are joined, not formatted, which would cost as much as formatting a number.
local function save(put)
  local n = #put
  put[n + 1] = 'lease'
  put[n + 2] = s.token .. ' ' .. int(s.lease) .. ' ' .. s.work .. ' ' .. s.holder ..
    string.format(' %d %d %d %d %d', s.yield, s.way, s.bytes, s.obytes, s.sweep)
  n = n + 2
  if s.changed then
    put[n + 1] = 'head'
    put[n + 2] = '1 ' .. s.gen .. string.format(' %d %d %d ', s.ver, s.seq, s.turns) .. s.born ..
      string.format(' %d %d %d ', s.at, s.exp, s.net) .. s.ttl .. (s.ended and ' 1 ' or ' 0 ') .. s.chat
    n = n + 2
  end
  if s.fails + s.crashes + s.backs + s.wait + s.ofails + s.ocrashes + s.obacks + s.owait + s.osince > 0 then
    put[n + 1] = 'retry'
    put[n + 2] = string.format('%d %d %d %d %d %d %d %d %d', s.fails, s.crashes, s.backs, s.wait,
      s.ofails, s.ocrashes, s.obacks, s.owait, s.osince)
    n = n + 2
  elseif s.retry then
    redis.call('HDEL', session, 'retry', 'err', 'oerr')
  end
  for i = 1, n, 100 do -- bounded: a caller's data never decides how much is unpacked
    redis.call('HSET', session, unpack(put, i, math.min(i + 99, n)))
  end
end
