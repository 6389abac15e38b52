-- handout: who holds a session, and what for.

-- handed is the reply's part about the lease: what to do, under which token,
-- how often it failed before, the head of the inbox or the whole outbox, and
-- the hash as it stands.
local function handed(s, payload)
  local fails, crashes = s.fails, s.crashes
  if s.work == 'reply' then fails, crashes = s.ofails, s.ocrashes end
  return {s.work, s.token, int(fails), int(crashes), payload, redis.call('HGETALL', session)}
end

-- still tells what the caller of op, or whoever has the token, holds of a
-- session: for one whose reply was lost, and who asks again.
local function still(s, op, token)
  if s and s.lease > now and (s.holder == op or s.token == token) then return s.work end
  return 'idle'
end

-- grant gives the lease to the caller of op. Each grant has a new token: the
-- server's microseconds, which go on when a replica of Redis takes over, and
-- always more than the last one and than the life's number.
local function grant(s, work, op, lease, id, put)
  s.token = int(math.max(tonumber(s.token) + 1, tonumber(s.gen) + 1, micros))
  s.lease, s.holder, s.work = now + tonumber(lease), op, work
  for _, f in ipairs({'token', s.token, 'until', int(s.lease), 'holder', op, 'work', work}) do put[#put + 1] = f end
  redis.call('ZADD', due, int(s.lease), id)
end

-- free gives the lease back. Work that stays is due at the moment when, or no
-- longer listed if there is none.
local function free(s, id, put, when)
  s.lease, s.holder, s.work = 0, '', ''
  for _, f in ipairs({'until', '0', 'holder', '', 'work', ''}) do put[#put + 1] = f end
  if when then redis.call('ZADD', due, int(when), id) else redis.call('ZREM', due, id) end
end

-- pop takes the head event, which is done with, out of the inbox.
local function pop(s, put)
  local head = redis.call('LPOP', inbox)
  s.waiting = math.max(s.waiting - 1, 0)
  s.bytes = s.waiting == 0 and 0 or math.max(s.bytes - #(head or ''), 0)
  put[#put + 1] = 'qb'
  put[#put + 1] = int(s.bytes)
end

-- forgive forgets the failures of the event that was at the head of the inbox.
local function forgive(s)
  if s.fails + s.crashes + s.wait > 0 then redis.call('HDEL', session, 'fails', 'crashes', 'wait', 'err') end
  s.fails, s.crashes, s.wait = 0, 0, 0
end

-- forgive_reply does so for the reply that was at the head of the outbox.
local function forgive_reply(s)
  if s.ofails + s.ocrashes + s.owait > 0 then redis.call('HDEL', session, 'ofails', 'ocrashes', 'owait', 'err') end
  s.ofails, s.ocrashes, s.owait = 0, 0, 0
end

-- outcome notes what became of an event, under its digest, for its duplicates
-- and its receipts: status, when to forget it, token, first and last message,
-- and, as accept wrote them in the line known, the call that accepted it and
-- whether that made the session. The line outlives every retry of the call that writes it.
local function outcome(known, digest, status, s, first, last)
  local till, call = string.match(known or '', '^%a (%d+) .-(%S+ %d)$')
  local least = math.ceil(tonumber(deadline) / 1000) + 1
  local forget = math.max(tonumber(till or 0), least)
  redis.call('HSET', events, digest, table.concat({status, int(forget), s.token, int(first), int(last), call or '- 0'}, ' '))
  if forget == least and redis.call('PTTL', events) < forget * 1000 - now then
    redis.call('PEXPIREAT', events, int(forget * 1000))
  end
end

-- onward decides what the holder of a session does next: send what is in the
-- outbox, handle the next event, or nothing more, and then the lease goes back
-- in this same script. An Update that waits comes before the next event. Its
-- result goes to answer once put is written.
local function onward(s, id, op, want, lease, put)
  if s.unsent > 0 then
    if s.owait > now then
      free(s, id, put, s.owait)
      return 'idle'
    end
    s.lease, s.work = now + tonumber(lease), 'reply'
    for _, f in ipairs({'until', int(s.lease), 'work', 'reply'}) do put[#put + 1] = f end
    return 'reply'
  end
  if s.waiting == 0 then
    free(s, id, put, s.ended and now or nil)
    return s.ended and 'ended' or 'idle'
  end
  if s.ended then -- what waited behind the end begins a new life: lease makes it
    free(s, id, put, now)
    return 'due'
  end
  if s.wait > now or s.yield > now then
    free(s, id, put, math.max(s.wait, s.yield))
    return 'idle'
  end
  if want ~= '1' then
    free(s, id, put, now)
    return 'due'
  end
  grant(s, 'event', op, lease, id, put)
  return 'event'
end

-- answer adds to a reply what onward or a grant decided.
local function answer(reply, s, step)
  local payload
  if step == 'reply' then
    payload = redis.call('LRANGE', outbox, 0, 99)
  elseif step == 'event' then
    payload = redis.call('LRANGE', inbox, 0, 0)
  elseif step == 'update' then
    payload = {}
  else
    reply[#reply + 1] = {step}
    return reply
  end
  reply[#reply + 1] = handed(s, payload)
  return reply
end
