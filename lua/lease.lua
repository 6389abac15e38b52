-- lease: takes a session that has work waiting or whose holder was never heard
-- of again (mode serve), or takes it for an Update (mode update).
--
-- USES   clock deadline rights record list save bells life index enter handout onward ids hand
-- KEYS   session inbox outbox events due waits index users expiry bells bots
-- ARGV   op deadline id bot mode lease initial ttl want once
--        want: how many unsent replies, and bytes of them, a turn may leave; once is empty, or of an Update: see ids
-- WRITES yes
-- FINAL  all
-- REPLY  OK now crashed next           crashed: 1 if the last holder was not heard of again; idle: nothing is due
--        DUPLICATE now version         made before under that id
--        BUSY now until                somebody holds it, or what waits comes before a second Update
--        NOTFOUND now
--        EXPIRED now                   what is left of the old session must be buried first
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

check_due()
redis.call('HLEN', events)

local made = applied(once)
if made == -1 then return {'CORRUPT', now, 'events'} end
if made then return {'DUPLICATE', now, made} end
if mode == 'update' and (not s or s.ended or over) then return {'NOTFOUND', now} end
if not s or s.ended then check_index() end
if not s then
  if waiting + unsent == 0 then
    unlist_due()
    redis.pcall('ZREM', waits, id)
    return {'NOTFOUND', now}
  end
  -- The hash is gone without us, by eviction or by hand. The events are not.
  if torn() then return {'EXPIRED', now} end
  enter(initial, '', '', '', ttl)
end
if s.lease > now then
  if still() ~= 'idle' then return answer({'OK', now, 0}, s.work) end
  if mode == 'serve' then
    put_off()
  elseif s.work ~= 'update' then
    s.yield = now + 250 -- the next turn waits for this Update that long
    save({})
  end
  return {'BUSY', now, s.lease}
end
-- Between two Updates there is a turn, or a reply is sent, if one waits and can
-- go. Where nobody serves, the second Update goes on after ten seconds.
if mode == 'update' and s.way > now and (waiting > 0 and s.wait <= now or unsent > 0 and s.owait <= now) then
  return {'BUSY', now, s.way}
end

local crashed = 0
if s.lease > 0 then -- handed out, and never heard of again
  crashed = 1
  unhand()
  if s.work == 'event' then s.crashes = s.crashes + 1 end
  if s.work == 'reply' then s.ocrashes = s.ocrashes + 1 end
end
if s.ended and unsent == 0 and waiting > 0 then -- events waited behind the end of the life before
  local who = redis.call('HMGET', session, 'platform', 'user')
  enter(initial, who[1] or '', who[2] or '', '', ttl)
end
local step
if mode == 'update' then
  grant('update')
  s.yield = 0
  step = 'update'
elseif unsent > 0 and s.owait <= now then
  grant('reply')
  step = 'reply'
else
  step = onward(want)
end
save({})
return answer({'OK', now, crashed}, step)
