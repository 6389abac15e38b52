-- change: applies a Change to a living session without a lease: the verbs of a
-- live Session. A reset also fences the running turn, drops what is unsent and
-- lets the head of the inbox run again.
--
-- USES   clock record watch list life change handout onward calls
-- KEYS   session history inbox outbox calls file due activity names moves expiry watch
-- ARGV   op deadline id change...
-- REPLY  OK now version deleted next   next is due if a reply waits and nobody holds the session
--        NOTFOUND now
--        WRONGSTATE now state
--        LATE now | LAYOUT now layout | CORRUPT now field

if late(deadline) then return {'LATE', now} end
local before, sweep = seen(op)
if before then
  local version, deleted, next = string.match(before, '^%d+ (%d+) (%d+) (%a+)$')
  return {'OK', now, tonumber(version), tonumber(deleted), {next}}
end
local s, refusal = read()
if refusal then return refusal end
if not s or s.ended or gone(s) then return {'NOTFOUND', now} end
local c = parse_change(4)
if c.from ~= '' and c.from ~= s.state then return {'WRONGSTATE', now, s.state} end
check_change(c, s)
queues(s)
redis.call('ZCARD', due)

local put, next = {}, 'idle'
if c.reset ~= '' then
  s.token = int(math.max(s.token + 1, time[1] * 1000000 + time[2]))
  redis.call('DEL', outbox)
  s.unsent = 0
  s.fails, s.crashes, s.wait, s.ofails, s.ocrashes, s.owait = 0, 0, 0, 0, 0, 0
  free(s, id, s.waiting > 0 and now or nil)
end
local deleted = apply(c, s, id, put)
if s.unsent + (c.reset ~= '' and s.waiting or 0) > 0 then
  if s.lease > now then
    redis.call('ZADD', due, 'NX', int(s.lease), id)
  elseif s.owait <= now then
    redis.call('ZADD', due, int(now), id)
    next = 'due'
  end
end
save(s, put)
remember(op, deadline, int(s.ver) .. ' ' .. int(deleted) .. ' ' .. next, sweep)
notice(c.reset ~= '' and 'reset' or 'changed', id, s)
return {'OK', now, s.ver, deleted, {next}}
