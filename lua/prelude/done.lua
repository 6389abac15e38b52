-- done: taking the head event, which was handled or is dead, out of the inbox.
-- What became of it is noted under its digest, for its duplicates and receipts:
-- status, when to forget it, token, first and last message, and, as accept wrote
-- them in the line known, the call that accepted it and whether that made the
-- session. The line outlives every retry of the call that writes it. lost is what
-- unlisted returned: what waits behind this event is known again. It returns the
-- event as it was stored.
local function done(known, lost, status, first)
  local head = redis.call('LPOP', inbox)
  waiting = math.max(waiting - 1, 0)
  s.bytes = waiting == 0 and 0 or math.max(s.bytes - #(head or ''), 0)
  s.fails, s.crashes, s.backs, s.wait = 0, 0, 0, 0
  local till, call = string.match(known or '', '^%a (%d+) .-(%S+ %d)$')
  local least = math.ceil(deadline / 1000) + 1
  local forget = math.max(till or 0, least)
  relist(lost, 2)
  redis.call('HSET', events, digest, string.format('%s %d %s %d %d %s', status, forget, s.token, first, s.seq, call or '- 0'))
  if forget == least and redis.call('PTTL', events) < forget * 1000 - now then
    redis.call('PEXPIREAT', events, forget * 1000)
  end
  return head or ''
end
