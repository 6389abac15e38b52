-- hand: an event that accept has handed out at once. It waits in the session's hash
-- and not in the inbox, in the field hand: 16 bytes of digest of the event's id, when
-- it was accepted and for how long its id is remembered, both in ms and with a space
-- behind, and the event. It counts among those that wait. It has no line among the
-- ids seen, and the call that accepted it is the holder of the lease.

-- in_hand returns the digest of the event in hand, when it was accepted, for how long
-- its id is remembered, and the event; or nil if there is none.
local function in_hand()
  local when, window, from = string.match(s and s.hand or '', '^(%d+) (%d+) ()', 17)
  if when then return string.sub(s.hand, 1, 16), when + 0, window + 0, string.sub(s.hand, from) end
end

-- hand_line returns the line of the event in hand: accepted, and by whom.
local function hand_line(when, window)
  return write_line('p', math.ceil((when + window) / 1000), call_end(s.holder), '0', 0, 0, 0)
end

-- unhand puts the event in hand at the front of the inbox, and writes its line. All
-- scripts that end the turn on it, but for that turn's own end, begin so.
local function unhand()
  local digest, when, window, event = in_hand()
  if not digest then return end
  local status = read_line(redis.call('HGET', events, digest) or '')
  s.hand, s.held, s.emptied = '', nil, true
  if status == 'd' or status == 'x' or status == 'o' then -- it was ended, and the hash is an older one
    waiting = waiting - 1
    return
  end
  local lost = unlisted()
  redis.call('LPUSH', inbox, inbox_element(digest, stamp(when), event))
  redis.call('HSET', events, digest, hand_line(when, window))
  relist(lost, 1)
  keep_lines(now + DAY, WEEK)
end
