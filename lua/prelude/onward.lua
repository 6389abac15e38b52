-- onward: going on with a session, or giving it back.

-- onward decides what the holder of a session does next: send what is in the
-- outbox, handle the next event (if the caller wants one), or nothing more, and
-- then the lease goes back in this same script. An Update that waits comes
-- before the next event. Its result goes to answer once the session is saved.
local function onward(want)
  if unsent > 0 then
    if s.owait > now then
      free(s.owait)
      return 'idle'
    end
    s.lease, s.work = now + lease, 'reply'
    return 'reply'
  end
  if waiting == 0 then
    free(s.ended and now or nil)
    return s.ended and 'ended' or 'idle'
  end
  if s.ended then -- what waited behind the end begins a new life: lease makes it
    free(now)
    return 'due'
  end
  if s.wait > now or s.yield > now then
    free(math.max(s.wait, s.yield))
    return 'idle'
  end
  if want ~= '1' then
    free(now)
    return 'due'
  end
  grant('event')
  return 'event'
end

-- answer adds to a reply what onward or a grant decided.
local function answer(reply, step)
  local payload
  if step == 'reply' then
    payload = redis.call('LRANGE', outbox, 0, 99)
  elseif step == 'event' then
    payload = redis.call('LRANGE', inbox, 0, 0)
  elseif step ~= 'update' then
    reply[#reply + 1] = {step}
    return reply
  end
  reply[#reply + 1] = handed(payload or {})
  return reply
end
