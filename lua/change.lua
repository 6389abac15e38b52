-- change: applies a Change to a living session without a lease: the verbs of a
-- live Session. A reset also fences the running turn, drops what is unsent and
-- lets the head of the inbox run again: each time somewhat later, as long as each
-- reset meets that head in hand, so that no handler can keep itself running.
--
-- USES   clock deadline rights record list save audit tell watch bells life index moves change onward sweep calls ids hand
-- KEYS   session history inbox outbox events calls file due waits index moves expiry bells watch log
-- ARGV   op deadline id bot most ifversion once window audit change...
--        most: bytes of private data that the session may have
--        ifversion: the version that the session must have; 0 for any
--        once: see ids; window: for how long it is remembered, ms; audit: see audit
-- WRITES yes
-- FINAL  OK DUPLICATE
-- REPLY  OK now version deleted next   next is due if a reply waits and nobody holds the session
--        DUPLICATE now version         made before under that id; 0 if it is an event's
--        NOTFOUND now
--        WRONGSTATE now state
--        CHANGED now version           it is not ifversion
--        TOOLARGE now bytes            of private data there would be
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

-- grown returns how many bytes of private data the session will have, or 0 if
-- they do not become more.
local function grown(c)
  local size, before = {}, 0
  if c.set == c.del then return 0 end
  if reset == '' then
    local all = redis.call('HGETALL', session)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 2) == 'd:' then
        size[all[i]] = #all[i + 1]
        before = before + #all[i + 1]
      end
    end
  end
  local after = before
  for i = c.set, c.del - 1, 2 do
    if string.sub(ARGV[i], 1, 2) == 'd:' then
      after = after - (size[ARGV[i]] or 0) + #ARGV[i + 1]
      size[ARGV[i]] = nil
    end
  end
  for i = c.del, c.chat - 1 do after = after - (size[ARGV[i]] or 0) end
  return after > before and after or 0
end

local before, sweep = seen()
if before then
  local version, deleted, next = string.match(before, '^%d+ (%d+) (%d+) (%a+)$')
  return {'OK', now, tonumber(version), tonumber(deleted), {next}}
end
local made, lost = applied(once)
if made == -1 then return {'CORRUPT', now, 'events'} end
if made then return {'DUPLICATE', now, made} end
if not s or s.ended or over then return {'NOTFOUND', now} end
local c = read_change()
if ifversion ~= '0' and ifversion ~= int(s.ver) then return {'CHANGED', now, s.ver} end
if from ~= '' and from ~= s.state then return {'WRONGSTATE', now, s.state} end
local size = grown(c)
if size > tonumber(most) then return {'TOOLARGE', now, size} end
check_due()
redis.call('HLEN', events)

local put, next = {}, 'idle'
if reset ~= '' then
  unhand()
  s.token = new_token()
  redis.call('DEL', outbox)
  unsent, s.obytes, s.moved = 0, 0, true
  if s.lease > now and s.work == 'event' then
    s.backs = s.backs + 1
    s.wait = s.backs > 1 and now + math.min(5 * 2 ^ s.backs, 60000) or 0
  else
    s.backs, s.wait = 0, 0
  end
  s.fails, s.crashes, s.since, s.ofails, s.ocrashes, s.obacks, s.owait, s.osince = 0, 0, 0, 0, 0, 0, 0, 0
end
local deleted = apply(c, put)
if reset ~= '' then
  local when = free()
  if when and when <= now then next = 'due' end
elseif unsent > 0 then
  if s.lease > now then
    ensure_due(s.lease)
  elseif s.owait <= now then
    list_due(now)
    next = 'due'
  end
end
note_applied(once, window, lost)
save(put)
remember(int(s.ver) .. ' ' .. int(deleted) .. ' ' .. next, sweep)
notice(reset ~= '' and 'reset' or 'changed')
note_act()
return {'OK', now, s.ver, deleted, {next}}
