-- onward: going on with a session, or giving it back.
--
-- NEXT   idle                          nothing more
--        due                           there is work, and nobody holds the session
--        ended                         the session's own turn ended it: bury it

-- free gives the lease back. What is left is due at the earliest moment at which
-- any of it may be done: the replies at owait, the next event at wait, or at
-- yield if an Update waits, and not before the moment notbefore, if there is one.
-- It returns that moment, or nil if nothing is left, and the session is no longer
-- listed.
local function free(notbefore)
  s.lease, s.work, s.holder = 0, 'free', '-'
  local when
  if unsent > 0 then when = math.max(s.owait, now) end
  if waiting > 0 then
    if s.ended and when then notbefore = when end -- what waits behind the end begins when all is sent
    local turn = math.max(s.wait, s.yield, notbefore or 0, now)
    when = when and math.min(when, turn) or turn
  end
  if s.ended then when = when or now end
  if when then list_due(when) else unlist_due() end
  return when
end

-- onward decides what the holder of a session does next: send what is in the
-- outbox, handle the next event, or nothing more, and then the lease goes back in
-- this same script. Replies that wait for their next attempt let turns pass; an
-- Update that waits comes before the next event. want is empty if the caller
-- takes no event, else how many replies, and bytes of them, may be unsent before
-- turns wait for them, too. What onward decided goes to answer once the session
-- is saved.
local function onward(want)
  if unsent > 0 and s.owait <= now then
    s.lease, s.work = now + lease, 'reply'
    put_off()
    return 'reply'
  end
  if s.ended then -- events that wait behind the end begin a new life: lease makes it
    free()
    if unsent > 0 then return 'idle' end
    return waiting > 0 and 'due' or 'ended'
  end
  local notbefore = 0
  if unsent > 0 then
    local replies, size = string.match(want, '^(%d+) (%d+)$')
    if replies and (unsent >= tonumber(replies) or s.obytes >= tonumber(size)) then notbefore = s.owait end
  end
  if waiting == 0 or math.max(s.wait, s.yield, notbefore) > now then
    free(notbefore)
    return 'idle'
  end
  if want == '' then
    free()
    return 'due'
  end
  grant('event')
  return 'event'
end

-- answer adds to a reply what onward or a grant decided.
local function answer(reply, step)
  local head
  if step == 'reply' then
    head = redis.call('LRANGE', outbox, 0, 99)
  elseif step == 'event' then
    head = redis.call('LRANGE', inbox, 0, 0)
  elseif step ~= 'update' then
    reply[#reply + 1] = {step}
    return reply
  end
  reply[#reply + 1] = handed(head or {})
  return reply
end
