-- letter: dead letters. One is made of the head of the inbox, whose event has that digest, or
-- of the outbox if digest is empty. The letter holds the head as it was stored. why is
-- the encoded error and counters; keep is how long a letter lives, ms; most is how many
-- letters a session keeps.

-- read_letters reads the keys that write_letter writes, so that one of another type
-- stops the script before its first write. It returns what write_letter needs.
local function read_letters()
  local c = {old = 0} -- letters whose time is over
  while c.old < tonumber(most) do
    local letter = redis.call('LINDEX', letters, c.old)
    if not letter or (moment(letter, 1) or now) > now - keep then break end
    c.old = c.old + 1
  end
  redis.call('ZCARD', dead)
  redis.call('HLEN', events)
  return c
end

-- write_letter moves the head to the letters, and applies the change, which holds what
-- stays in the session.
local function write_letter(l, change)
  if digest ~= '' then unhand() end
  local known = redis.call('HGET', events, digest)
  local _, forget, call, made = read_line(known or '')
  local lost = not known and digest ~= '' and unlisted()
  local put = {}
  local _, first = apply(change, put)
  local kind, head = 'e', nil
  if digest == '' then
    kind, head = 'r', redis.call('LPOP', outbox) or ''
    unsent, s.moved = math.max(unsent - 1, 0), true
    s.obytes = unsent == 0 and 0 or math.max(s.obytes - #head, 0)
    s.ofails, s.ocrashes, s.obacks, s.owait, s.osince = 0, 0, 0, 0, 0
  else
    head = done('x', first, forget, call, made, lost)
  end
  local when = math.max(now, (moment(redis.call('LINDEX', letters, -1) or '', 1) or 0) + 1)
  redis.call('RPUSH', letters, letter_element(stamp(when), kind, why, head))
  if l.old > 0 then redis.call('LTRIM', letters, l.old, -1) end
  redis.call('LTRIM', letters, -most, -1)
  redis.call('PEXPIRE', letters, keep)
  redis.call('ZADD', dead, when, id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - keep)
  return put
end

-- find_letter returns the element of the letter with that stamp, or nil.
local function find_letter(stamp)
  for i = redis.call('LLEN', letters) - 1, 0, -1 do -- mostly one of the last
    local element = redis.call('LINDEX', letters, i)
    if string.sub(element, 1, 6) == stamp then return element end
  end
end

-- take_letter removes that element. It needs no memory to begin with.
local function take_letter(element)
  redis.call('LREM', letters, -1, element)
  local last = redis.call('LINDEX', letters, -1)
  if last then redis.call('ZADD', dead, moment(last, 1) or now, id) else redis.call('ZREM', dead, id) end
end
