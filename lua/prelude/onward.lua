-- onward: giving a session back, or going on with it.

-- queues counts what waits and what is unsent. Whoever adds or takes keeps the
-- counts right, so that each list is asked once a script.
local function queues(s)
  s.waiting, s.unsent = redis.call('LLEN', inbox), redis.call('LLEN', outbox)
end

-- free gives the lease back. Work that stays is due at the moment when, or no
-- longer listed if there is none.
local function free(s, id, when)
  s.lease, s.work, s.holder = 0, 'free', '-'
  if when then redis.call('ZADD', due, int(when), id) else redis.call('ZREM', due, id) end
end

-- onward decides what the holder of a session does next: send what is in the
-- outbox, handle the next event, or nothing more, and then the lease goes back
-- in this same script. An Update that waits comes before the next event. Its
-- result goes to answer once the session is saved.
local function onward(s, id, op, want, lease)
  if s.unsent > 0 then
    if s.owait > now then
      free(s, id, s.owait)
      return 'idle'
    end
    s.lease, s.work = now + lease, 'reply'
    return 'reply'
  end
  if s.waiting == 0 then
    free(s, id, s.ended and now or nil)
    return s.ended and 'ended' or 'idle'
  end
  if s.ended then -- what waited behind the end begins a new life: lease makes it
    free(s, id, now)
    return 'due'
  end
  if s.wait > now or s.yield > now then
    free(s, id, math.max(s.wait, s.yield))
    return 'idle'
  end
  if want ~= '1' then
    free(s, id, now)
    return 'due'
  end
  grant(s, 'event', op, lease, id)
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
