-- erase: removes what is kept of a person, because that was asked for: a whole session
-- with its dead letters, or some of its letters. In the list log the acts on that session
-- lose its name and their reasons. Of the ids of events the digests stay until they would
-- have been forgotten: without them a late duplicate would bring the session back.
--
-- USES   clock deadline rights record list audit tell watch bells life index bury sweep calls ids hand letter act
-- KEYS   session history inbox outbox events calls file due waits index users expiry bells bots letters dead watch log
-- ARGV   op deadline id bot whole about without audit stamps...
--        whole: 1 for the whole session, else the letters with these stamps
--        about, without: see forget_acts; audit names no session
-- WRITES yes
-- FINAL  OK
-- REPLY  OK now sessions removed acts until  so many were removed, or changed; until when there are digests, ms, 0 if
--                                      there are none
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local sessions, removed, acts, till = string.match(before, '^%d+ (%d+) (%d+) (%d+) (%d+)$')
  return {'OK', now, tonumber(sessions), tonumber(removed), tonumber(acts), tonumber(till)}
end
redis.call('HLEN', events)
redis.call('LLEN', letters)
redis.call('ZCARD', dead)
redis.call('LLEN', log)
check_index()
check_due()

local sessions, removed = 0, 0
frees()
if whole == '1' then
  unhand()
  drop_lines(redis.call('LRANGE', inbox, 0, -1))
  removed = redis.call('LLEN', letters)
  if s or redis.call('ZSCORE', index, id) then
    sessions = 1
    bury()
  end
  redis.call('DEL', session, history, file, inbox, outbox, letters)
  redis.call('ZREM', dead, id)
  unlist_due()
  redis.pcall('ZREM', waits, id)
end
for i = stamps, #ARGV do
  local found = find_letter(ARGV[i])
  if found then
    take_letter(found)
    removed = removed + 1
  end
end
local acts = forget_acts(about, without)
local till = math.max(redis.call('PTTL', events), 0)
if till > 0 then till = now + till end
if sessions + removed + acts > 0 then
  remember(int(sessions) .. ' ' .. int(removed) .. ' ' .. int(acts) .. ' ' .. int(till), sweep)
  if sessions > 0 then notice('destroyed') end
  note_act()
end
return {'OK', now, sessions, removed, acts, till}
