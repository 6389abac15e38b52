-- destroy: ends a session's life and removes it: because somebody asked for it
-- (mode now), because it has expired (mode expired; if it has not, its place
-- among the expiries is corrected), or because its own turn ended it (mode
-- ended). Nobody can write to it afterwards: there is nothing to write to.
--
-- USES   clock deadline rights record list save audit tell watch bells life index bury sweep calls ids hand act
-- KEYS   session history inbox outbox events calls file due waits index users expiry bells bots watch log
-- ARGV   op deadline id bot mode audit
-- WRITES yes
-- FINAL  OK NOTHING
-- REPLY  OK now waiting unsent         so many events and replies were dropped
--        NOTFOUND now                  mode now: there is none
--        NOTHING now                   the other modes: it is not over, or gone already
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local dropped, replies = string.match(before, '^%d+ (%d+) (%d+)$')
  return {'OK', now, tonumber(dropped), tonumber(replies)}
end
redis.call('HLEN', events)
check_index()
check_due()

if mode == 'now' then
  if not s or s.ended or over then return {'NOTFOUND', now} end
else
  if s and not over then
    -- Alive, or kept alive by its work, for which Redis itself must not drop it.
    if s.ended or s.exp == 0 then
      redis.call('ZREM', expiry, id)
    else
      list_expiry(s.exp > now and s.exp or now + 60000)
      outlast(now)
      save({})
    end
    return {'NOTHING', now}
  end
  if not s then
    bury()
    if waiting + unsent > 0 then list_due(now) else unlist_due() end
    return {'NOTHING', now}
  end
end

frees()
unhand()
drop_lines(redis.call('LRANGE', inbox, 0, -1))
bury()
remember(int(waiting) .. ' ' .. int(unsent), sweep)
notice(mode == 'now' and 'destroyed' or mode)
note_act()
return {'OK', now, waiting, unsent}
