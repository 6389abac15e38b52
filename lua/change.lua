-- change: applies a Change to a living session without a lease: the verbs of a
-- live Session. A reset also fences the running turn, drops what is unsent and
-- lets the head of the inbox run again.
--
-- USES   clock deadline rights record watch list life anchor change free calls
-- KEYS   session history inbox outbox calls file due activity names moves expiry watch
-- ARGV   op deadline id change...
-- REPLY  OK now version deleted next   next is due if a reply waits and nobody holds the session
--        NOTFOUND now
--        WRONGSTATE now state
--        LATE now | NOPERM now command | LAYOUT now layout | CORRUPT now field

local before, sweep = seen()
if before then
  local version, deleted, next = string.match(before, '^%d+ (%d+) (%d+) (%a+)$')
  return {'OK', now, tonumber(version), tonumber(deleted), {next}}
end
if not s or s.ended or over then return {'NOTFOUND', now} end
local c = read_change(4)
if c.from ~= '' and c.from ~= s.state then return {'WRONGSTATE', now, s.state} end
redis.call('ZCARD', due)

local put, next = {}, 'idle'
if c.reset ~= '' then
  s.token = int(math.max(s.token + 1, time[1] * 1000000 + time[2]))
  redis.call('DEL', outbox)
  unsent = 0
  s.fails, s.crashes, s.wait, s.ofails, s.ocrashes, s.owait = 0, 0, 0, 0, 0, 0
  free(waiting > 0 and now or nil)
end
local deleted = apply(c, put)
if unsent + (c.reset ~= '' and waiting or 0) > 0 then
  if s.lease > now then
    redis.call('ZADD', due, 'NX', s.lease, id)
  elseif s.owait <= now then
    redis.call('ZADD', due, now, id)
    next = 'due'
  end
end
save(put)
remember(int(s.ver) .. ' ' .. int(deleted) .. ' ' .. next, sweep)
notice(c.reset ~= '' and 'reset' or 'changed')
return {'OK', now, s.ver, deleted, {next}}
