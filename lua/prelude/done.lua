-- done: taking the event that was handled, or is dead, out of the hand or the inbox.
-- What became of it is noted under its digest, for its duplicates and receipts.
-- forget, call and made are as accept wrote them in its line, nil if that is lost.
-- The line outlives every retry of the call that writes it. lost is what unlisted
-- returned: what waits behind this event is known again. It returns the event as it
-- was stored.
local function done(status, first, forget, call, made, lost)
  local _, when, _, event = in_hand()
  local head
  s.moved = true
  if when then
    head = inbox_element(digest, stamp(when), event)
    s.hand, s.held, s.emptied = '', nil, true
  else
    head = redis.call('LPOP', inbox)
  end
  waiting = math.max(waiting - 1, 0)
  s.bytes = waiting == 0 and 0 or math.max(s.bytes - #(head or ''), 0)
  s.fails, s.crashes, s.backs, s.wait, s.since = 0, 0, 0, 0, 0
  local least = math.ceil(deadline / 1000) + 1
  forget = math.max(forget or 0, least)
  relist(lost, when and 1 or 2)
  redis.call('HSET', events, digest, write_line(status, forget, call or NOBODY, made or '0', s.token, first, s.seq - first + 1))
  keep_lines(forget * 1000, DAY)
  return head or ''
end
