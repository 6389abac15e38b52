-- record: the session as it stands, read where this piece is joined:
--
--   s                 its state and its numbers, or nil if there is none
--   waiting, unsent   how many events wait, in its inbox and in hand, and how many
--                     replies in its outbox
--   over              whether it is over though its keys are still there: idle
--                     for too long, or ended by its own turn. One with work in
--                     hand or waiting is not.
--
-- A hash that cannot be read ends the script. The numbers are packed into two
-- fields (package stored shows them), because each field that a script reads or
-- writes costs as much as a small command. How much waits is in rec for the sake of
-- the scripts that compare it as a whole; here the lists themselves are asked.
local s
local waiting, unsent = redis.call('LLEN', inbox), redis.call('LLEN', outbox)
local over = false
do
  local v = redis.call('HMGET', session, 'rec', 'hand', 'state', 'retry')
  local rec, hand, retry = v[1], v[2] or '', v[4]
  if rec then
    local layout = string.match(rec, '| (%d+) ')
    if layout ~= '2' then
      if layout then return {'LAYOUT', now, layout} end
      return {'CORRUPT', now, 'rec'}
    end
    local work, token, holder, till, bytes, obytes, ver, seq, turns, at, exp, place, gen, born, net, ttl, ended, chat, sweep, kept, listed, room =
      string.match(rec, '^(%l+) (%d+) %d+ (%S+) (%d+) %d+ (%d+) %d+ (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) | 2 ' ..
      '(%d+) (%d+) (%d+) (%S+) ([01]) (%d+) (%d+) (%d+) (%d+) (%d+ %d+ %d+ %d+)$')
    if not work or ttl ~= '-' and not string.find(ttl, '^%d+$') then return {'CORRUPT', now, 'rec'} end
    if not v[3] then return {'CORRUPT', now, 'state'} end
    local held
    local fails, crashes, backs, wait, since, ofails, ocrashes, obacks, owait, osince, yield, way = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    if retry then
      fails, crashes, backs, wait, since, ofails, ocrashes, obacks, owait, osince, yield, way = string.match(retry,
        '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
      if not fails then return {'CORRUPT', now, 'retry'} end
    end
    if hand ~= '' then
      held = string.match(hand, '^(%d+) %d+ ', 17)
      if not held then return {'CORRUPT', now, 'hand'} end
      waiting = waiting + 1
    end
    s = {
      gen = gen, ver = ver + 0, state = v[3], seq = seq + 0, turns = turns + 0, born = born, at = at + 0, exp = exp + 0,
      net = net + 0, ttl = ttl, ended = ended == '1', chat = chat, place = place,
      token = token, lease = till + 0, work = work, holder = holder,
      bytes = bytes + 0, obytes = obytes + 0, sweep = sweep + 0, kept = kept + 0, listed = listed + 0, room = room,
      fails = fails + 0, crashes = crashes + 0, backs = backs + 0, wait = wait + 0, since = since + 0,
      ofails = ofails + 0, ocrashes = ocrashes + 0, obacks = obacks + 0, owait = owait + 0, osince = osince + 0,
      yield = yield + 0, way = way + 0, retry = retry, hand = hand, held = held and held + 0
    }
    over = (s.ended or s.exp > 0 and s.exp <= now) and s.lease <= now and waiting + unsent == 0
  elseif redis.call('EXISTS', session) == 1 then
    return {'CORRUPT', now, 'rec'}
  end
end

-- new_token returns a token that this session never had, nor any life of it as its
-- number: the server's microseconds, which go on when a replica of Redis takes over,
-- and always more than the last token and than the life's number.
local function new_token()
  return string.format('%d', math.max(s.token + 1, s.gen + 1, time[1] * 1000000 + time[2]))
end
