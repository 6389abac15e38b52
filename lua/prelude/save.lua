-- save: writing the session, and the list of what waits.
--
-- In the list waits stands a session in which something waits, by since when the first
-- of it does: when the event was accepted, or the reply was made. A turn that goes well
-- never comes there: an event that is handed out at once is listed when a second one
-- waits behind it, when it failed or was handed back, when its holder was not heard of
-- again, and when that renews the lease; and replies likewise. The record says what stands in the list, as the moment
-- or 0, so that the end of what waited corrects it. The list is for people: a failure
-- to write it stops no script, and the next one tries again.

-- waits_since returns since when the first of what waits does.
local function waits_since()
  local first = s.held or waiting > 0 and moment(redis.call('LINDEX', inbox, 0) or '', 17)
  local reply = unsent > 0 and reply_moment(redis.call('LINDEX', outbox, 0) or '')
  return math.min(first or now, reply or now)
end

-- list_wait lists the session, corrects its place or takes it out. renewed is whether
-- its holder is at work for longer than usual.
local function list_wait(renewed)
  if waiting + unsent == 0 then
    if s.listed > 0 and type(redis.pcall('ZREM', waits, id)) == 'number' then s.listed = 0 end
    return
  end
  local alone = s.crashes + s.ocrashes == 0 and (s.work == 'event' and waiting == 1 and unsent == 0 or s.work == 'reply' and waiting == 0)
  if alone and s.listed == 0 and not renewed or s.listed > 0 and not s.moved then return end
  local since = waits_since()
  if since ~= s.listed and type(redis.pcall('ZADD', waits, since, id)) == 'number' then s.listed = since end
end

-- save writes the session as a script left it, in one command with the pairs of
-- fields in put. Until the moment calm the first lines of accept may hand the session
-- out without a further look at it: nothing waits, nothing is to be sent or tried
-- again, it has not expired, and the ids of its events need no sweep. Texts are
-- joined, not formatted, which would cost as much as formatting a number.
local function save(put)
  list_wait(false)
  local n, calm = #put, 0
  if s.fails + s.crashes + s.backs + s.wait + s.since + s.ofails + s.ocrashes + s.obacks + s.owait + s.osince + s.yield + s.way > 0 then
    put[n + 1] = 'retry'
    put[n + 2] = string.format('%d %d %d %d %d %d %d %d %d %d %d %d', s.fails, s.crashes, s.backs, s.wait, s.since,
      s.ofails, s.ocrashes, s.obacks, s.owait, s.osince, s.yield, s.way)
    n = n + 2
  else
    if s.retry then redis.call('HDEL', session, 'retry', 'err', 'oerr') end
    if waiting + unsent == 0 and not s.ended and s.token + 0 >= s.gen + 0 then
      calm = s.exp > 0 and math.min(s.exp, s.sweep) or s.sweep
    end
  end
  if s.emptied then -- what was in hand is done, or in the inbox
    put[n + 1] = 'hand'
    put[n + 2] = ''
    n = n + 2
  end
  local rec = s.work .. ' ' .. s.token .. ' ' .. calm .. ' ' .. s.holder ..
    string.format(' %d %d %d %d %d %d %d %d %d %d ', s.lease, waiting, s.bytes, unsent, s.obytes, s.ver, s.seq, s.turns, s.at, s.exp) ..
    s.place .. ' | 2 ' .. s.gen .. ' ' .. s.born .. ' ' .. s.net .. ' ' .. s.ttl .. (s.ended and ' 1 ' or ' 0 ') .. s.chat ..
    string.format(' %d %d %d ', s.sweep, s.kept, s.listed) .. s.room
  put[n + 1] = 'rec'
  put[n + 2] = rec
  n = n + 2
  for i = 1, n, 100 do -- bounded: a caller's data never decides how much is unpacked
    redis.call('HSET', session, unpack(put, i, math.min(i + 99, n)))
  end
end
