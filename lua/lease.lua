-- lease: takes a session that has work waiting or whose holder was never heard
-- of again (mode serve), or takes it for an Update (mode update).
--
-- USES   clock record life index handout onward
-- KEYS   session inbox outbox due activity names expiry bots
-- ARGV   op deadline id bot mode lease initial ttl
-- REPLY  OK now next                   see handout; {idle}: nothing is due; {ended}: bury it
--        BUSY now until                somebody holds it
--        NOTFOUND now
--        EXPIRED now                   what is left of the old session must be buried first
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local s, refusal = read()
if refusal then return refusal end
local waiting, unsent = redis.call('LLEN', inbox), redis.call('LLEN', outbox)
redis.call('ZCARD', due)

if mode == 'update' and (not s or s.ended or gone(s)) then return {'NOTFOUND', now} end
if not s then
  if waiting + unsent == 0 then
    redis.call('ZREM', due, id)
    return {'NOTFOUND', now}
  end
  -- The hash is gone without us, by eviction or by hand. The events are not.
  if torn(id) then return {'EXPIRED', now} end
  check_index()
  s = enter(nil, id, bot, initial, '', '', '', ttl)
end
if s.lease > now then
  if still(s, op) ~= 'idle' then return answer({'OK', now}, s, s.work) end
  if mode == 'update' then
    s.yield = now + 250 -- the next turn waits for us that long
    save(s, {})
  else
    redis.call('ZADD', due, int(s.lease), id)
  end
  return {'BUSY', now, s.lease}
end

s.waiting, s.unsent = waiting, unsent
if s.lease > 0 then -- handed out, and never heard of again
  if s.work == 'event' then s.crashes = s.crashes + 1 end
  if s.work == 'reply' then s.ocrashes = s.ocrashes + 1 end
end
if s.ended and unsent == 0 and waiting > 0 then -- events waited behind the end of the life before
  check_index()
  local who = redis.call('HMGET', session, 'platform', 'user')
  s = enter(s, id, bot, initial, who[1] or '', who[2] or '', '', ttl)
end
local step
if mode == 'update' then
  grant(s, 'update', op, lease, id)
  s.yield = 0
  step = 'update'
elseif unsent > 0 and s.owait <= now then
  grant(s, 'reply', op, lease, id)
  step = 'reply'
else
  step = onward(s, id, op, '1', lease)
end
save(s, {})
return answer({'OK', now}, s, step)
